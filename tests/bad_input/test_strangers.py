"""What a stranger writes into the streams, the timers and the channels: dropped, set aside, or, where a newer version
may have written it, left alone; and no more than that."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zart_redis as zart
from tests.bad_input.junk import GARBAGE_BYTES
from tests.support.waiting import SOON, happens, reaches, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.client.doctor import Problem
from zart_redis.layout import GROUP, UNCLAIMED, Timer

pytestmark = pytest.mark.anyio

quietly = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NAMES = st.sampled_from([b"bystander", b"queued", b"nobody", b"", b"\xff", b"bystander:1", b"1", b"go"]) | GARBAGE_BYTES
FIELDS = st.sampled_from([b"x", b"s", b"scope", b"name", b"z"]) | GARBAGE_BYTES


class Bystander:
    """An execution in the middle of a step, which must run once and end as it should."""

    def __init__(self) -> None:
        self.begun, self.opened, self.runs = asyncio.Event(), asyncio.Event(), 0


now: Bystander


@zart_step("bad-input-hold")
async def hold() -> str:
    now.runs += 1
    now.begun.set()
    await now.opened.wait()
    return "held"


@zart_durable("bad-input-bystander")
async def bystander() -> str:
    held = await hold()
    return held + str(await zart.wait_for_event("go", "1h"))


@zart_durable("bad-input-echo")
async def echo(word: str) -> str:
    return word


@pytest.fixture
async def crowd(scheduler: zart.DurableScheduler) -> AsyncIterator[zart.Worker]:
    """A worker that holds the bystander; when it goes, all must be as if no stranger had been there."""
    global now
    now = Bystander()
    async with running_worker(scheduler, lease="5s") as worker:
        await scheduler.start_for(bystander, "bystander")
        await happens(now.begun)
        yield worker
        assert worker._background is not None
        assert not worker._background.done(), "the worker has died"
        assert await scheduler.start_and_wait_for(echo, "after", "word", SOON) == "word"
        now.opened.set()
        await reaches(scheduler, "bystander", "waiting", "event go")
        assert await scheduler.offer_event("bystander", "go", "!") is zart.EventDelivery.DELIVERED
        assert await scheduler.wait_for(bystander, "bystander", SOON) == "held!"
        assert now.runs == 1
    assert await scheduler.doctor() == []


@pytest.mark.usefixtures("crowd")
async def test_entries_of_a_queue(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue = f"{prefix}q:default"
    runner = asyncio.get_running_loop()

    @given(st.lists(st.lists(st.tuples(FIELDS, NAMES), min_size=1, max_size=4), max_size=6))
    @quietly
    def write(entries: list[list[tuple[bytes, bytes]]]) -> None:
        for entry in entries:
            add: Any = raw.execute_command
            add("XADD", queue, "*", *(part for pair in entry for part in pair))

    await runner.run_in_executor(None, write)
    raw.xadd(queue, {"x": "bystander"})
    raw.xadd(queue, {"s": "bystander", "scope": "1", "name": "bad-input-hold"})
    entry: Any = raw.hget(f"{prefix}x:bystander", "entry")

    def unknown() -> list[bytes]:
        entries: Any = raw.xrange(queue)
        return [id for id, fields in entries if id != entry]

    def put_off() -> list[bytes]:
        pending: Any = raw.xpending_range(queue, GROUP, "-", "+", 10_000, UNCLAIMED)
        return [item["message_id"] for item in pending]

    await until(lambda: unknown() == put_off())
    entries: Any = raw.xrange(queue)
    assert all(b"x" not in list(fields)[:1] for id, fields in entries if id in unknown())
    found = {finding.detail for finding in await scheduler.doctor() if finding.problem is Problem.NEWER}
    assert len(found) == len(unknown())
    raw.xdel(queue, *unknown())
    await until(lambda: not [member for member in raw.zrange(f"{prefix}timers", 0, -1) if member[:1] == b"e"])


@pytest.mark.usefixtures("crowd")
async def test_timers(scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str) -> None:
    @given(st.lists(st.binary(max_size=12) | st.builds(lambda a, b: a + b, st.sampled_from([b"x", b"s", b"r"]), NAMES)))
    @quietly
    def write(members: list[bytes]) -> None:
        if members:
            raw.zadd(f"{prefix}timers", dict.fromkeys(members, 1.0))

    await asyncio.get_running_loop().run_in_executor(None, write)
    raw.zadd(f"{prefix}timers", {"?unknown": 1.0, "": 1.0})
    for member in ("s[]", 's["bystander"]', 's["bystander","1","bad-input-hold"]', "s{}", "s7", "rnothing", "x", "xq"):
        raw.zadd(f"{prefix}timers", {member: 1.0})
    raw.publish(f"{prefix}timers", b"\xff")
    known = tuple(kind.encode() for kind in Timer)
    timers = f"{prefix}timers"

    def remaining() -> list[bytes]:
        members: list[bytes] = raw.execute_command("ZRANGE", timers, 0, -1)  # type: ignore[no-untyped-call]
        return members

    await until(lambda: not [member for member in remaining() if member.startswith(known)])
    assert b"?unknown" in remaining()
    await until(lambda: not raw.zrangebyscore(timers, 1, 1))  # unknown timers are put off
    raw.zrem(timers, *remaining())
    await scheduler.start("later", "bad-input-echo", "word", delay="50ms")
    assert (await scheduler.wait("later", SOON)).output == "word"


@pytest.mark.usefixtures("crowd")
async def test_consumers_and_workers_with_names_that_are_none(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What they hold comes back, as from dead workers."""
    async with running_worker(scheduler) as other:  # looks for strays when it begins
        pass
    await scheduler.pause(execution_id="queued")
    raw.zadd(f"{prefix}workers", dict.fromkeys((b"\xff\xfe", b"", b"nobody", other.id.encode()), 1.0))
    raw.xgroup_createconsumer(f"{prefix}q:default", "zart", b"\xfe\xff")
    await until(lambda: raw.zcard(f"{prefix}workers") == 1)
    async with running_worker(scheduler):
        await until(lambda: b"\xfe\xff" not in _consumers(raw, f"{prefix}q:default"))
    await scheduler.resume(execution_id="queued")


def _consumers(raw: redis.Redis, queue: str) -> list[bytes]:
    found: Any = raw.xinfo_consumers(queue, "zart")
    return [consumer["name"] for consumer in found]


@pytest.mark.parametrize(
    "words", [b"revoke", b"wake", b"\xff\xfe", b"revoke ", b"wake ", b"revoke \xff", b"", b"stop 1-1"]
)
async def test_messages_to_a_worker(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, crowd: zart.Worker, words: bytes
) -> None:
    for channel in ("timers", "pause_rules", "done:bystander", f"worker:{crowd.id}"):
        raw.publish(prefix + channel, words)
    entry: Any = raw.hget(f"{prefix}x:bystander", "entry")
    raw.publish(f"{prefix}worker:{crowd.id}", b"wake " + entry + b" default")
    waiting = asyncio.create_task(scheduler.wait("bystander", SOON))
    await asyncio.sleep(0)
    raw.publish(f"{prefix}done:bystander", b"completed")
    assert not waiting.done()
    waiting.cancel()


async def test_a_false_word_that_work_has_moved_on_delays_it_and_no_more(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    """The worker believes it, looks again, and finds that the claim is its own."""
    global now
    now = Bystander()
    async with running_worker(scheduler) as worker:
        await scheduler.start_for(bystander, "bystander")
        await happens(now.begun)
        entry: Any = raw.hget(f"{prefix}x:bystander", "entry")
        now.begun.clear()
        raw.publish(f"{prefix}worker:{worker.id}", b"revoke " + entry + b" default")
        await happens(now.begun)
        now.opened.set()
        await reaches(scheduler, "bystander", "waiting", "event go")


@pytest.mark.usefixtures("crowd")
async def test_pause_rules_and_buckets_and_partitions(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, redis_url: str, namespace: str
) -> None:
    rubbish = [b"\xff", b"[]", b"null", b'{"execution": 5}', b"7", b'{"step": [1]}', b'{"created": 1e300}']
    for number, text in enumerate(rubbish):
        raw.hset(f"{prefix}pause_rules", str(number), text)
        raw.hset(f"{prefix}buckets", text, "9")
    raw.hset(f"{prefix}pause_rules", b"\xff", b'{"created": 1}')
    raw.publish(f"{prefix}pause_rules", "x")
    assert await scheduler.start_and_wait_for(echo, "paused?", "no", SOON) == "no"
    assert await scheduler.list_pause_rules() == []
    assert len(await scheduler.list_executions()) == 2
    await scheduler.stats()
    async with running_worker(scheduler):
        assert await scheduler.start_and_wait_for(echo, "again", "no", SOON) == "no"
    raw.delete(f"{prefix}pause_rules")
    for text in rubbish:
        raw.hdel(f"{prefix}buckets", text)
    for wrong in (b"x", b"0", b"-1", b"999999"):
        raw.hset(f"{prefix}meta", "partitions", wrong)
        with pytest.raises(zart.ConfigurationError):
            async with zart.DurableScheduler(redis_url, namespace=namespace):
                pass
    raw.hset(f"{prefix}meta", "partitions", "1")


class Bomb:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("secret", [None, "the workers' own"])
async def test_code_that_nobody_signed_is_never_loaded(
    scheduler: zart.DurableScheduler,
    raw: redis.Redis,
    prefix: str,
    tmp_path: Path,
    secret: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the places where an ad-hoc step, a record, an error and a failure are looked for."""
    marker = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(marker))
    sealed = [bomb, bytes(32) + bomb, msgspec.msgpack.encode([bytes(32), bomb])]
    for number, payload in enumerate(sealed):
        name = f"bomb-{number}"
        await scheduler.start("b", "bad-input-bystander") if number == 0 else None
        spec = msgspec.msgpack.encode([None, b"\x80", payload])
        entry: Any = raw.xadd(f"{prefix}q:default", {"s": "b", "scope": "1", "name": name})
        child = raw.eval("return cmsgpack.pack({spec = ARGV[1], entry = ARGV[2], fence = '0@'})", 0, spec, entry)
        raw.hset(f"{prefix}c:b:1", name, child)
        for letter in "vbzc":
            raw.hset(f"{prefix}r:b:1", f"{letter}-{number}", letter.encode() + payload)
    raw.hset(f"{prefix}r:b:1", "bad-input-hold", b"v" + bomb)
    async with running_worker(scheduler, secrets=secret):
        record = await scheduler.wait("b", SOON)
        await until(lambda: caplog.text.count("scheduled step not signed") >= 1 or record.status == "failed")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type_name == "SerializationError"
    assert not marker.exists()
