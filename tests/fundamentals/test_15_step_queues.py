"""Steps that name a queue: workers of that queue run them, scheduled or awaited."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, until
from tests.support.workers import running_worker
from zart_redis import BusinessErr, ExecutionStatus, Ok, zart_durable, zart_step
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


@zart_step("render-{number}", queue="gpu", raises=(ValueError,), timeout="10s")
async def render(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number * 10


@zart_step("plain")
async def plain() -> str:
    return "plain"


class Render(zart.ZartStep[int]):
    name = "render-class"
    queue = "gpu"

    async def run(self) -> int:
        return 7


@zart_durable("renders")
async def renders() -> list[Any]:
    first = await render(1)
    second = await asyncio.gather(render(2), render(3))
    scheduled = await zart.wait([zart.schedule(render(4))])
    return [first, *second, scheduled[0].unwrap(), await Render(), await plain()]


@zart_durable("render-outcomes")
async def render_outcomes() -> list[Any]:
    found: list[Any] = []
    match await zart.step(render(-1)):
        case BusinessErr(error):
            found.append(str(error))
        case Ok(value):
            found.append(value)
    return [*found, await zart.step_or(render(-2), 5)]


@zart_durable("render-or-give-up")
async def render_or_give_up() -> str:
    try:
        async with asyncio.timeout(60):
            return str(await render(9))
    except TimeoutError:
        return "gave up"


@asynccontextmanager
async def worker_of(scheduler: zart.DurableScheduler, queue: str) -> AsyncIterator[zart.Worker]:
    async with running_worker(scheduler, queues=[queue], warm=0) as worker:
        yield worker


async def test_only_workers_of_its_queue_run_it(scheduler: zart.DurableScheduler) -> None:
    async with worker_of(scheduler, "default"):
        await scheduler.start_for(renders, "e")
        await until(lambda: _waits_for(scheduler, "e", "step render-1"))
        async with worker_of(scheduler, "gpu"):
            assert await scheduler.wait_for(renders, "e", SOON) == [10, 20, 30, 40, 7, "plain"]
    workers = {
        step.name: step.attempts[-1].worker for step in (await scheduler.detail("e")).steps if step.kind == "step"
    }
    assert len({workers[name] for name in workers if name.startswith("render")}) == 1
    assert workers["plain"] != workers["render-1"]


async def test_its_failures_reach_the_body(scheduler: zart.DurableScheduler) -> None:
    async with worker_of(scheduler, "default"), worker_of(scheduler, "gpu"):
        await scheduler.start_for(render_outcomes, "e")
        assert await scheduler.wait_for(render_outcomes, "e", SOON) == ["-1 is negative", 5]


async def test_it_is_dropped_with_its_execution(scheduler: zart.DurableScheduler) -> None:
    async with worker_of(scheduler, "default"):
        await scheduler.start_for(renders, "e")
        await until(lambda: _waits_for(scheduler, "e", "step render-1"))
    assert {record.name: record.depth for record in await scheduler.queues()}["gpu"] == 1
    await scheduler.cancel("e")
    assert {record.name: record.depth for record in await scheduler.queues()}.get("gpu", 0) == 0


async def test_the_doctor_names_a_queue_that_only_steps_use(
    scheduler: zart.DurableScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart_redis.client.doctor.UNSERVED_SECONDS", 0)
    async with worker_of(scheduler, "default"):
        await scheduler.start_for(renders, "e")
        await until(lambda: _waits_for(scheduler, "e", "step render-1"))
        assert [finding.subject for finding in await scheduler.doctor()] == [
            "{" + scheduler.settings.namespace + ":0}:q:gpu"
        ]


async def test_the_harness_runs_it_and_replays_it() -> None:
    async with Harness([renders, render_or_give_up], replay=True) as h:
        assert await h.run(renders, "e") == [10, 20, 30, 40, 7, "plain"]
        assert await h.run(render_or_give_up, "r") == "90"


async def test_a_timeout_of_asyncio_takes_the_step_back() -> None:
    async with Harness([render_or_give_up], queues=["default"]) as h:
        await h.scheduler.start_for(render_or_give_up, "e")
        await h.advance("61s")
        assert (await h.scheduler.status("e")).status is ExecutionStatus.COMPLETED
        steps = {step.name: step.status for step in (await h.scheduler.detail("e")).steps}
        assert steps["render-9"] == "cancelled"
        assert {record.name: record.depth for record in await h.scheduler.queues()}.get("gpu", 0) == 0


def test_a_queue_must_be_a_name() -> None:
    with pytest.raises(zart.InvalidInput, match="name of a queue"):

        @zart_step("bad", queue="")
        async def bad() -> None: ...


async def _waits_for(scheduler: zart.DurableScheduler, execution_id: str, what: str) -> bool:
    return what in (await scheduler.status(execution_id)).waiting_for
