"""Redis is restarted and killed under clients and workers, with all of the kinds of waits open."""

import asyncio
from collections import Counter

import pytest

import zart_redis as zart
from tests.faults.app import gates, held, job, parked, ran
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, Gate, happens, reaches
from tests.support.workers import running_worker

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["restart", "kill9"])
async def test_waits_of_every_kind_survive(
    own_server: RedisProcess, own_scheduler: zart.DurableScheduler, how: str
) -> None:
    """A worker in the middle of a step, a parked body, a delayed start, a client that waits, and one that starts."""
    ran.clear()
    gates["r"] = Gate()
    async with running_worker(own_scheduler, lease="3s"):
        await own_scheduler.start_for(held, "running", "r")
        await own_scheduler.start_for(parked, "parked")
        await own_scheduler.start_for(job, "later", 3, delay="300ms")
        await happens(gates["r"].begun)
        await reaches(own_scheduler, "parked", "waiting", "event go")
        waiting = asyncio.create_task(own_scheduler.wait_for(parked, "parked", SOON))
        await asyncio.to_thread(own_server.stop if how == "restart" else own_server.kill9)
        gates["r"].opened.set()
        started = asyncio.create_task(own_scheduler.start_for(job, "while-away", 1))
        offered = asyncio.create_task(own_scheduler.offer_event("parked", "go", "back"))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own_server.start)
        assert await started == 1
        assert await offered is zart.EventDelivery.DELIVERED
        assert await waiting == "back"
        assert await own_scheduler.wait_for(held, "running", SOON) == "r"
        for name, number in (("while-away", 1), ("later", 3)):
            await own_scheduler.offer_event(name, "bonus", number)
            assert await own_scheduler.wait_for(job, name, SOON) == 16 + number
        detail = await own_scheduler.detail("running")
    assert [step.attempt_count for step in detail.steps] == [1]
    assert Counter(ran.values()) == {1: len(ran)}
    assert await own_scheduler.doctor() == []


async def test_a_client_that_has_waited_long_enough_says_what_it_does_not_know(
    own_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart_redis.client.connection.PATIENCE_SECONDS", 0.3)
    async with zart.DurableScheduler(own_server.url) as scheduler:
        await asyncio.to_thread(own_server.stop)
        with pytest.raises(zart.RedisUnavailable):
            await scheduler.start_for(parked, "p")
        with pytest.raises(zart.RedisUnavailable):
            await scheduler.list_executions()
        await asyncio.to_thread(own_server.start)
        assert await scheduler.list_executions() == []
        assert await scheduler.start_for(parked, "p") == 1
