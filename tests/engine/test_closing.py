"""A body that leaves its worker is ended where it is: `finally` blocks run, nothing is recorded, nothing stays."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import zart_redis as zart
from tests.engine.conftest import Warnings
from tests.engine.memory import MemoryPort, an_execution, one_pass
from tests.support.waiting import happens
from zart_redis import zart_step
from zart_redis.engine import drive
from zart_redis.engine.drive import run_pass
from zart_redis.engine.observer import PassInterrupted, Raised, Returned

pytestmark = pytest.mark.anyio

ran: list[str] = []


@zart_step("closing-{word}")
async def note(word: str) -> str:
    ran.append(word)
    return word


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


async def nap() -> None:
    await zart.sleep("nap", "1h")


async def test_finally_blocks_and_context_managers_see_no_step_executed(port: MemoryPort) -> None:
    class Manager:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            ran.append("exit")
            await note("never")

    async def body() -> None:
        async with Manager():
            try:
                await nap()
            finally:
                ran.append("finally")
                await note("finally")
                await zart.capture("captured", lambda: ran.append("captured"))
                await zart.sleep("another", "1h")

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert (ran, port.recorded) == (["finally", "exit"], [])
    assert port.parks == [(["nap"], "parked")]


async def test_nothing_is_scheduled_while_a_body_is_closed(port: MemoryPort) -> None:
    async def body() -> None:
        try:
            await nap()
        finally:
            zart.schedule(note("late"))

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert port.children == {}


async def test_except_exception_does_not_catch_the_end(port: MemoryPort) -> None:
    async def body() -> None:
        try:
            await nap()
        except (Exception, asyncio.CancelledError):
            ran.append("caught")

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert ran == []


async def test_a_body_that_catches_its_end_reaches_nothing_durable(port: MemoryPort) -> None:
    async def body() -> str:
        for attempt in range(3):
            try:
                await zart.sleep(f"nap-{attempt}", "1h")
            except BaseException:
                ran.append("swallowed")
        return await note("never")

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert ran == ["swallowed"] * 3
    assert port.recorded == []


async def test_a_body_that_repeats_a_call_for_ever_is_abandoned(
    port: MemoryPort, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        while True:
            try:
                await nap()
            except BaseException:
                ran.append("swallowed")

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert len(ran) >= 100
    assert "abandoned" in caplog.text


def test_an_abandoned_body_does_not_keep_a_process_from_ending() -> None:
    program = """
import asyncio
import zart_redis as zart
from tests.engine.memory import MemoryPort, one_pass

async def body():
    while True:
        try:
            await zart.sleep("nap", "1h")
        except BaseException:
            pass

print(asyncio.run(one_pass(MemoryPort(), body)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "parked\n"


async def test_a_body_that_never_ends_is_abandoned(port: MemoryPort, caplog: pytest.LogCaptureFixture) -> None:
    """It neither spins nor blocks: its end is raised in it a bounded number of times."""

    async def body() -> None:
        while True:
            try:
                await zart.sleep(f"nap-{len(ran)}", "1h")
            except BaseException:
                ran.append("swallowed")

    async with asyncio.timeout(10):
        assert await one_pass(port, body) is PassInterrupted.PARKED
    ends = len(ran)
    assert ends >= 100
    gc.collect()
    assert len(ran) == ends
    assert "abandoned" in caplog.text
    assert port.parks == [(["nap-0"], "parked")]


async def in_task_group(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        await asyncio.Event().wait()


async def in_anyio_group(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.Event().wait()


async def in_scopes(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with anyio.CancelScope(shield=True):
        async with asyncio.timeout(3600):
            await call()


@asynccontextmanager
async def managed() -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        ran.append("manager")
        await asyncio.Event().wait()


async def in_manager(call: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with managed():
        await call()


@pytest.mark.parametrize("surroundings", [in_task_group, in_anyio_group, in_scopes, in_manager])
async def test_the_end_passes_through_deep_nesting(
    port: MemoryPort, surroundings: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async def nested(depth: int) -> None:
        try:
            await (surroundings(lambda: nested(depth - 1)) if depth else nap())
        except Exception as error:
            ran.append(f"caught {error!r}")
        finally:
            ran.append("finally")

    assert await one_pass(port, lambda: nested(20)) is PassInterrupted.PARKED
    assert ran.count("finally") == 21
    assert set(ran) <= {"finally", "manager"}


@pytest.mark.parametrize("surroundings", [in_task_group, in_anyio_group, in_scopes, in_manager])
async def test_nothing_keeps_the_tasks_of_a_body_that_is_closed(
    port: MemoryPort, surroundings: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    tasks: weakref.WeakSet[Any] = weakref.WeakSet()

    async def nested(depth: int) -> None:
        tasks.add(asyncio.current_task())
        await (surroundings(lambda: nested(depth - 1)) if depth else nap())

    assert await one_pass(port, lambda: nested(3)) is PassInterrupted.PARKED
    await asyncio.sleep(0)  # a callback of the pass is queued
    gc.collect()
    assert not tasks


async def test_finally_blocks_run_in_their_own_task_and_context(port: MemoryPort) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def branch(name: str) -> None:
        variable.set(name)
        task = asyncio.current_task()
        try:
            await zart.sleep(name, "1h")
        finally:
            assert asyncio.current_task() is task
            ran.append(variable.get())

    async def body() -> None:
        await asyncio.gather(branch("one"), branch("two"))

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert ran == ["two", "one"]


async def test_async_generators_are_closed(port: MemoryPort) -> None:
    async def words() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield await note(f"word-{len(ran)}")
        finally:
            ran.append("closed")
            await note("never")

    async def body() -> None:
        async for _ in words():
            await nap()

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert ran == ["word-0", "closed"]


async def test_no_task_of_a_body_outlives_its_pass(port: MemoryPort) -> None:
    async def background() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ran.append("background")

    async def body() -> str:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        assert not task.done()
        return "returned"

    before = asyncio.all_tasks()
    assert await one_pass(port, body) == Returned("returned")
    assert ran == ["background"]
    assert asyncio.all_tasks() == before


async def test_tasks_made_while_closing_are_dropped(port: MemoryPort, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        try:
            await nap()
        finally:
            asyncio.create_task(note_later())  # noqa: RUF006

    async def note_later() -> None:
        ran.append("never")

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert (ran, caplog.text) == ([], "")


async def test_a_step_that_does_not_end_is_left_running(
    port: MemoryPort, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "STEP_UNWIND_SECONDS", 0.05)
    begun, released, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @zart_step("closing-stubborn")
    async def stubborn() -> None:
        begun.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                pass
        left.set()

    async def body() -> None:
        await stubborn()

    execution = an_execution(port, warnings)
    passing = asyncio.create_task(run_pass(execution, body))
    await happens(begun)
    execution.revoke()
    assert await passing is PassInterrupted.LOST
    assert warnings.not_unwound == 1
    released.set()
    await happens(left)


async def test_a_body_that_cancels_itself_has_failed(port: MemoryPort) -> None:
    async def body() -> None:
        raise asyncio.CancelledError

    end = await one_pass(port, body)
    assert isinstance(end, Raised)
