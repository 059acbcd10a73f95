"""What may be much is done in batches: no script handles more than 200 items, and nothing is lost between two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from tests.invariants import violations
from tests.snapshot import take_snapshot
from zart_redis.layout import Key, prefix
from zart_redis.model import BodyClaim, StepClaim
from zart_redis.store.commits import Commits
from zart_redis.store.connections import Connections
from zart_redis.store.replies import Held, HeldStep
from zart_redis.store.transitions import Transitions, heartbeat_command

pytestmark = pytest.mark.anyio

BATCH = 200
STEPS = 450
QUEUE = "default"


class Clock:
    ms = 1_000_000


@pytest.fixture
def own_prefix(namespace: str) -> str:
    return prefix(namespace, 0)


@pytest.fixture
async def zart(redis_url: str, own_prefix: str) -> AsyncIterator[Transitions]:
    connections = await Connections.open(redis_url)
    commits = Commits(connections, own_prefix, patience=5)
    transitions = Transitions(commits, own_prefix, lambda: Clock.ms)
    await commits.submit(heartbeat_command(own_prefix, "w", 10_000_000, "1", b"{}"))
    yield transitions
    await commits.close()
    await connections.close()


@pytest.fixture
def raw(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as client:
        yield client


async def claim(zart: Transitions, most: int = 1) -> list[BodyClaim | StepClaim]:
    found = await zart.claim("w", most, [QUEUE])
    return [item for item in found if isinstance(item, BodyClaim | StepClaim)]


async def run_often(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    """An execution with more earlier runs than are kept, as an older version has left it."""
    for _ in range(STEPS):
        key = Key.HISTORY.of(own_prefix, "it")
        oldest: Any = raw.hgetall(key)
        await zart.start("it", "task", QUEUE, b"\xc0", None, None, "")
        await zart.cancel("it", 1000, "")
        if oldest:
            raw.hset(key, mapping=oldest)


async def test_the_newest_hundred_runs_are_kept(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    for _ in range(103):
        held = await begin(zart)
        await zart.record(held, "step", b"v\xc0", ordered=False)
        await zart.finish(held, b"\xc0", 1000)
    assert sorted(await zart.read_runs("it")) == list(range(3, 104))
    assert sorted(raw.scan_iter(f"{own_prefix}r:it:[12]")) == []


async def begin(zart: Transitions) -> Held:
    await zart.start("it", "task", QUEUE, b"\xc0", None, None, "")
    (body,) = await claim(zart)
    return Held("it", body.fence, body.scope, "")


async def schedule(zart: Transitions, held: Held) -> None:
    names = [f"step-{number}" for number in range(STEPS)]
    for first in range(0, STEPS, BATCH):
        await zart.schedule(held, QUEUE, [(name, b"spec", None, "") for name in names[first : first + BATCH]])


async def put_off(zart: Transitions) -> str:
    """Claim a step and postpone it, so that a timer holds it. Returns its name."""
    (step,) = await claim(zart)
    assert isinstance(step, StepClaim)
    await zart.postpone(HeldStep("it", step.fence, step.scope, QUEUE, step.entry, step.name), 1, 5000, b"")
    return step.name


def steps_left(raw: redis.Redis, own_prefix: str) -> int:
    keys: Any = list(raw.scan_iter(f"{own_prefix}d:*"))
    sizes: list[Any] = [raw.hlen(key) for key in keys]
    return sum(size - 1 for size in sizes)  # one field holds the queue


async def drain(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    """Until all is removed, checking after each script what one did."""
    left = steps_left(raw, own_prefix)
    while left:
        await zart.due(BATCH)
        now = steps_left(raw, own_prefix)
        assert 0 < left - now <= BATCH
        left = now
        assert violations(take_snapshot(raw, own_prefix)) == []


async def test_dropped_steps_are_removed_in_batches_and_never_claimed(
    zart: Transitions, raw: redis.Redis, own_prefix: str
) -> None:
    held = await begin(zart)
    await schedule(zart, held)
    await put_off(zart)
    assert len(await claim(zart, 3)) == 3
    await zart.cancel("it", 1000, "")
    assert (await zart.read_execution("it") or ({},))[0]["status"] == b"cancelled"
    assert steps_left(raw, own_prefix) == STEPS
    assert violations(take_snapshot(raw, own_prefix)) == []
    assert await claim(zart, 50) == []
    await drain(zart, raw, own_prefix)
    snapshot = take_snapshot(raw, own_prefix)
    assert not snapshot.entries[QUEUE]
    assert not snapshot.zsets.get("timers")


async def test_steps_scheduled_anew_survive_the_removal_of_those_before(
    zart: Transitions, raw: redis.Redis, own_prefix: str
) -> None:
    held = await begin(zart)
    await zart.record(held, "bad", b"b\xc0", ordered=False)
    await schedule(zart, held)
    assert await put_off(zart) == "step-0"
    await zart.fail(held, b"\xc0", 1000)
    await zart.retry_step("it", "bad", "")
    bodies = [item for item in await claim(zart, STEPS + 1) if isinstance(item, BodyClaim)]
    again = Held("it", bodies[0].fence, bodies[0].scope, "")
    await schedule(zart, again)
    assert await put_off(zart) == "step-0", "which has the same timer as the one before"
    await drain(zart, raw, own_prefix)
    Clock.ms += 5000
    await zart.due(BATCH)
    names = {item.name for item in await claim(zart, STEPS + 1) if isinstance(item, StepClaim)}
    assert len(names) == STEPS


async def test_many_steps_are_checked_in_batches(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    await schedule(zart, await begin(zart))
    entries: Any = raw.xrange(f"{own_prefix}q:{QUEUE}")
    raw.xdel(f"{own_prefix}q:{QUEUE}", *(entry for entry, _ in entries[5:8]))
    assert await zart.check(["it"], True) == [("it", "more")]
    assert len(await zart.check_steps("it", repair=True)) == 3
    assert await zart.check_steps("it", repair=True) == []
    assert violations(take_snapshot(raw, own_prefix)) == []


async def test_many_runs_of_one_id_are_read_and_purged_in_batches(
    zart: Transitions, raw: redis.Redis, own_prefix: str
) -> None:
    await run_often(zart, raw, own_prefix)
    assert sorted(await zart.read_runs("it")) == list(range(1, STEPS + 1))
    Clock.ms += 1000
    history = Key.HISTORY.of(own_prefix, "it")
    left: Any = raw.hlen(history)
    while left > BATCH:
        assert await zart.purge(BATCH) == 0
        now: Any = raw.hlen(history)
        assert 0 < left - now <= BATCH
        left = now
        assert violations(take_snapshot(raw, own_prefix)) == []
    assert await zart.purge(BATCH) == 1
    assert list(raw.scan_iter(f"{own_prefix}?:it*")) == []


async def test_purging_by_name_returns_when_all_is_gone(zart: Transitions, raw: redis.Redis, own_prefix: str) -> None:
    await run_often(zart, raw, own_prefix)
    assert await zart.purge(BATCH, ["it", "nobody"]) == 1
    assert list(raw.scan_iter(f"{own_prefix}?:it*")) == []


async def test_an_id_that_is_used_again_in_the_middle_of_a_purge_keeps_its_new_run(
    zart: Transitions, raw: redis.Redis, own_prefix: str
) -> None:
    await run_often(zart, raw, own_prefix)
    Clock.ms += 1000
    assert await zart.purge(BATCH) == 0
    await zart.start("it", "task", QUEUE, b"\xc0", None, None, "")
    assert await zart.purge(BATCH) == 0
    assert violations(take_snapshot(raw, own_prefix)) == []
    (body,) = await claim(zart)
    assert body.scope == str(STEPS + 1)
