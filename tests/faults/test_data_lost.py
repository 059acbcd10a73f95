"""Redis forgets: its scripts, or everything. Workers say so and go on with what comes."""

import asyncio

import pytest
import redis

import zart_redis as zart
from tests.faults.app import gates, held, job, parked, ran
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, Gate, happens, reaches, until
from tests.support.workers import running_worker

pytestmark = pytest.mark.anyio


async def test_scripts_are_forgotten_all_the_time_and_no_execution_notices(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ran.clear()
    running = True

    async def forget() -> None:
        while running:
            await asyncio.to_thread(own_raw.script_flush)
            await asyncio.sleep(0.001)

    async with running_worker(own_scheduler):
        forgetting = asyncio.create_task(forget())
        await own_scheduler.start_many([(f"j{n}", "faults-job", n) for n in range(20)])
        await asyncio.gather(*(own_scheduler.offer_event(f"j{n}", "bonus", n) for n in range(20)))
        outputs = await asyncio.gather(*(own_scheduler.wait_for(job, f"j{n}", SOON) for n in range(20)))
        running = False
        await forgetting
    assert outputs == [16 + n for n in range(20)]
    assert set(ran.values()) == {1}
    assert "unexpected error" not in caplog.text


@pytest.mark.parametrize("partitions", [1, 3])
async def test_all_is_flushed_under_workers_and_they_go_on_with_new_work(
    own_server: RedisProcess, own_raw: redis.Redis, partitions: int, caplog: pytest.LogCaptureFixture
) -> None:
    gates["f"] = Gate()
    async with (
        zart.DurableScheduler(own_server.url, partitions=partitions) as scheduler,
        running_worker(scheduler, partitions=partitions, lease="400ms"),
        running_worker(scheduler, partitions=partitions, lease="400ms"),
    ):
        await scheduler.start_for(held, "running", "f")
        await happens(gates["f"].begun)
        await scheduler.start_for(parked, "parked")
        await reaches(scheduler, "parked", "waiting", "event go")
        await scheduler.start_for(job, "later", 1, delay="1h")
        own_raw.flushall()
        gates["f"].opened.set()
        for name in ("running", "parked", "later"):
            with pytest.raises(zart.ExecutionNotFound):
                await scheduler.status(name)
        await until(lambda: "has lost its data" in caplog.text)
        await until(lambda: own_raw.hget("{zart:0}:meta", "partitions") == str(partitions).encode())
        for number in range(20):
            await scheduler.start_for(job, f"j{number}", number)
            await scheduler.offer_event(f"j{number}", "bonus", number)
        for number in range(20):
            assert await scheduler.wait_for(job, f"j{number}", SOON) == 16 + number
        async with zart.DurableScheduler(own_server.url) as newcomer:
            assert (await newcomer.status("j1")).output == 17
            assert await newcomer.doctor() == []
    assert not [name for name in own_raw.keys("*") if "running" in str(name) or "parked" in str(name)]


async def test_one_who_waits_for_what_was_flushed_is_told(
    own_scheduler: zart.DurableScheduler, own_raw: redis.Redis
) -> None:
    """As soon as anything makes it look again; here its own connection, which is made anew."""
    await own_scheduler.start_for(parked, "p")
    waiting = asyncio.create_task(own_scheduler.wait("p", SOON))
    await until(lambda: own_raw.pubsub_numsub("{zart:0}:done:p")[0][1])
    own_raw.flushall()
    own_raw.client_kill_filter(_type="pubsub")
    with pytest.raises(zart.ExecutionNotFound):
        await waiting
