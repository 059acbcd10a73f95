"""The scripts of streams: emissions are numbered, fenced, trimmed, and purged in batches."""

from typing import Any

import pytest
import redis

from tests.invariants import findings, leftovers, violations
from tests.snapshot import take_snapshot
from tests.store.test_batches import begin, claim, own_prefix, raw, zart
from zart_redis.layout import Key
from zart_redis.model import Fenced
from zart_redis.store.replies import Held, HeldStep, StreamPage
from zart_redis.store.transitions import Transitions

pytestmark = pytest.mark.anyio
__all__ = ["own_prefix", "raw", "zart"]

BODY = ("", 0, "a")
STEP = ("step", 0, "b")


async def emit(zart: Transitions, held: Held | HeldStep, first: int, *values: str, **options: Any) -> None:
    emitter, limit, stream = options.get("emitter", BODY), options.get("limit", 100), options.get("stream", "out")
    await zart.emit(held, emitter, first, limit, [("s", stream, value.encode()) for value in values])


async def read(zart: Transitions, cursor: str = "", limit: int = 1000) -> StreamPage:
    page = await zart.read_stream("it", "out", cursor, limit)
    assert page is not None
    return page


async def texts(zart: Transitions) -> list[str]:
    return [item.get("value", b"restarted").decode() for _, item in (await read(zart)).items]


@pytest.mark.parametrize("emitter", [BODY, STEP], ids=["body", "step"])
async def test_what_is_sent_twice_is_stored_once(zart: Transitions, emitter: Any) -> None:
    held = await begin(zart)
    await emit(zart, held, 1, "a", "b", emitter=emitter)
    await emit(zart, held, 1, "a", "b", emitter=emitter)
    await emit(zart, held, 2, "b", "c", emitter=emitter)
    assert await texts(zart) == ["a", "b", "c"]


async def test_another_attempt_is_announced_once_to_the_streams_of_the_step(zart: Transitions) -> None:
    held = await begin(zart)
    await emit(zart, held, 1, "a", emitter=STEP)
    await emit(zart, held, 1, "x", emitter=("other", 0, "c"))
    for _ in range(2):
        await emit(zart, held, 1, "b", emitter=("step", 1, "d"), stream="elsewhere")
    await emit(zart, held, 2, "c", emitter=("step", 1, "d"))
    assert await texts(zart) == ["a", "x", "restarted", "c"]


async def test_a_lost_claim_emits_nothing(zart: Transitions) -> None:
    held = await begin(zart)
    await zart.schedule(held, "default", [("step", b"spec", None, "")])
    (step,) = await claim(zart)
    of_step = HeldStep("it", step.fence, step.scope, "default", step.entry, "step")
    await emit(zart, of_step, 1, "a", emitter=STEP)
    await zart.cancel("it", 1000, "")
    for lost in (held, of_step):
        with pytest.raises(Fenced):
            await emit(zart, lost, 1, "b", emitter=STEP)
    assert await texts(zart) == ["a"]


async def test_a_stream_is_trimmed_to_its_limit_when_it_has_twice_as_many(zart: Transitions) -> None:
    held = await begin(zart)
    for number in range(1, 100):
        await emit(zart, held, number, str(number), limit=10)
        found = await texts(zart)
        assert min(number, 10) <= len(found) <= 20
        assert found[-1] == str(number)
    await emit(zart, held, 100, *map(str, range(200)), limit=10)
    assert 10 <= len(await texts(zart)) <= 20


async def test_pages_are_bounded(zart: Transitions) -> None:
    held = await begin(zart)
    await emit(zart, held, 1, *("x" * 400_000 for _ in range(5)))
    first = await read(zart)
    assert (len(first.items), first.has_more) == (2, True)
    seen = [cursor for cursor, _ in first.items]
    while first.has_more:
        first = await read(zart, seen[-1])
        assert first.items[0][0] == seen[-1]
        assert 2 <= len(first.items) <= 3
        seen += [cursor for cursor, _ in first.items[1:]]
    assert len(seen) == len(set(seen)) == 5
    assert (await read(zart, limit=1)).has_more


async def test_a_purge_deletes_all_streams_in_batches(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    held = await begin(zart)
    for number in range(1, 451):
        await emit(zart, held, number, "x", stream=f"stream-{number}")
    await zart.emit(held, BODY, 451, 100, [("v", "key", b"1"), ("p", "", b"1")])
    await zart.finish(held, b"\xc0", 1000)
    assert violations(take_snapshot(raw, own_prefix)) == []
    assert await zart.purge(200, ["it"]) == 1
    assert leftovers(take_snapshot(raw, own_prefix)) == []


async def test_keys_without_an_execution_are_orphans(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    held = await begin(zart)
    await emit(zart, held, 1, "x", emitter=STEP)
    await zart.emit(held, BODY, 1, 100, [("v", "key", b"1")])
    raw.delete(Key.EXECUTION.of(own_prefix, "it"))
    found = {subject for word, subject in findings(take_snapshot(raw, own_prefix)) if word == "orphan"}
    assert found >= {"v:it:1", "v:it:streams", "v:it:values", "o:it:1"}
