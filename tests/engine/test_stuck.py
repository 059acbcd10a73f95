"""Bodies that nothing can move, and bodies that never rest: each fails with an error that names the task."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import zart_redis as zart
from tests.engine.memory import MemoryPort, one_pass
from zart_redis import zart_step
from zart_redis.engine.observer import PassInterrupted, Raised, Returned
from zart_redis.errors import NotDurable

pytestmark = pytest.mark.anyio


@zart_step("stuck-step")
async def step() -> str:
    return "done"


async def awaits_for_ever() -> None:
    await asyncio.Event().wait()


async def in_a_task() -> None:
    await asyncio.create_task(awaits_for_ever())


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(awaits_for_ever())


async def in_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(awaits_for_ever)


async def after_a_step() -> None:
    await step()
    await awaits_for_ever()


@pytest.mark.parametrize("body", [awaits_for_ever, in_a_task, in_a_group, in_anyio, after_a_step])
async def test_a_body_that_awaits_nothing_durable_fails(port: MemoryPort, body: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        end = await one_pass(port, body)
    assert isinstance(end, Raised)
    (error,) = end.error.exceptions if isinstance(end.error, BaseExceptionGroup) else [end.error]
    assert isinstance(error, NotDurable)
    assert "awaits_for_ever > Event.wait" in str(error)
    assert "make it a step" in str(error)
    assert port.parks == []


async def test_a_body_may_handle_that_it_was_stuck(port: MemoryPort) -> None:
    async def body() -> str:
        try:
            await awaits_for_ever()
        except NotDurable:
            pass
        return await step()

    assert await one_pass(port, body) == Returned("done")


async def test_what_is_stuck_beside_a_durable_call_is_parked_with_it(port: MemoryPort) -> None:
    """The durable call may be what moves it."""
    told = asyncio.Event()

    async def tells() -> None:
        await zart.sleep("nap", "1h")
        told.set()

    async def body() -> str:
        nonlocal told
        told = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(tells())
            group.create_task(told.wait())
        return "told"

    assert await one_pass(port, body) is PassInterrupted.PARKED
    port.wake()
    assert await one_pass(port, body) == Returned("told")


async def test_a_body_that_spins_fails_and_lets_others_run_meanwhile(port: MemoryPort) -> None:
    async def spins_for_ever() -> None:
        while True:
            await asyncio.sleep(0)

    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    running = asyncio.create_task(others())
    end = await one_pass(port, spins_for_ever)
    running.cancel()
    assert isinstance(end, Raised)
    assert isinstance(end.error, NotDurable)
    assert "callbacks ran without a durable call" in str(end.error)
    assert "spins_for_ever" in str(end.error)
    assert turns >= 50


async def test_durable_calls_begin_the_count_of_callbacks_anew(
    port: MemoryPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart_redis.engine.body.MAX_CALLBACKS", 2_000)

    async def body() -> int:
        for number in range(10):
            for _ in range(1_500):
                await asyncio.sleep(0)
            await zart.capture(f"captured-{number}", int)
        return 10

    assert await one_pass(port, body) == Returned(10)


async def test_a_cancellation_that_anyio_delivers_again_and_again_does_not_keep_a_body_from_parking(
    port: MemoryPort,
) -> None:
    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            await zart.sleep("nap", "1h")

    async def body() -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(shielded)
            await step()
            group.cancel_scope.cancel()
        return "ended"

    assert await one_pass(port, body) is PassInterrupted.PARKED
    port.wake()
    assert await one_pass(port, body) == Returned("ended")
