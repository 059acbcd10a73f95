"""To asyncio the call of a step is a coroutine; what steps do to their tasks, threads and contexts stays with them."""

import asyncio
import gc
import logging
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, until
from tests.support.workers import running_worker
from zart_redis import BusinessErr, ZartErr, zart_durable, zart_step

pytestmark = pytest.mark.anyio


@zart_step("say-{word}")
async def say(word: str) -> str:
    return word


class Spoken(zart.ZartStep[str]):
    name = "spoken"

    async def run(self) -> str:
        return "a"


async def created() -> str:
    return await asyncio.create_task(say("a")) + await asyncio.ensure_future(say("b"))


async def in_a_group() -> str:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(say(word).named(f"{word}-renamed")) for word in "ab"]
    return tasks[0].result() + tasks[1].result()


async def gathered() -> str:
    return "".join(await asyncio.gather(Spoken(), say("b")))


async def waited_for() -> str:
    return await asyncio.wait_for(say("a"), 60) + await asyncio.shield(say("b"))


async def as_completed() -> str:
    return "".join(sorted([await each for each in asyncio.as_completed([say("a"), say("b")])]))


async def waited() -> str:
    done, _ = await asyncio.wait([asyncio.create_task(zart.require(say(word))) for word in "ab"])
    return "".join(sorted(task.result() for task in done))


WAYS = [created, in_a_group, gathered, waited_for, as_completed, waited]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_asyncio_takes_a_step_call_for_a_coroutine(
    scheduler: zart.DurableScheduler, way: Callable[[], Coroutine[Any, Any, str]]
) -> None:
    @zart_durable("as-coroutines")
    async def body() -> str:
        said = await way()
        await zart.sleep("settle", "5ms")
        return said

    assert await scheduler.start_and_wait_for(body, "coroutines-1", timeout=SOON) == "ab"


async def test_only_a_call_that_its_body_forgets_warns(scheduler: zart.DurableScheduler) -> None:
    """Not one that is dropped when the body is parked, fails, or cancels the task that would have used it."""

    @zart_durable("forgetful")
    async def forgetful() -> None:
        say("forgotten")
        later = say("later")
        await zart.sleep("nap", "5ms")
        await later
        never = asyncio.create_task(zart.step(say("cancelled")))
        never.cancel()
        unused = say("failed")
        raise ValueError(unused)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with running_worker(scheduler, handlers=[forgetful]):
            await scheduler.start("forgetful-1", "forgetful")
            await scheduler.wait("forgetful-1", SOON)
        gc.collect()
    assert {str(warning.message) for warning in caught} == {"the call of step 'say-forgotten' was never awaited"}


@pytest.mark.usefixtures("worker")
@pytest.mark.filterwarnings("ignore:the call of step")
async def test_a_call_that_is_returned_asks_for_the_await(scheduler: zart.DurableScheduler) -> None:
    @zart_step("returns-{how}")
    async def returns(how: str) -> Any:
        return {"call": say("a"), "list": [say("a")], "class": Spoken()}[how]

    @zart_durable("returning")
    async def returning(how: str) -> Any:
        return await returns.fn(how) if how != "step" else await returns("call")

    for how in ("call", "list", "class", "step"):
        await scheduler.start(how, "returning", how)
        record = await scheduler.wait(how, SOON)
        assert record.status == "failed"
        assert "did you forget await?" in str(record.error)


# Attempts


@pytest.mark.usefixtures("worker")
async def test_attempts_count_from_zero(scheduler: zart.DurableScheduler) -> None:
    @zart_step("third-{where}", retry="fixed(2, 1ms)")
    async def third(where: str) -> tuple[int, bool]:
        info = zart.context()
        if info.current_attempt < 2:
            raise ConnectionError
        return info.current_attempt, info.is_retry()

    @zart_durable("counting-attempts", retry="fixed(1, 1ms)")
    async def counting() -> list[tuple[int, bool]]:
        info = zart.context()
        (scheduled,) = await zart.wait([zart.schedule(third("scheduled"))])
        here = await third("here")
        if not info.is_retry():
            raise ConnectionError
        return [(info.current_attempt, info.is_retry()), here, scheduled.unwrap()]

    assert await scheduler.start_and_wait_for(counting, "counting-1", timeout=SOON) == [(1, True), (2, True), (2, True)]
    assert (await scheduler.status("counting-1")).attempt == 2


# Whatever a step raises is its own error


class Odd(BaseException):
    pass


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


async def is_cancelled_by_its_child() -> None:
    parent = asyncio.current_task()
    assert parent is not None

    async def child() -> None:
        parent.cancel()

    await asyncio.gather(child(), asyncio.sleep(60))


def raising(error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    async def raises() -> None:
        raise error

    return raises


def raising_in_a_thread(error: BaseException) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


FAULTS = {
    "odd": (raising(Odd("odd")), "Odd"),
    "exit": (raising(SystemExit(3)), "SystemExit"),
    "generator-exit": (raising(GeneratorExit()), "GeneratorExit"),
    "cancelled": (raising(asyncio.CancelledError()), "CancelledError"),
    "thread": (raising_in_a_thread(Odd("odd")), "Odd"),
    "thread-exit": (raising_in_a_thread(SystemExit(3)), "SystemExit"),
    "thread-cancelled": (raising_in_a_thread(asyncio.CancelledError()), "CancelledError"),
    "cancels-itself": (cancels_itself, "CancelledError"),
    "child-cancels": (is_cancelled_by_its_child, "CancelledError"),
    "timed-out": (raising(zart.TimedOut("other", 1.0)), "TimedOut"),
}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("fault", "name"), FAULTS.values(), ids=FAULTS)
async def test_whatever_a_step_raises_is_its_own_error(scheduler: zart.DurableScheduler, fault: Any, name: str) -> None:
    begun: Counter[str] = Counter()

    def counted(step: str) -> Any:
        fn = fault

        async def run_async() -> None:
            begun[step] += 1
            await fn()

        def run_in_thread() -> None:
            begun[step] += 1
            fn()

        return run_async if asyncio.iscoroutinefunction(fn) else run_in_thread

    here, there = zart_step("odd-here")(counted("here")), zart_step("odd-there")(counted("there"))
    again = zart_step("odd-again", retry="fixed(1, 1ms)")(counted("again"))

    @zart_durable("odd-steps")
    async def body() -> list[str]:
        mine = await zart.step(here())
        (theirs,) = await zart.wait([zart.schedule(there())])
        spent = await zart.step(again())
        assert isinstance(mine, BusinessErr)
        assert isinstance(theirs, zart.Err)
        assert isinstance(theirs.error, zart.StepBusinessError)
        assert isinstance(spent, ZartErr)
        assert isinstance(spent.error, zart.RetryExhausted)
        await zart.sleep("settle", "1ms")
        errors = (mine.error, theirs.error.error, spent.error.last_error)
        return [error.type_name if isinstance(error, zart.RemoteError) else type(error).__name__ for error in errors]

    assert await scheduler.start_and_wait_for(body, "odd-1", timeout=SOON) == [name] * 3
    assert begun == {"here": 1, "there": 1, "again": 2}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("fault", ["odd", "exit", "cancelled", "cancels-itself"])
async def test_whatever_a_capture_raises_reaches_the_body(scheduler: zart.DurableScheduler, fault: str) -> None:
    fn, name = FAULTS[fault]

    @zart_durable("odd-capture")
    async def body() -> str:
        try:
            await zart.capture("odd", fn)
        except zart.RemoteError as error:
            return error.type_name
        return "nothing"

    assert await scheduler.start_and_wait_for(body, "odd-capture-1", timeout=SOON) == name


async def test_a_step_that_cancels_itself_and_returns_has_returned(scheduler: zart.DurableScheduler) -> None:
    @zart_step("returns-all-the-same")
    async def returns() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    @zart_durable("cancels-and-returns")
    async def body() -> str:
        return await returns()

    async with running_worker(scheduler, handlers=[body]):
        assert await scheduler.start_and_wait_for(body, "cancels-1", timeout=SOON) == "done"


# Threads


@pytest.mark.parametrize("scope", ["global", "per_attempt"])
async def test_the_clock_of_a_sync_step_starts_when_it_has_a_thread(
    scheduler: zart.DurableScheduler, scope: Any
) -> None:
    @zart_step("crunch-{number}", timeout="2s", timeout_scope=scope, retry="fixed(1, 1ms)")
    def crunch(number: int) -> int:
        time.sleep(0.6)
        return number

    @zart_durable("crunching")
    async def crunching() -> list[int]:
        handles = [zart.schedule(crunch(number)) for number in (10, 11)]
        here = await asyncio.gather(*[crunch(number) for number in range(9)])
        return [*here, *[result.unwrap() for result in await zart.wait(handles)]]

    async with running_worker(scheduler, handlers=[crunching], concurrency=2):
        assert await scheduler.start_and_wait_for(crunching, "crunching-1", timeout="30s") == [*range(9), 10, 11]


async def test_abandoned_threads_keep_their_places_and_one_warning_says_so(
    scheduler: zart.DurableScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    running: set[int] = set()
    release, most = threading.Event(), 0

    @zart_step("stuck-{number}", timeout="50ms")
    def stuck(number: int) -> None:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        release.wait(20)
        running.discard(number)

    @zart_step("quick", timeout="10s")
    def quick() -> str:
        return "in time"

    @zart_durable("abandoning")
    async def abandoning() -> list[str]:
        stuck_ones = [asyncio.create_task(zart.step(stuck(number))) for number in range(5)]
        done, _ = await asyncio.wait(stuck_ones[:2])
        ended = [type(task.result().error).__name__ for task in done]  # type: ignore[union-attr]
        await zart.wait_for_event("released")
        return [*ended, await quick()]

    caplog.set_level(logging.WARNING, "zart")
    async with running_worker(scheduler, handlers=[abandoning], concurrency=2):
        await scheduler.start("abandoning-1", "abandoning")
        await until(lambda: len(running) == 2 and "still runs" in caplog.text)
        await scheduler.offer_event("abandoning-1", "released", None)
        await asyncio.sleep(0.2)
        assert most == 2
        release.set()
        assert await scheduler.wait_completion("abandoning-1", SOON) == ["TimedOut", "TimedOut", "in time"]
    assert caplog.text.count("still runs") == 1


# Contexts

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


@pytest.mark.usefixtures("worker")
async def test_what_a_step_sets_in_its_context_does_not_reach_the_body(scheduler: zart.DurableScheduler) -> None:
    @zart_step("paint-async")
    async def paint() -> str:
        before = COLOUR.get()
        COLOUR.set("red")
        return before

    @zart_step("paint-sync")
    def paint_in_thread() -> str:
        before = COLOUR.get()
        COLOUR.set("blue")
        return before

    def captured() -> str:
        COLOUR.set("green")
        return "captured"

    @zart_durable("painting")
    async def painting() -> list[str]:
        COLOUR.set("white")
        seen = [await paint(), await paint_in_thread(), await zart.capture("captured", captured), COLOUR.get()]
        await zart.sleep("settle", "1ms")
        return [*seen, COLOUR.get()]

    ended = await scheduler.start_and_wait_for(painting, "painting-1", timeout=SOON)
    assert ended == ["white", "white", "captured", "white", "white"]
