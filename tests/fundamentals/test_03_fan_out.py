"""Fan-out: scheduled steps run on any worker of the queue, and branches of a body run side by side."""

import asyncio
from datetime import timedelta
from typing import Any

import anyio
import pytest

import zart_redis as zart
from tests.support.waiting import SOON, happens, reaches
from tests.support.workers import running_worker
from zart_redis import Err, Ok, zart_durable, zart_step
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


class Unhealthy(Exception):
    pass


@zart_step("square-{number}")
async def square(number: int) -> int:
    return number * number


@zart_step("check-{name}", raises=(Unhealthy,))
async def check(name: str) -> str:
    if name == "db":
        raise Unhealthy(name)
    return f"{name} is well"


@pytest.mark.usefixtures("worker")
async def test_results_come_in_the_order_of_the_handles(scheduler: zart.DurableScheduler) -> None:
    @zart_step("late-{ms}")
    async def late(ms: int) -> int:
        await asyncio.sleep(ms / 1000)
        return ms

    @zart_durable("ordered")
    async def ordered() -> list[int]:
        handles = [zart.schedule(late(ms)) for ms in (40, 1, 20)]
        return [result.unwrap() for result in await zart.wait(handles)]

    assert await scheduler.start_and_wait_for(ordered, "ordered-1", timeout=SOON) == [40, 1, 20]


@pytest.mark.usefixtures("worker")
async def test_a_failing_step_cancels_nothing(scheduler: zart.DurableScheduler) -> None:
    errors: list[zart.StepError] = []

    @zart_durable("health")
    async def health() -> list[str]:
        said = []
        for result in await zart.wait([zart.schedule(check(name)) for name in ("web", "db", "mail")]):
            match result:
                case Ok(value):
                    said.append(value)
                case Err(error):
                    errors.append(error)
        return said

    assert await scheduler.start_and_wait_for(health, "health-1", timeout=SOON) == ["web is well", "mail is well"]
    (error,) = errors
    assert isinstance(error, zart.StepBusinessError)
    assert error.step == "check-db"
    assert isinstance(error.error, Unhealthy)
    assert error.error.args == ("db",)


@pytest.mark.usefixtures("worker")
async def test_unwrap_raises_the_step_error_which_fails_the_execution(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("unwrapping")
    async def unwrapping() -> list[str]:
        return [result.unwrap() for result in await zart.wait([zart.schedule(check("db"))])]

    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(unwrapping, "unwrapping-1", timeout=SOON)
    assert isinstance(raised.value.error, zart.StepFailed)
    assert raised.value.error.step == "check-db"


@pytest.mark.usefixtures("worker")
async def test_a_scheduled_step_may_return_nothing(scheduler: zart.DurableScheduler) -> None:
    @zart_step("quiet")
    async def quiet() -> None: ...

    @zart_durable("quietly")
    async def quietly() -> list[None]:
        return [result.unwrap() for result in await zart.wait([zart.schedule(quiet())])]

    assert await scheduler.start_and_wait_for(quietly, "quietly-1", timeout=SOON) == [None]


@pytest.mark.usefixtures("worker")
async def test_waiting_for_nothing_gives_nothing(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("nothing")
    async def nothing() -> int:
        return len(await zart.wait([]))

    assert await scheduler.start_and_wait_for(nothing, "nothing-1", timeout=SOON) == 0


@pytest.mark.usefixtures("worker")
async def test_a_handle_may_be_waited_for_in_several_waits(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("overlapping")
    async def overlapping() -> list[int]:
        a, b, c = (zart.schedule(square(n)) for n in (1, 2, 3))
        some, more = await asyncio.gather(zart.wait([a, b]), zart.wait([b, c]))
        again = await zart.wait([c, c])
        return [result.unwrap() for result in (*some, *more, *again)]

    assert await scheduler.start_and_wait_for(overlapping, "overlapping-1", timeout=SOON) == [1, 4, 4, 9, 9, 9]


@pytest.mark.usefixtures("worker")
async def test_only_handles_of_this_pass_can_be_waited_for(scheduler: zart.DurableScheduler) -> None:
    handles: list[zart.StepHandle[int]] = []

    @zart_durable("keeping")
    async def keeping() -> None:
        handles.append(zart.schedule(square(1)))
        await zart.sleep("nap", "20ms")
        await zart.wait(handles[:1])

    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(keeping, "keeping-1", timeout=SOON)
    assert isinstance(raised.value.error, zart.InvalidInput)


async def test_thousands_of_steps_are_shared_by_all_workers_of_the_queue(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("thousands")
    async def thousands() -> int:
        return sum(result.unwrap() for result in await zart.wait([zart.schedule(square(n)) for n in range(2000)]))

    async with running_worker(scheduler), running_worker(scheduler):
        outcome = await scheduler.start_and_wait_for(thousands, "thousands-1", timeout="30s")
    assert outcome == sum(n * n for n in range(2000))


async def test_a_step_that_is_scheduled_needs_no_worker_slot_of_its_body(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("alone")
    async def alone() -> list[int]:
        return [result.unwrap() for result in await zart.wait([zart.schedule(square(n)) for n in range(3)])]

    async with running_worker(scheduler, concurrency=1):
        assert await scheduler.start_and_wait_for(alone, "alone-1", timeout=SOON) == [0, 1, 4]


@pytest.mark.usefixtures("worker")
async def test_scheduled_steps_go_to_the_queue_of_their_execution(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("on-mail", queue="mail")
    async def on_mail() -> int:
        (result,) = await zart.wait([zart.schedule(square(3))])
        return result.unwrap()

    await scheduler.start_for(on_mail, "mail-1")
    async with running_worker(scheduler, queues=["mail"]):
        assert await scheduler.wait_for(on_mail, "mail-1", SOON) == 9


async def test_a_body_that_returns_is_finished_when_its_scheduled_steps_have_ended(
    scheduler: zart.DurableScheduler,
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @zart_step("unawaited")
    async def unawaited() -> None:
        begun.set()
        await go_on.wait()
        raise RuntimeError("nobody looks")

    @zart_durable("leaving")
    async def leaving() -> str:
        zart.schedule(unawaited())
        return "left"

    async with running_worker(scheduler):
        await scheduler.start_for(leaving, "leaving-1")
        await happens(begun)
        record = await reaches(scheduler, "leaving-1", "waiting")
        assert record.output is None
        assert record.waiting_for == ("scheduled steps that were not waited for",)
        go_on.set()
        assert await scheduler.wait_for(leaving, "leaving-1", SOON) == "left"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("way", ["in place", "scheduled"])
async def test_retries_timeouts_and_names_are_the_same_in_place_and_scheduled(
    scheduler: zart.DurableScheduler, way: str
) -> None:
    attempts: list[tuple[int, int, bool]] = []

    @zart_step("flaky", retry="fixed(2, 5ms)")
    async def flaky() -> str:
        info = zart.context()
        attempts.append((info.current_attempt, info.max_retries, info.is_retry()))
        if info.current_attempt < 2:
            raise RuntimeError("not yet")
        return "at last"

    @zart_step("hopeless", retry="fixed(1, 5ms)", raises=(Unhealthy,))
    async def hopeless() -> str:
        raise Unhealthy("ever")

    @zart_step("slow", timeout="30ms")
    async def slow() -> str:
        await asyncio.sleep(30)
        return ""

    seen: list[Any] = []

    async def outcome(call: zart.StepCall[str, Any]) -> Any:
        if way == "in place":
            answer = await zart.step(call)
            return answer.value if isinstance(answer, Ok) else answer.error
        (result,) = await zart.wait([zart.schedule(call)])
        return result.value if isinstance(result, Ok) else result.error

    @zart_durable("policies")
    async def policies() -> None:
        seen.append([await outcome(call) for call in (flaky(), hopeless().named("renamed"), slow())])

    await scheduler.start_and_wait_for(policies, "policies-1", timeout=SOON)
    done, spent, late = seen[-1]
    assert done == "at last"
    assert attempts == [(0, 2, False), (1, 2, True), (2, 2, True)]
    assert spent == zart.RetryExhausted("renamed", 2, Unhealthy("ever"))
    assert late == zart.TimedOut("slow", 0.03)


# Branches of one body


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("how", ["gather", "asyncio task group", "anyio task group"])
async def test_steps_sleeps_and_events_run_side_by_side(scheduler: zart.DurableScheduler, how: str) -> None:
    async def in_asyncio_group(*calls: Any) -> list[Any]:
        async def run(call: Any) -> Any:
            return await call

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(call)) for call in calls]
        return [task.result() for task in tasks]

    async def in_anyio_group(*calls: Any) -> list[Any]:
        results: list[Any] = [None] * len(calls)

        async def run(index: int, call: Any) -> None:
            results[index] = await call

        async with anyio.create_task_group() as group:
            for index, call in enumerate(calls):
                group.start_soon(run, index, call)
        return results

    together: Any = {
        "gather": asyncio.gather,
        "asyncio task group": in_asyncio_group,
        "anyio task group": in_anyio_group,
    }[how]

    @zart_durable("side-by-side")
    async def side_by_side() -> list[Any]:
        async def scheduled() -> list[int]:
            return [result.unwrap() for result in await zart.wait([zart.schedule(square(n)) for n in (5, 6)])]

        async def chain() -> int:
            first = await square(2)
            await zart.sleep("between", "30ms")
            return first + await square(3)

        return list(
            await together(
                square(4),
                zart.sleep("nap", "60ms"),
                zart.wait_for_event("ping", type=str),
                scheduled(),
                chain(),
                zart.capture("word", lambda: "w"),
            )
        )

    await scheduler.start_for(side_by_side, "together-1")
    await reaches(scheduler, "together-1", "waiting", "event ping")
    await scheduler.offer_event("together-1", "ping", "pong")
    assert await scheduler.wait_for(side_by_side, "together-1", SOON) == [16, None, "pong", [25, 36], 13, "w"]


async def test_sleeps_side_by_side_last_as_long_as_the_longest(redis_url: str, namespace: str) -> None:
    @zart_durable("naps")
    async def naps() -> None:
        await asyncio.gather(*(zart.sleep(f"nap-{n}", f"{n}h") for n in range(1, 21)))

    async with Harness([naps], server=redis_url, namespace=namespace) as h:
        began = h.now
        await h.run(naps, "naps-1")
        assert h.now - began == timedelta(hours=20)


@pytest.mark.usefixtures("worker")
async def test_a_step_in_place_is_not_cut_off_by_a_sleep_beside_it(scheduler: zart.DurableScheduler) -> None:
    runs: list[str] = []

    @zart_step("long")
    async def long() -> str:
        runs.append("begun")
        await asyncio.sleep(0.15)
        runs.append("ended")
        return "long"

    @zart_step("after-nap")
    async def after_nap() -> str:
        runs.append("after nap")
        return "short"

    @zart_durable("beside")
    async def beside() -> list[str]:
        async def branch() -> str:
            await zart.sleep("nap", "20ms")
            return await after_nap()

        return list(await asyncio.gather(long(), branch()))

    assert await scheduler.start_and_wait_for(beside, "beside-1", timeout=SOON) == ["long", "short"]
    assert runs == ["begun", "after nap", "ended"]


@pytest.mark.usefixtures("worker")
async def test_a_failing_branch_of_a_task_group_ends_the_others_and_the_body(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("grouped")
    async def grouped() -> None:
        async def failing() -> None:
            await check("db")

        async def napping() -> None:
            await zart.sleep("nap", "1h")

        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(napping())

    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(grouped, "grouped-1", timeout=SOON)
    assert isinstance(raised.value.error, zart.StepFailed)


@pytest.mark.usefixtures("worker")
async def test_the_first_of_several_events_can_be_taken(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("first-of")
    async def first_of() -> str:
        async def named(name: str) -> str:
            await zart.wait_for_event(name)
            return name

        tasks = [asyncio.ensure_future(named(name)) for name in ("yes", "no")]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return done.pop().result()

    await scheduler.start_for(first_of, "first-1")
    await reaches(scheduler, "first-1", "waiting", "event no")
    await scheduler.offer_event("first-1", "no")
    assert await scheduler.wait_for(first_of, "first-1", SOON) == "no"


async def test_braces_in_a_name_may_be_doubled_or_come_with_a_value(
    scheduler: zart.DurableScheduler, worker: zart.Worker
) -> None:
    @zart_step("all-{{of}}-them")
    async def braced() -> str:
        return "braced"

    @zart_step("part-{of}")
    async def part(of: str) -> str:
        return of

    @zart_durable("braces")
    async def braces() -> list[str]:
        return [result.unwrap() for result in await zart.wait([zart.schedule(braced()), zart.schedule(part("{of}"))])]

    assert await scheduler.start_and_wait_for(braces, "braces-1", None, SOON) == ["braced", "{of}"]
    assert {step.name for step in (await scheduler.detail("braces-1")).steps} == {"all-{of}-them", "part-{of}"}
