"""Worker processes that are killed and frozen: what was recorded stands, what was not is done again elsewhere."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

import zart_redis as zart
from tests.conftest import SERVERS
from tests.crash import app
from tests.crash.conftest import Start, Traces, WorkerProcess
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, reaches, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio

newest = pytest.mark.parametrize("redis_server", [list(SERVERS.values())[-1]], ids=[list(SERVERS)[-1]], indirect=True)
"""Processes take their time to start; these say nothing of a Redis version that others do not."""

EXPECTED: dict[str, list[str]] = {
    "in-place": ["before", "after"],
    "fanned-out": ["before", "beside", "after"],
}


@pytest.mark.parametrize("handler", [app.in_place, app.fanned_out], ids=lambda handler: handler.name)
async def test_kill_9_in_the_middle_of_a_step(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces, handler: zart.DurableHandler[str, list[str]]
) -> None:
    first = process()
    await scheduler.start_for(handler, "x", traces.folder)
    await until(lambda: "hold-begun" in traces.words())
    if handler is app.fanned_out:
        await reaches(scheduler, "x", "waiting", "step hold")  # which it waits for when the other two are recorded
    first.kill9()
    traces.open_gate()
    second = process()
    assert await scheduler.wait_for(handler, "x", SOON) == EXPECTED[handler.name]
    counts = Counter(traces.words())
    assert counts.pop("hold-begun") == 2
    assert set(counts.values()) == {1}
    assert "after" in traces.by(second.pid)
    assert (await scheduler.status("x")).attempt == 1


async def test_what_a_killed_worker_emitted_is_not_repeated_by_the_body_and_void_by_the_step(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    first = process()
    await scheduler.start_for(app.talkative, "x", traces.folder)
    following = asyncio.ensure_future(_follow(scheduler, "x"))
    await until(lambda: "talked" in traces.words())
    await until(lambda: bool(traces.words()))
    items = aiter(scheduler.follow("x"))
    begun = [(await anext(items)).value for _ in range(3)]  # type: ignore[union-attr]
    assert begun == ["begin", "marked", "step begins"]
    first.kill9()
    process()
    await scheduler.wait("x", SOON)
    restarted = zart.Restarted("talk", 0)
    step = ["step begins", "step ends"]
    expected = ["begin", "marked", "step begins", restarted, *step, "talked", *step, "end"]
    assert await following == await _follow(scheduler, "x") == expected


async def _follow(scheduler: zart.DurableScheduler, execution_id: str) -> list[Any]:
    found = scheduler.follow(execution_id)
    return [item.value if isinstance(item, zart.StreamItem) else item async for item in found]


async def test_the_work_of_a_killed_process_goes_on_within_5_seconds_by_default(tmp_path: Any) -> None:
    traces = Traces(tmp_path)
    with RedisProcess() as server:
        workers = [WorkerProcess(server.url, "zart", lease="4s") for _ in range(2)]
        try:
            async with zart.DurableScheduler(server.url) as scheduler:
                assert scheduler.settings.lease == 4000
                started = time.monotonic()
                await scheduler.start_for(app.in_place, "x", traces.folder)
                await until(lambda: "hold-begun" in traces.words())
                usual = time.monotonic() - started
                (holder,) = (worker for worker in workers if traces.by(worker.pid))
                await until(lambda: len(server.connect().client_list()) >= 6)  # the other one is there too
                killed = time.monotonic()
                holder.kill9()
                await until(lambda: traces.words().count("hold-begun") == 2, 60)
                assert time.monotonic() - killed < 5 + 20 * usual  # more than 5 on a busy machine only
        finally:
            for worker in workers:
                worker.kill9()


@pytest.mark.parametrize("handler", [app.in_place, app.fanned_out], ids=lambda handler: handler.name)
async def test_a_frozen_process_that_comes_back_changes_nothing(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces, handler: zart.DurableHandler[str, list[str]]
) -> None:
    frozen = process()
    await scheduler.start_for(handler, "x", traces.folder)
    await until(lambda: {"hold-begun", "before"} <= set(traces.words()))
    frozen.freeze()
    traces.open_gate()
    async with running_worker(scheduler, lease="500ms"):
        await scheduler.wait_for(handler, "x", SOON)
    ended = await scheduler.status("x")
    frozen.unfreeze()
    # It goes on with other work; by then it has given up, or been refused, what it held.
    assert await scheduler.start_and_wait_for(app.in_place, "y", traces.folder, SOON) == ["before", "after"]
    assert "after" in traces.by(frozen.pid)
    assert await scheduler.status("x") == ended
    assert (await scheduler.stats()).queues["default"].held == 0


@newest
async def test_a_frozen_process_cannot_touch_the_next_run(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    frozen = process()
    await scheduler.start_for(app.in_place, "x", traces.folder)
    await until(lambda: "hold-begun" in traces.words())
    frozen.freeze()
    await scheduler.cancel("x")
    await scheduler.start("x", "nobody-knows-it", "the next run", queue="elsewhere")
    traces.open_gate()
    frozen.unfreeze()
    await scheduler.start_and_wait_for(app.in_place, "y", traces.folder, SOON)
    record = await scheduler.status("x")
    assert (record.run, record.status, record.output) == (2, "scheduled", None)


@newest
async def test_on_failure_survives_kill_9_half_way(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    first = process()
    await scheduler.start_for(app.undone, "x", traces.folder)
    await until(lambda: "hold-begun" in traces.words())
    first.kill9()
    traces.open_gate()
    process()
    assert await scheduler.wait_for(app.undone, "x", SOON) == "undone for acme"
    assert Counter(traces.words())["undo"] == 1


@newest
async def test_a_declared_error_crosses_processes_as_itself(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    first = process()
    await scheduler.start_for(app.declined, "x", traces.folder)
    await reaches(scheduler, "x", "waiting", "event elsewhere")
    first.kill9()
    async with running_worker(scheduler):
        await scheduler.offer_event("x", "elsewhere")
        assert await scheduler.wait_for(app.declined, "x", SOON) == ("acme", 5, "Declined")


async def keep_alive(start: Start, scheduler: zart.DurableScheduler, execution_id: str, **options: Any) -> int:
    """Start a worker again each time it dies, as a pool does, until the execution has ended. Answers how often."""
    deaths, worker = 0, start(**options)

    async def has_ended() -> bool:
        nonlocal deaths, worker
        if worker.is_dead():
            deaths, worker = deaths + 1, start(**options)
        return (await scheduler.status(execution_id)).status.is_final

    await until(has_ended, seconds=30)
    return deaths


@newest
async def test_a_body_that_keeps_killing_its_worker_is_failed_after_max_deliveries(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    await scheduler.start_for(app.deadly, "x", traces.folder)
    deaths = await keep_alive(process, scheduler, "x", lease="200ms", max_deliveries=2)
    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.wait_for(app.deadly, "x", SOON)
    assert isinstance(raised.value.error, zart.HandlerCrashed)
    assert raised.value.error.deliveries >= 2
    assert "its heartbeats ended (pid " in str(raised.value.error)
    # The first moves it on, the second makes it a suspect; each later one counts when its worker has not come back.
    assert deaths >= 4
    # Crashes are no attempts: they use up no retries.
    assert traces.words() == ["attempt-1", "died"] * deaths


@newest
async def test_a_scheduled_step_that_keeps_killing_its_worker_is_given_up(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    await scheduler.start_for(app.deadly_elsewhere, "x", traces.folder)
    await keep_alive(process, scheduler, "x", lease="200ms", max_deliveries=1)
    assert (await scheduler.wait_for(app.deadly_elsewhere, "x", SOON)).startswith("HandlerCrashed(")


@newest
async def test_a_body_that_makes_progress_between_crashes_is_not_given_up(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    await scheduler.start_for(app.lucky, "x", traces.folder)
    await keep_alive(process, scheduler, "x", lease="200ms", max_deliveries=2)
    assert await scheduler.wait_for(app.lucky, "x", SOON) == ["one", "two", "three", "four"]
    assert traces.words() == ["one", "two", "three", "four"]


@newest
async def test_a_step_that_blocks_the_event_loop_for_longer_than_the_lease_keeps_its_work(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    process(lease="300ms")
    process(lease="300ms")
    await scheduler.start_for(app.blocking, "x", traces.folder)
    await scheduler.wait_for(app.blocking, "x", SOON)
    assert traces.words() == ["elsewhere", "here"]


@newest
async def test_a_step_that_a_worker_does_not_know_is_put_off_for_one_that_does(
    scheduler: zart.DurableScheduler, process: Start, traces: Traces
) -> None:
    @zart_step("of-the-next-version-{number}")
    async def new(number: int) -> int:
        return number

    @zart_durable("of-the-next-version")
    async def body(folder: str) -> int:
        await hold.wait()
        return sum(result.unwrap() for result in await zart.wait([zart.schedule(new(n)) for n in range(2)]))

    hold = asyncio.Event()
    old = process()
    await scheduler.start_for(app.in_place, "warm-up", traces.folder)
    await until(lambda: traces.by(old.pid))
    traces.open_gate()
    async with running_worker(scheduler, handlers=[body], lease="500ms"):
        await scheduler.start_for(body, "x", traces.folder)
        hold.set()
        assert await scheduler.wait_for(body, "x", SOON) == 1
