"""What a newer version wrote is left alone: it stops no work of this version, and is not changed, failed or deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, happens, held, reaches, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.client.doctor import Problem
from zart_redis.engine import holds
from zart_redis.layout import GROUP, LAYOUT, UNCLAIMED

pytestmark = pytest.mark.anyio

QUEUE = "default"
NEEDS = "limits tags"


@zart_step("newer-one")
async def one() -> int:
    return 1


@zart_durable("newer-job")
async def job() -> int:
    return await one() + await zart.wait_for_event("go", type=int)


@zart_durable("newer-steps")
async def steps() -> int:
    results = await zart.wait([zart.schedule(one())])
    return sum(result.unwrap() for result in results)


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "DELAYS_MS", (50, 100))


@pytest.fixture
async def worker(scheduler: zart.DurableScheduler) -> AsyncIterator[zart.Worker]:
    async with running_worker(scheduler) as worker:
        yield worker
        assert await scheduler.start_and_wait_for(steps, "after", timeout=SOON) == 1


async def newer(scheduler: zart.DurableScheduler) -> dict[str, str]:
    return {f.subject: f.detail for f in await scheduler.doctor(repair=True) if f.problem is Problem.NEWER}


def unclaimed(raw: redis.Redis, prefix: str) -> list[bytes]:
    found: Any = raw.xpending_range(f"{prefix}q:{QUEUE}", GROUP, "-", "+", 1000, UNCLAIMED)
    return [item["message_id"] for item in found]


def timers(raw: redis.Redis, prefix: str) -> dict[bytes, float]:
    found: Any = raw.zrange(f"{prefix}timers", 0, -1, withscores=True)
    return dict(found)


def _future_of_step(raw: redis.Redis, prefix: str, value: int | None = None) -> int:
    """The field `future` of the scheduled step, set before if there is a value."""
    found: Any = raw.eval(
        """
        local step = cmsgpack.unpack(redis.call('HGET', KEYS[1], 'newer-flaky'))
        if ARGV[1] ~= '' then
          step.future = tonumber(ARGV[1])
          redis.call('HSET', KEYS[1], 'newer-flaky', cmsgpack.pack(step))
        end
        return step.future
        """,
        1,
        f"{prefix}c:it:1",
        "" if value is None else str(value),
    )
    return int(found)


@pytest.mark.usefixtures("worker")
async def test_unknown_timers_stay_and_do_not_keep_known_ones_from_firing(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    unknown = {f"~{number}".encode() for number in range(500)}  # more than fire in one script
    raw.zadd(f"{prefix}timers", dict.fromkeys(unknown, 1.0))
    raw.publish(f"{prefix}timers", "1")
    await scheduler.start("later", "newer-steps", delay="50ms")
    assert (await scheduler.wait("later", SOON)).output == 1
    assert timers(raw, prefix).keys() >= unknown
    assert min(timers(raw, prefix).values()) > 1
    assert "timer ~7" in {f.detail for f in await scheduler.doctor() if f.problem is Problem.NEWER}
    raw.zrem(f"{prefix}timers", *unknown)


async def test_an_unknown_entry_stays_as_it_is_also_when_its_worker_dies(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    queue = f"{prefix}q:{QUEUE}"
    fields: Any = {"future": "id", "more": "1"}
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(steps, "first", timeout=SOON)
        entry: Any = raw.xadd(queue, fields)
        await until(lambda: unclaimed(raw, prefix) == [entry])
    # Delivered to a worker that has died, and reclaimed.
    raw.xgroup_createconsumer(queue, GROUP, "dead")
    second: Any = raw.xadd(queue, fields)
    raw.xreadgroup(GROUP, "dead", {queue: ">"})
    raw.zadd(f"{prefix}workers", {"dead": 1})
    async with running_worker(scheduler):
        await until(lambda: unclaimed(raw, prefix) == [entry, second])
        await scheduler.start_and_wait_for(steps, "last", timeout=SOON)
        assert [detail for detail in (await newer(scheduler)).values() if "stream entry" in detail]
    kept: Any = raw.xrange(queue)
    assert [id for id, found in kept if found == {b"future": b"id", b"more": b"1"}] == [entry, second]
    raw.xdel(queue, entry, second)


async def test_a_version_that_knows_an_entry_queues_it_again(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    """An entry that some version did not understand, and this one does."""
    queue = f"{prefix}q:{QUEUE}"
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(steps, "first", timeout=SOON)
    await scheduler.start_for(steps, "it")
    raw.xreadgroup(GROUP, UNCLAIMED, {queue: ">"})
    entry: Any = raw.hget(f"{prefix}x:it", "entry")
    raw.zadd(f"{prefix}timers", {"e" + json.dumps([QUEUE, entry.decode()]): 1})
    async with running_worker(scheduler):
        assert await scheduler.wait_for(steps, "it", SOON) == 1
    assert not timers(raw, prefix)


@pytest.mark.usefixtures("worker")
async def test_an_execution_that_needs_more_is_left_to_others_as_a_whole(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    await scheduler.start("it", "newer-job", delay="100ms")
    raw.hset(f"{prefix}x:it", "needs", NEEDS)
    await scheduler.start("queued", "newer-job", queue="elsewhere")
    raw.hset(f"{prefix}x:queued", "needs", NEEDS)
    raw.xadd(f"{prefix}q:{QUEUE}", {"x": "queued"}, id="5-5")
    raw.hset(f"{prefix}x:queued", mapping={"queue": QUEUE, "entry": "5-5"})
    before: Any = raw.hgetall(f"{prefix}x:queued")
    await until(lambda: unclaimed(raw, prefix) == [b"5-5"])
    await until(lambda: timers(raw, prefix).get(b"xit", 0) > 1000 * raw.time()[0] + 1000)
    assert raw.hgetall(f"{prefix}x:queued") == before
    found = await newer(scheduler)
    assert found["it"] == f"execution, needs {NEEDS}"
    for refused in (scheduler.cancel("it"), scheduler.restart("it"), scheduler.rerun_steps("it")):
        with pytest.raises(zart.SchedulerError, match="limits tags"):
            await refused
    # With its needs met, it goes on where it was.
    raw.hdel(f"{prefix}x:it", "needs")
    raw.hdel(f"{prefix}x:queued", "needs")
    await scheduler.offer_event("it", "go", 4)
    await scheduler.offer_event("queued", "go", 5)
    assert (await scheduler.wait_for(job, "it", SOON), await scheduler.wait_for(job, "queued", SOON)) == (5, 6)


@pytest.mark.usefixtures("worker")
async def test_a_finished_one_that_needs_more_is_neither_purged_nor_started_again(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    await scheduler.start_and_wait_for(steps, "it", timeout=SOON)
    raw.hset(f"{prefix}x:it", "needs", NEEDS)
    with pytest.raises(zart.SchedulerError, match="needs features"):
        await scheduler.start_for(steps, "it")
    assert await scheduler.purge() == 0
    raw.zadd(f"{prefix}expiring", {"it": 1})
    await scheduler.start_and_wait_for(steps, "other", timeout=SOON)
    raw.zadd(f"{prefix}expiring", {"other": 2})
    await scheduler.start("wakes-the-timers", "newer-steps", delay="1ms")
    await until(lambda: not raw.exists(f"{prefix}x:other"))
    assert raw.hget(f"{prefix}x:it", "status") == b"completed"
    raw.hdel(f"{prefix}x:it", "needs")


async def test_an_unknown_field_of_a_scheduled_step_survives_every_transition(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    runs: list[int] = []

    @zart_step("newer-flaky", retry="fixed(2, 50ms)")
    async def flaky() -> int:
        runs.append(_future_of_step(raw, prefix))
        if len(runs) < 3:
            raise RuntimeError("again")
        return 1

    @zart_durable("newer-flaky-job")
    async def flaky_job() -> int:
        results = await zart.wait([zart.schedule(flaky())])
        return sum(result.unwrap() for result in results)

    await scheduler.pause(step_pattern="newer-flaky")
    async with running_worker(scheduler):
        await scheduler.start_for(flaky_job, "it")
        await reaches(scheduler, "it", "waiting", "step newer-flaky")
        await until(lambda: bool(list(raw.scan_iter(f"{prefix}paused:*"))))
        _future_of_step(raw, prefix, 7)
        await scheduler.resume(step_pattern="newer-flaky")
        assert await scheduler.wait_for(flaky_job, "it", SOON) == 1
    assert runs == [7, 7, 7]


async def test_records_waits_and_fields_of_unknown_kinds_stay(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    async with running_worker(scheduler, warm=0):
        await scheduler.start_for(job, "it")
        await reaches(scheduler, "it", "waiting", "event go")
        raw.hset(f"{prefix}r:it:1", "mail", b"ywhatever")
        raw.hset(f"{prefix}x:it", "future", "1")
        await scheduler.offer_event("it", "go", 4)
        assert "'mail'" in await held(scheduler, "it")
        raw.zadd(f"{prefix}w:it", {"?later": 5})
        found = {(f.subject.removeprefix(prefix), f.detail) for f in await scheduler.doctor(repair=True)}
        assert found == {("r:it:1", "record mail"), ("it", "field future"), ("it", "wait ?later")}
        assert raw.hget(f"{prefix}r:it:1", "mail") == b"ywhatever"
        raw.hdel(f"{prefix}r:it:1", "mail")
        assert await scheduler.wait_for(job, "it", SOON) == 5
        assert raw.hget(f"{prefix}x:it", "future") == b"1"


@pytest.mark.parametrize("layout", ["2.0", "garbage"])
async def test_a_namespace_of_another_major_version_is_refused(
    redis_url: str, namespace: str, raw: redis.Redis, prefix: str, layout: str
) -> None:
    raw.hset(f"{prefix}meta", mapping={"partitions": 1, "layout": layout})
    with pytest.raises(zart.ConfigurationError, match=f"layout {layout}"):
        async with zart.DurableScheduler(redis_url, namespace=namespace):
            pass


async def test_a_newer_minor_version_works_side_by_side(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    raw.hset(f"{prefix}meta", mapping={"partitions": 1, "layout": "1.7"})
    async with running_worker(scheduler):
        assert await scheduler.start_and_wait_for(steps, "it", timeout=SOON) == 1
        assert [worker.layout for worker in await scheduler.workers()] == [LAYOUT]
    assert raw.hget(f"{prefix}meta", "layout") == b"1.7"


async def test_a_worker_stops_when_its_namespace_was_upgraded_while_it_was_cut_off(
    redis_server: RedisProcess, namespace: str, raw: redis.Redis, prefix: str
) -> None:
    worker = zart.Worker(redis_server.url, namespace=namespace, lease="1s")
    running = asyncio.create_task(worker.run())
    await happens(worker.ready)
    raw.hset(f"{prefix}meta", "layout", "2.0")
    raw.zrem(f"{prefix}workers", worker.id)
    with pytest.raises(zart.ConfigurationError, match=r"layout 2\.0"):
        await running
    assert raw.zscore(f"{prefix}workers", worker.id) in (None, 0)


async def test_a_live_worker_of_the_unversioned_layout_is_an_error(
    redis_url: str, namespace: str, raw: redis.Redis, prefix: str
) -> None:
    raw.hset(f"{prefix}meta", "partitions", 1)
    raw.hset(f"{prefix}facets", '["task","default"]', "1")
    raw.zadd(f"{prefix}workers", {"0a0b0c0d": (raw.time()[0] + 60) * 1000})
    with pytest.raises(zart.ConfigurationError, match=r"worker 0a0b0c0d is alive: stop all workers"):
        async with zart.DurableScheduler(redis_url, namespace=namespace):
            pass
    assert raw.exists(f"{prefix}facets")
    raw.zadd(f"{prefix}workers", {"0a0b0c0d": 1})
    async with zart.DurableScheduler(redis_url, namespace=namespace):
        pass
    assert raw.hget(f"{prefix}buckets", '["task","default"]') == b"1"
    assert raw.hget(f"{prefix}meta", "layout") == LAYOUT.encode()


async def test_an_unknown_member_keeps_its_slot_and_its_place_in_the_line(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    limit = zart.Limit("newer-limit", concurrency=2)

    @zart_durable("newer-limited", limits=[limit])
    async def limited() -> int:
        return await one()

    slots, line = f"{prefix}slots:newer-limit", f"{prefix}line:newer-limit"
    raw.sadd(f"{prefix}counters", "newer-limit")
    raw.zadd(slots, {"~slot": 1})
    raw.zadd(line, {"~next": 0})
    async with running_worker(scheduler):
        await scheduler.start_for(limited, "behind")
        problems = {finding.problem for finding in await scheduler.doctor(repair=True)}
        assert Problem.LIMIT not in problems
        assert (raw.zrange(slots, 0, -1), raw.zrange(line, 0, 0)) == ([b"~slot"], [b"~next"])
        raw.zrem(line, "~next")  # as a newer worker would, which does not promote those behind
        assert await scheduler.wait_for(limited, "behind", SOON) == 1
        assert raw.zrange(slots, 0, -1) == [b"~slot"]
        raw.delete(slots)
        raw.srem(f"{prefix}counters", "newer-limit")
