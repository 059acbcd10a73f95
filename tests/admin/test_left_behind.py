"""What is finished leaves nothing behind, what is used again stays what it was, and what nobody reads is named."""

from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.support.waiting import SOON, reaches, until
from tests.support.workers import running_worker
from zart_redis import DurableScheduler, zart_durable, zart_step
from zart_redis.client import doctor

pytestmark = pytest.mark.anyio


@zart_durable("nothing")
async def nothing() -> int:
    return 1


@zart_step("key")
async def key() -> str:
    return zart.context().idempotency_key


@zart_durable("keys")
async def keys() -> list[str]:
    (scheduled,) = await zart.wait([zart.schedule(key().named("scheduled"))])
    return [zart.context().idempotency_key, await key(), scheduled.unwrap()]


async def test_names_of_tasks_and_queues_go_with_their_last_execution(
    scheduler: DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    for i in range(3):
        await scheduler.start(f"once-{i}", f"task-{i}", queue=f"queue-{i}")
        await scheduler.cancel(f"once-{i}")
    await scheduler.start("kept", "task-0", queue="queue-0")
    assert await scheduler.purge() == 3
    assert list(await _names(scheduler)) == ["task-0"]
    assert [name for name in raw.scan_iter(f"{prefix}[qbus]:*") if not name.endswith(b":queue-0")] == []
    await scheduler.start("new", "task-4")
    buckets: Any = raw.hgetall(f"{prefix}buckets")
    assert len(set(buckets.values())) == len(buckets) == 2


async def test_names_go_with_the_last_run_of_an_id_that_is_used_for_something_else(
    scheduler: DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    for i in range(3):
        await scheduler.start("one", f"task-{i}", queue=f"queue-{i}")
        await scheduler.cancel("one")
    assert list(await _names(scheduler)) == ["task-2"]
    assert [name for name in raw.scan_iter(f"{prefix}[qbus]:*") if not name.endswith(b":queue-2")] == []

    @zart_durable("versioned-alone", version=2)
    async def versioned() -> None: ...

    async with running_worker(scheduler, handlers=[versioned]):
        for _ in range(2):
            await scheduler.start_and_wait_for(versioned, "two", None, SOON)
    assert await scheduler.purge() == 2
    assert not raw.exists(f"{prefix}buckets", f"{prefix}queues")


async def _names(scheduler: DurableScheduler) -> dict[str, Any]:
    return dict((await scheduler.stats()).by_task)


async def test_a_worker_reads_a_queue_whose_streams_are_gone(scheduler: DurableScheduler) -> None:
    async with running_worker(scheduler):
        for _ in range(3):
            await scheduler.start_and_wait_for(nothing, "again", None, SOON)
            assert await scheduler.purge() == 1


async def test_no_idempotency_key_is_given_twice(scheduler: DurableScheduler) -> None:
    async with running_worker(scheduler):
        first = await scheduler.start_and_wait_for(keys, "invoice", None, SOON)
        assert await scheduler.purge() == 1
        second = await scheduler.start_and_wait_for(keys, "invoice", None, SOON)
        assert await scheduler.restart("invoice") == 2
        third = await scheduler.wait_for(keys, "invoice", SOON)
    assert len({*first, *second, *third}) == 9


async def test_a_rule_that_is_set_again_at_once_holds_what_is_left(
    scheduler: DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    async with running_worker(scheduler):
        await scheduler.pause(task_name="nothing")
        await scheduler.start_many([(f"n-{i}", "nothing", None) for i in range(250)])
        rule: Any
        (rule,) = await scheduler.list_pause_rules()
        await until(lambda: raw.zcard(f"{prefix}paused:{rule.rule_id}") == 250)
        await scheduler.resume(task_name="nothing")
        await scheduler.pause(task_name="nothing")
        await until(lambda: raw.zscore(f"{prefix}timers", f"r{rule.rule_id}") is None)
        await until(lambda: _rests(scheduler))
        await scheduler.resume(task_name="nothing")
        await reaches(scheduler, "n-249", "completed")
        await until(lambda: _completed(scheduler, 250))


async def _completed(scheduler: DurableScheduler, number: int) -> bool:
    return (await scheduler.stats()).by_status.get(zart.ExecutionStatus.COMPLETED, 0) == number


async def _rests(scheduler: DurableScheduler) -> bool:
    """Whether nothing is queued."""
    return all(depth.queued == 0 for depth in (await scheduler.stats()).queues.values())


async def test_the_doctor_names_a_queue_that_no_live_worker_reads(
    scheduler: DurableScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "UNSERVED_SECONDS", 0)
    await scheduler.start("stranded", "nothing", queue="elsewhere")
    (finding,) = await scheduler.doctor()
    assert finding.problem == "unread"
    assert "'elsewhere'" in finding.detail
    async with running_worker(scheduler, queues=["elsewhere"]):
        await scheduler.wait("stranded", SOON)
        assert await scheduler.doctor() == []
