"""Redis's memory is full: nothing new begins, what runs ends, and everything goes on when there is room again."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

import zart_redis as zart
from tests.faults.app import chain, gates, held, job, parked, ran
from tests.support.waiting import SOON, Gate, happens, reaches, until
from tests.support.workers import running_worker
from zart_redis.client.connection import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio


@contextmanager
def full(own_raw: redis.Redis) -> Iterator[None]:
    own_raw.config_set("maxmemory", "100kb")  # less than it takes when it is empty
    try:
        yield
    finally:
        own_raw.config_set("maxmemory", "0")


async def test_what_begins_is_refused_at_once_and_changes_nothing(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis
) -> None:
    await own_scheduler.start_for(parked, "p")
    with full(own_raw):
        before = own_raw.dbsize()
        began = time.monotonic()
        for call in (
            own_scheduler.start_for(chain, "c", 1),
            own_scheduler.start_for(chain, "c", 1, delay="1h"),
            own_scheduler.start_many([(f"c{n}", "faults-chain", 1) for n in range(10)]),
            own_scheduler.restart("p"),
            own_scheduler.rerun_steps("p"),
            own_scheduler.offer_event("p", "go", 1),
            own_scheduler.pause(task_name="x"),
        ):
            with pytest.raises(zart.RedisUnavailable, match="out of memory"):
                await call
        assert time.monotonic() - began < PATIENCE_SECONDS, "it was tried again"
        assert own_raw.dbsize() == before
        assert (await own_scheduler.status("p")).run == 1


async def test_a_cancel_frees_memory_and_is_let_through(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis
) -> None:
    await own_scheduler.start_for(parked, "p")
    with full(own_raw):
        assert await own_scheduler.cancel("p") is True
        assert (await own_scheduler.status("p")).status == "cancelled"


async def test_what_runs_is_recorded_and_ends_and_nothing_is_claimed(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    gates["g"] = Gate()
    async with running_worker(own_scheduler, lease="500ms") as worker:
        await own_scheduler.start_for(held, "h", "g")
        await own_scheduler.start_for(parked, "p")
        await happens(gates["g"].begun)
        await reaches(own_scheduler, "p", "waiting", "event go")
        await own_scheduler.start_for(chain, "later", 3, delay="200ms")
        with full(own_raw):
            await asyncio.sleep(1.2)  # longer than the lease: it is renewed all the same
            gates["g"].opened.set()
            assert await own_scheduler.wait_for(held, "h", SOON) == "g"
            assert (await own_scheduler.status("later")).status == "scheduled"
            assert {a.worker for s in (await own_scheduler.detail("h")).steps for a in s.attempts} == {worker.id}
        assert await own_scheduler.wait_for(chain, "later", SOON) == 3
        assert await own_scheduler.offer_event("p", "go", 1) is zart.EventDelivery.DELIVERED
        assert await own_scheduler.wait_for(parked, "p", SOON) == "1"
    assert "out of memory" in caplog.text
    assert await own_scheduler.doctor() == []


async def test_workers_under_load_live_through_it_and_lose_nothing(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis
) -> None:
    ran.clear()
    async with running_worker(own_scheduler) as one, running_worker(own_scheduler) as other:
        await own_scheduler.start_many([(f"j{n}", "faults-job", n) for n in range(60)])
        await asyncio.gather(*(own_scheduler.offer_event(f"j{n}", "bonus", n) for n in range(60)))
        for _ in range(3):
            with full(own_raw):
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*(own_scheduler.wait_for(job, f"j{n}", SOON) for n in range(60))) == [
            16 + n for n in range(60)
        ]
        for worker in (one, other):
            assert worker._background is not None
            assert not worker._background.done()
    assert set(ran.values()) == {1}, "a step ran twice though nobody died"
    assert await own_scheduler.doctor() == []


async def test_what_has_expired_makes_room_by_itself(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis
) -> None:
    """Though timers are due that need memory, which come first."""
    async with running_worker(own_scheduler, retention="2s"):
        await own_scheduler.start_for(chain, "c", 2, delay="1s")
        await own_scheduler.start_for(chain, "expiring", 50)
        await own_scheduler.wait("expiring", SOON)
        with full(own_raw):
            await until(lambda: not own_raw.exists("{zart:0}:x:expiring", "{zart:0}:r:expiring:1"), 10)
        assert await own_scheduler.wait_for(chain, "c", SOON) == 1
