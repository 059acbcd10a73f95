"""What others got wrong with Redis streams as a work queue; the numbers are those of the team's list of pitfalls."""

import asyncio
import re
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.support.waiting import SOON, reaches, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.settings import Settings
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.store import Store
from zart_redis.worker.recovery import LAPSED

pytestmark = pytest.mark.anyio


@zart_step("piece-{number}")
async def piece(number: int) -> int:
    return number


@zart_durable("stream-job")
async def job(size: int) -> int:
    results = await zart.wait([zart.schedule(piece(number)) for number in range(size)])
    await zart.sleep("nap", "10ms")
    return sum(result.unwrap() for result in results)


def held(raw: redis.Redis, prefix: str) -> Any:
    return raw.xpending(f"{prefix}q:default", "zart")["pending"]


async def test_18_a_stream_is_empty_when_its_work_is_done(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    async with running_worker(scheduler):
        for number in range(5):
            await scheduler.start_for(job, f"j{number}", 20)
        for number in range(5):
            await scheduler.wait(f"j{number}", SOON)
        assert raw.xlen(f"{prefix}q:default") == 0
        assert held(raw, prefix) == 0
    left = {key.decode().removeprefix(prefix).split(":")[0] for key in raw.scan_iter(f"{prefix}*")}
    assert left <= {"x", "r", "i", "expiring", "buckets", "meta", "q", "b", "queues", "h", "ids", "limits"}


async def test_19_an_entry_that_was_deleted_while_it_was_pending_stops_no_recovery(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    queue = f"{prefix}q:default"
    for number in range(3):
        await scheduler.start_for(job, f"j{number}", 2)
    raw.xgroup_create(queue, "zart", id="0")
    raw.sadd(f"{prefix}queues", "default")
    taken: Any = raw.xreadgroup("zart", "the-dead", {queue: ">"})
    entries = [entry for entry, _ in taken[0][1]]
    raw.zadd(f"{prefix}workers", {"the-dead": 1})
    raw.xdel(queue, entries[0])
    async with running_worker(scheduler):
        for number in (1, 2):
            assert await scheduler.wait_for(job, f"j{number}", SOON) == 1
        assert held(raw, prefix) == 0


async def test_20_and_26_no_script_handles_more_than_it_is_told(
    scheduler: zart.DurableScheduler, redis_url: str, namespace: str, raw: redis.Redis, prefix: str
) -> None:
    await scheduler.start_many([(f"j{n}", "stream-job", 1) for n in range(50)])
    await scheduler.start_many([zart.StartRequest(f"d{n}", "stream-job", 1, delay=0.001) for n in range(50)])
    async with Store(Settings.load(redis_url=redis_url, namespace=namespace), patience=1) as store:
        transitions = store.partitions[0].transitions
        assert len(await transitions.claim("the-dead", 7, ["default"])) == 7
        await transitions.claim("the-dead", 100, ["default"])
        assert await transitions.reclaim("the-dead", 20, LAPSED, 5, 0) == (True, 20)
        assert held(raw, prefix) == 30
        await until(lambda: raw.zcount(f"{prefix}timers", "-inf", raw.time()[0] * 1000) == 50)
        assert (await transitions.due(20)).fired == 20
        assert raw.zcard(f"{prefix}timers") == 30
    async with running_worker(scheduler):
        for number in range(50):
            assert await scheduler.wait_for(job, f"j{number}", SOON) == 0
            assert await scheduler.wait_for(job, f"d{number}", SOON) == 0


async def test_21_consumers_of_workers_that_are_gone_do_not_pile_up(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    for number in range(4):
        async with running_worker(scheduler):
            await scheduler.start_and_wait_for(job, f"j{number}", 3, SOON)
    assert raw.xinfo_consumers(f"{prefix}q:default", "zart") == []
    assert raw.zcard(f"{prefix}workers") == 0


async def test_21_what_was_delivered_to_a_worker_that_leaves_goes_back(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    async with running_worker(scheduler, lease="30s") as worker:
        await scheduler.start_and_wait_for(job, "first", 1, SOON)
        worker.stop()
        # Delivered to it, and never begun: as if its read had been answered at the last moment.
        await scheduler.start_for(job, "second", 1)
        raw.xreadgroup("zart", worker.id, {f"{prefix}q:default": ">"})
    async with running_worker(scheduler, lease="30s"):
        assert await scheduler.wait_for(job, "second", SOON) == 0


def test_22_no_lease_is_renewed_by_claiming_entries_again() -> None:
    """Entries are claimed in one case only: for the consumer that keeps those which no worker understands."""
    for script in SCRIPTS.values():
        claims = re.findall(rb"'X(?:AUTO)?CLAIM'.*", script.source)
        assert [claim for claim in claims if b"'unclaimed'" not in claim] == []


@pytest.mark.parametrize("loss", ["group", "stream", "everything"])
async def test_23_a_worker_goes_on_when_its_group_is_lost(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, loss: str
) -> None:
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(job, "before", 2, SOON)
        match loss:
            case "group":
                raw.xgroup_destroy(f"{prefix}q:default", "zart")
            case "stream":
                raw.delete(f"{prefix}q:default")
            case _:
                raw.flushall()
        for number in range(3):
            assert await scheduler.start_and_wait_for(job, f"after-{number}", 3, SOON) == 3


async def test_23_what_was_queued_before_its_group_was_lost_is_worked_on(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(job, "before", 1, SOON)
    await scheduler.start_for(job, "queued", 2)
    raw.xgroup_destroy(f"{prefix}q:default", "zart")
    async with running_worker(scheduler):
        assert await scheduler.wait_for(job, "queued", SOON) == 1


def test_25_scripts_are_addressed_by_their_content() -> None:
    for script in SCRIPTS.values():
        assert len(script.sha) == 40
        assert b"redis.register_function" not in script.source


async def test_26_many_timers_due_at_once_are_all_fired(scheduler: zart.DurableScheduler) -> None:
    requests = [zart.StartRequest(f"d{n}", "stream-job", 0, delay="50ms") for n in range(500)]
    async with running_worker(scheduler):
        await scheduler.start_many(requests)

        async def all_done() -> bool:
            return (await scheduler.stats()).by_status == {"completed": 500}

        await until(all_done)


async def test_28_a_delivery_that_comes_twice_is_a_hint_and_does_nothing(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    runs: list[int] = []

    @zart_durable("once")
    async def once() -> None:
        runs.append(1)
        await zart.wait_for_event("go")

    async with running_worker(scheduler):
        await scheduler.start_for(once, "o")
        await reaches(scheduler, "o", "waiting", "event go")
        for _ in range(3):
            raw.xadd(f"{prefix}q:default", {"x": "o"})
            raw.xadd(f"{prefix}q:default", {"s": "o", "scope": "1", "name": "no-such-step"})
        await until(lambda: raw.xlen(f"{prefix}q:default") == 0)
        await asyncio.sleep(0.02)
        assert runs == [1]
        assert (await scheduler.status("o")).status == "waiting"


async def test_27_an_evicting_redis_is_refused_unless_told_otherwise(
    scheduler: zart.DurableScheduler, redis_url: str, namespace: str, raw: redis.Redis
) -> None:
    raw.config_set("maxmemory-policy", "allkeys-lru")
    raw.config_set("maxmemory", "1gb")
    try:
        with pytest.raises(zart.ConfigurationError, match="noeviction"):
            async with zart.Worker(redis_url, namespace=namespace):
                pass
        async with running_worker(scheduler, allow_eviction=True):
            assert await scheduler.start_and_wait_for(job, "j", 1, SOON) == 0
    finally:
        raw.config_set("maxmemory-policy", "noeviction")
        raw.config_set("maxmemory", "0")


async def test_27_a_full_redis_refuses_starts_and_finishes_what_runs_when_it_has_room(
    scheduler: zart.DurableScheduler, raw: redis.Redis
) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(job, "before", 5, delay="100ms")
        raw.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(zart.RedisUnavailable, match="out of memory"):
                await scheduler.start_for(job, "refused", 1)
            await asyncio.sleep(0.3)
        finally:
            raw.config_set("maxmemory", "0")
        assert await scheduler.wait_for(job, "before", SOON) == 10


async def test_entries_of_two_queues_may_have_the_same_id(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    """Redis numbers the entries of each stream for itself."""
    begun: list[str] = []
    gate = asyncio.Event()

    @zart_step("pass-gate")
    async def pass_gate() -> None:
        begun.append(zart.context().execution_id)
        await gate.wait()

    @zart_durable("at-the-gate")
    async def at_the_gate() -> None:
        await pass_gate()
        await zart.wait_for_event("go")

    queues = ["one", "two"]
    for queue in queues:
        key = f"{prefix}q:{queue}"
        raw.xadd(key, {"x": "x"}, id="9999999999999-0")  # from here on Redis counts up
        raw.xdel(key, "9999999999999-0")
        await scheduler.start_for(at_the_gate, queue, queue=queue)
    assert raw.xrange(f"{prefix}q:one")[0][0] == raw.xrange(f"{prefix}q:two")[0][0]  # type: ignore[index]
    async with running_worker(scheduler, queues=queues):
        await until(lambda: len(begun) == 2)
        assert await scheduler.cancel("one")
        gate.set()
        await reaches(scheduler, "two", "waiting", "event go")
        await scheduler.offer_event("two", "go")
        assert (await scheduler.wait("two", SOON)).status == "completed"
    assert sorted(begun) == queues
