"""The event loop of a body: what it runs and when it stops, its time, and what is the same in each pass."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any

import anyio
import pytest

from zart_redis.engine.loop import BodyLoop, Slice
from zart_redis.errors import NotDurable

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@pytest.fixture
def loop() -> Iterator[BodyLoop]:
    loop = BodyLoop("namespace:x:1", 1000.0)
    yield loop
    loop.close()


def drive(loop: BodyLoop, body: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
    """Run until nothing can run."""
    task = loop.create_task(body())
    while loop.run_slice()[0] is Slice.MORE:
        pass
    return task


def fire(loop: BodyLoop) -> None:
    """Fire the timer that is due first."""
    timer = min(loop.timers.values(), key=lambda timer: timer.due_ms)
    loop.move_to(timer.due_ms / 1000)
    loop.fire(timer.name)
    while loop.run_slice()[0] is Slice.MORE:
        pass


# Running


def test_it_runs_until_nothing_can_run(loop: BodyLoop) -> None:
    async def chain(depth: int) -> int:
        return 0 if depth == 0 else 1 + await asyncio.ensure_future(chain(depth - 1))

    assert drive(loop, lambda: chain(50)).result() == 50
    assert loop.run_slice() == (Slice.QUIESCENT, 0)


def test_a_future_that_is_set_between_two_slices_moves_the_body(loop: BodyLoop) -> None:
    future: asyncio.Future[int] = loop.create_future()

    async def body() -> int:
        return await future

    task = drive(loop, body)
    assert not task.done()
    future.set_result(7)
    loop.run_slice()
    assert task.result() == 7


def test_a_slice_gives_way_after_a_bounded_number_of_callbacks(loop: BodyLoop) -> None:
    async def spinning() -> None:
        while True:
            await asyncio.sleep(0)

    loop.create_task(spinning())
    left, count = loop.run_slice(100)
    assert left is Slice.MORE
    assert 100 <= count < 110


def test_callbacks_that_only_queue_themselves_again_are_no_progress(loop: BodyLoop) -> None:
    """So anyio delivers a cancellation, for as long as a cancelled task waits where it cannot be cancelled."""
    waiting = asyncio.Event()

    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await waiting.wait()

    async def body() -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(stubborn)
            await asyncio.sleep(0)
            group.cancel_scope.cancel()
        return "ended"

    task = drive(loop, body)
    assert not task.done()
    _, count = loop.run_slice()
    assert count < 10
    waiting.set()
    while not task.done():
        assert loop.run_slice()[0] in Slice
    assert task.result() == "ended"


def test_it_leaves_the_surrounding_loop_as_it_was(loop: BodyLoop) -> None:
    async def body() -> None:
        ran.append(asyncio.get_running_loop())

    async def surrounding() -> None:
        outer = asyncio.get_running_loop()
        ended = asyncio.Event()
        outer.call_soon(drive, loop, body)
        outer.call_soon(ended.set)
        await ended.wait()
        assert asyncio.get_running_loop() is outer

    asyncio.run(surrounding())
    assert ran == [loop]
    assert not loop.is_running()


def test_system_exit_in_a_task_is_its_error_and_stops_nothing(loop: BodyLoop) -> None:
    async def exits() -> None:
        raise SystemExit(3)

    async def body() -> str:
        with pytest.raises(SystemExit):
            await asyncio.ensure_future(exits())
        return "after it"

    assert drive(loop, body).result() == "after it"


def test_errors_of_callbacks_are_logged_and_stop_nothing(loop: BodyLoop, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> str:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "after it"

    assert drive(loop, body).result() == "after it"
    assert "error in a callback of a body" in caplog.text


# Time


def test_time_stands_still_until_it_is_moved_and_never_goes_back(loop: BodyLoop) -> None:
    assert loop.time() == 1000.0
    loop.move_to(1003.0)
    loop.move_to(1001.0)
    assert loop.time() == 1003.0


def test_a_timer_fires_when_the_driver_says_so(loop: BodyLoop) -> None:
    async def body() -> float:
        await asyncio.sleep(2.5)
        return asyncio.get_running_loop().time()

    task = drive(loop, body)
    (timer,), cancelled = loop.take_timers()
    assert (timer.due_ms, cancelled) == (1_002_500, [])
    fire(loop)
    assert task.result() == 1002.5


def test_timers_are_named_by_their_task_and_their_order_in_it(loop: BodyLoop) -> None:
    async def sleeps(seconds: list[float]) -> None:
        for each in seconds:
            await asyncio.sleep(each)

    async def body() -> None:
        await asyncio.gather(sleeps([1, 5]), sleeps([2]))

    drive(loop, body)
    assert sorted(loop.timers) == ["2.1", "3.1"]
    fire(loop)
    assert sorted(loop.timers) == ["2.2", "3.1"]


def test_a_timer_that_is_cancelled_before_anyone_knew_of_it_is_not_reported(loop: BodyLoop) -> None:
    async def body() -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return "in time"

    assert drive(loop, body).result() == "in time"
    assert loop.take_timers() == ([], [])
    assert loop.timers == {}


def test_a_timer_that_is_cancelled_later_is_reported_by_its_name(loop: BodyLoop) -> None:
    future: asyncio.Future[None] = loop.create_future()

    async def body() -> None:
        async with asyncio.timeout(60):
            await future

    drive(loop, body)
    (timer,), _ = loop.take_timers()
    future.set_result(None)
    loop.run_slice()
    assert loop.take_timers() == ([], [timer.name])


def test_a_timer_that_is_due_at_once_needs_no_driver(loop: BodyLoop) -> None:
    loop.call_at(999.0, ran.append, "past")
    loop.call_later(0, ran.append, "now")
    loop.run_slice()
    assert ran == ["past", "now"]
    assert loop.take_timers() == ([], [])


@pytest.mark.parametrize(
    "late",
    [
        lambda: asyncio.wait_for(asyncio.Event().wait(), 3),
        lambda: _timeout(asyncio.timeout, 3),
        lambda: _timeout(asyncio.timeout_at, 1003.0),
        lambda: _fail_after(3),
    ],
    ids=["wait_for", "timeout", "timeout_at", "anyio"],
)
def test_timeouts_are_timers(loop: BodyLoop, late: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = drive(loop, late)
    assert {timer.due_ms for timer in loop.timers.values()} == {1_003_000}
    fire(loop)
    assert isinstance(task.exception(), TimeoutError)


async def _timeout(limit: Callable[[float], asyncio.Timeout], at: float) -> None:
    async with limit(at):
        await asyncio.Event().wait()


async def _fail_after(seconds: float) -> None:
    with anyio.fail_after(seconds):
        await anyio.Event().wait()


# The same in each pass


def test_sets_of_tasks_and_futures_are_iterated_in_the_same_order() -> None:
    def order() -> list[str]:
        loop = BodyLoop("namespace:x:1", 0.0)

        async def nothing() -> None: ...

        tasks = {loop.create_task(nothing(), name=f"task {number}") for number in range(100)}
        names = [task.get_name() for task in tasks]
        loop.run_slice()
        return names

    assert order() == order()


def test_runs_differ_in_their_hashes() -> None:
    """Tasks of many bodies share asyncio's global set of tasks, which equal hashes would slow down."""
    hashes = {hash(BodyLoop(f"namespace:{number}:1", 0.0).create_future()) for number in range(100)}
    assert len(hashes) == 100


# Not durable


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("run_in_executor", lambda: asyncio.to_thread(print)),
        ("getaddrinfo", lambda: asyncio.open_connection("localhost", 1)),
        ("subprocess_exec", lambda: asyncio.create_subprocess_exec("true")),
        ("add_signal_handler", lambda: _call(lambda: asyncio.get_running_loop().add_signal_handler(2, print))),
        ("call_soon_threadsafe", lambda: _call(lambda: asyncio.get_running_loop().call_soon_threadsafe(print))),
    ],
)
def test_what_reaches_outside_is_refused_by_name(
    loop: BodyLoop, name: str, call: Callable[[], Coroutine[Any, Any, Any]]
) -> None:
    error = drive(loop, call).exception()
    assert isinstance(error, NotDurable | OSError), error
    assert name in str(error) or name == "getaddrinfo"
    assert "Make it a step" in str(error)


async def _call(f: Callable[[], Any]) -> None:
    f()


# Closing


def test_after_it_is_closed_nothing_runs(loop: BodyLoop) -> None:
    async def body() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            ran.append("finally")
            asyncio.get_running_loop().call_soon(ran.append, "never")

    drive(loop, body)
    loop.close()
    loop.close()
    loop.call_soon(ran.append, "never")
    loop.run_slice()
    assert ran == ["finally"]
    assert (loop.is_closed(), loop.timers) == (True, {})


def test_dropped_async_generators_are_closed_by_the_loop(loop: BodyLoop) -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            ran.append("closed")

    async def body() -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(0)

    drive(loop, body)
    assert ran == ["closed"]


def test_each_task_is_unwound_in_its_context(loop: BodyLoop) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def branch(number: int) -> None:
        variable.set(number)
        try:
            await asyncio.Event().wait()
        finally:
            ran.append(variable.get())

    async def body() -> None:
        await asyncio.gather(*map(branch, range(3)))

    drive(loop, body)
    loop.close()
    assert ran == [2, 1, 0]
