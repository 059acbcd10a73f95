"""The doctor finds each kind of damage, mends it, and finds nothing where nothing is wrong."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

import zart_redis as zart
from tests.support.waiting import SOON, reaches, until
from tests.support.workers import running_worker
from zart_redis import DurableScheduler, zart_durable, zart_step

pytestmark = pytest.mark.anyio


@zart_step("leaf-{i}", retry="fixed(1, 1h)")
async def leaf(i: int, fail: bool) -> int:
    if fail and not zart.context().is_retry():
        raise ValueError
    return i


@zart_durable("branching")
async def branching(fail: bool) -> int:
    handles = [zart.schedule(leaf(i, fail)) for i in range(3)]
    await zart.wait(handles)
    await zart.sleep("nap", "1h")
    return 3


@zart_durable("eventful")
async def eventful() -> int:
    return int(await zart.wait_for_event("go", type=int))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url, decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
def key(namespace: str) -> str:
    return f"{{{namespace}:0}}:"


async def problems(scheduler: DurableScheduler, *, repair: bool = False) -> set[tuple[str, str]]:
    return {(f.problem.value, f.subject.rpartition("}:")[2]) for f in await scheduler.doctor(repair=repair)}


async def test_a_sound_namespace_has_no_findings(scheduler: DurableScheduler) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(branching, "asleep", False)
        await scheduler.start_for(branching, "retrying", True)
        await scheduler.start_for(eventful, "waiting")
        await scheduler.start_for(eventful, "done")
        await scheduler.offer_event("done", "go", 1)
        await scheduler.wait("done", SOON)
        await scheduler.start_for(eventful, "gone")
        await reaches(scheduler, "gone", "waiting")
        await scheduler.cancel("gone")
        await scheduler.restart("done")
        await scheduler.pause(task_name="eventful")
        await scheduler.start_for(eventful, "held")
        await scheduler.start("later", "eventful", delay="1h")
        await reaches(scheduler, "asleep", "waiting", "sleep nap")
        await reaches(scheduler, "retrying", "waiting", "step leaf-2")
        await reaches(scheduler, "waiting", "waiting", "event go")
        assert await scheduler.doctor() == []
    assert await scheduler.doctor() == []
    await scheduler.start("queued", "nobody-knows")
    assert await scheduler.doctor() == []


async def test_a_lost_wake_up_is_found_and_mended(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(eventful, "e")
        await reaches(scheduler, "e", "waiting", "event go")
    await redis.delete(f"{key}w:e")
    assert await problems(scheduler) == {("lost", "e")}
    await scheduler.doctor(repair=True)
    assert await scheduler.doctor() == []
    async with running_worker(scheduler):
        await scheduler.offer_event("e", "go", 4)
        assert await scheduler.wait_for(eventful, "e", SOON) == 4


async def test_a_lost_timer_is_found(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(branching, "b", False)
        await reaches(scheduler, "b", "waiting", "sleep nap")
    await redis.zrem(f"{key}timers", "xb")
    assert await problems(scheduler, repair=True) == {("lost", "b")}
    assert await scheduler.doctor() == []


async def test_a_lost_entry_is_found_and_mended(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    await scheduler.start_for(eventful, "e")
    await redis.delete(f"{key}q:default")
    assert await problems(scheduler, repair=True) == {("entry", "e")}
    async with running_worker(scheduler):
        await scheduler.offer_event("e", "go", 4)
        assert await scheduler.wait_for(eventful, "e", SOON) == 4


async def test_a_lost_child_is_found_and_mended(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(branching, "b", True)
        await until(lambda: _timers(redis, key, 3))
    await redis.delete(f"{key}timers")
    assert await problems(scheduler, repair=True) == {("child", "b")}
    async with running_worker(scheduler):
        await reaches(scheduler, "b", "waiting", "sleep nap")


async def _timers(redis: Redis, key: str, count: int) -> bool:
    return int(await redis.zcard(f"{key}timers")) == count


async def test_indexes_expiry_leftovers_and_orphans(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    async with running_worker(scheduler):
        for name in ("i", "x", "l", "o"):
            await scheduler.start_for(eventful, name)
            await scheduler.offer_event(name, "go", 1)
            await scheduler.wait(name, SOON)
        await asyncio.sleep(0)
    await redis.zadd(f"{key}i:failed:1", {"i": 1})
    await redis.zrem(f"{key}expiring", "x")
    await redis.zadd(f"{key}w:l", {"snap": 1})
    await redis.delete(f"{key}x:o")
    for owner in ("o", "nobody"):
        await redis.hset(f"{key}r:{owner}:1", "step", "v")
    found = await problems(scheduler, repair=True)
    assert found == {
        ("index", "i"), ("expiry", "x"), ("leftover", "l"), ("orphan", "o"),
        ("orphan", "r:o:1"), ("orphan", "e:o:1"), ("orphan", "r:nobody:1"),
    }  # fmt: skip
    assert await scheduler.doctor() == []
    assert not await redis.exists(f"{key}r:nobody:1")


async def test_what_is_purged_while_the_doctor_looks_is_no_finding(scheduler: DurableScheduler) -> None:
    for _ in range(3):
        await scheduler.start_many([(f"p-{i}", "eventful", None) for i in range(400)])
        await asyncio.gather(*(scheduler.offer_event(f"p-{i}", "go", 1) for i in range(400)))  # keys that a run owns
        await asyncio.gather(*(scheduler.cancel(f"p-{i}") for i in range(400)))
        findings, _ = await asyncio.gather(scheduler.doctor(), scheduler.purge())
        assert findings == []


async def test_a_status_that_is_none_is_named(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    await scheduler.start_for(eventful, "e")
    await redis.hset(f"{key}x:e", "status", "dancing")
    assert ("status", "e") in await problems(scheduler)


async def test_purge_and_retention_leave_nothing_behind(scheduler: DurableScheduler, redis: Redis, key: str) -> None:
    @zart_durable("fleeting", retention="1ms")
    async def fleeting() -> int:
        return await leaf(1, False)

    async with running_worker(scheduler):
        await scheduler.start_many([(f"f-{i}", "fleeting", None) for i in range(300)])
        await until(lambda: _empty(redis, f"{key}ids"))
        await scheduler.start_for(eventful, "kept")
        await scheduler.offer_event("kept", "go", 1)
        await scheduler.wait("kept", SOON)
        assert await scheduler.purge(older_than="1h") == 0
        assert await scheduler.purge() == 1
        with pytest.raises(zart.ExecutionNotFound):
            await scheduler.status("kept")
    names: list[str] = [str(name) for name in await redis.keys(f"{key}*")]
    left = {name.removeprefix(key) for name in names}
    assert left <= {"meta", "purged_epoch", "queues", "buckets", "q:default", "b:default", "limits"}, left


async def _empty(redis: Redis, key: str) -> bool:
    return int(await redis.zcard(key)) == 0


async def test_lists_by_prefix_and_time(scheduler: DurableScheduler) -> None:
    await scheduler.start_many([(f"order-{i:02}", "eventful", None) for i in range(30)])
    await scheduler.start("other", "eventful")
    seen: list[str] = []
    cursor = None
    while True:
        page = await scheduler.list_executions(id_prefix="order-", limit=7, cursor=cursor, order="oldest")
        seen += [record.execution_id for record in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [f"order-{i:02}" for i in range(30)]
    created = (await scheduler.status("other")).created_at
    later = await scheduler.list_executions(created_after=created, limit=100)
    assert "other" in {record.execution_id for record in later}
    assert await scheduler.list_executions(created_before=created.replace(year=2000)) == []


async def test_a_worker_whose_lease_has_ended_is_not_listed(
    scheduler: DurableScheduler, redis: Redis, key: str
) -> None:
    async with running_worker(scheduler) as worker:
        (found,) = await scheduler.workers()
        assert found.worker_id == worker.id
        about = await redis.hget(f"{key}about", worker.id)
    await redis.hset(f"{key}about", worker.id, about or "")  # as one leaves it that dies when no other is there
    await redis.zadd(f"{key}workers", {worker.id: 1})
    assert await scheduler.workers() == []
