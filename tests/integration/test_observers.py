"""What the observers of a real worker are told."""

from typing import Any

import pytest

import zart_redis as zart
from tests.support.observing import Recorder
from tests.support.waiting import SOON, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.model import BodyClaim, StepClaim
from zart_redis.store.store import Store

pytestmark = pytest.mark.anyio


@zart_step("observers-double")
async def double(number: int) -> int:
    return 2 * number


@zart_durable("observers-doubled")
async def doubled(number: int) -> int:
    (result,) = await zart.wait([zart.schedule(double(number))])
    return result.unwrap()


async def test_claims_steps_and_the_end_of_an_execution(scheduler: zart.DurableScheduler) -> None:
    first, second = Recorder(), Recorder()
    async with running_worker(scheduler, handlers=[doubled], observers=[first, second]):
        await scheduler.start_for(doubled, "d-1", 21)
        assert await scheduler.wait_for(doubled, "d-1", SOON) == 42
        await until(lambda: "ended" in first.events)
    claims = [type(claim) for (claim,) in first.of("claimed")]
    assert claims[:2] == [BodyClaim, StepClaim]
    ((claim, status, duration_ms, _),) = first.of("ended")
    assert (claim.execution_id, claim.queue, status) == ("d-1", "default", "completed")
    assert duration_ms >= 0
    ((attempt,),) = first.of("step_recorded")
    assert attempt.call.definition.name == "observers-double"
    assert first.told == second.told


async def test_a_task_that_the_worker_does_not_know(scheduler: zart.DurableScheduler, caplog: Any) -> None:
    observer = Recorder()
    async with running_worker(scheduler, handlers=[], observers=[observer]):
        await scheduler.start("d-2", "observers-nowhere")
        await until(lambda: "left_unserved" in observer.events)
    ((work,),) = observer.of("left_unserved")
    assert (work.execution_id, work.task, work.version) == ("d-2", "observers-nowhere", None)
    assert "left to a worker that does" in caplog.text
    await scheduler.cancel("d-2")


async def test_the_work_of_a_dead_worker(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(doubled, "d-3", 21)
    async with Store(scheduler.settings, patience=None) as store:
        (partition,) = store.partitions
        assert await partition.transitions.claim("dead", 1, ["default"], [])  # and never renews a lease
    observer = Recorder()
    async with running_worker(scheduler, handlers=[doubled], observers=[observer]):
        assert await scheduler.wait_for(doubled, "d-3", SOON) == 42
        await until(lambda: observer.of("reclaimed") == [("dead", 1)])
