"""Whole lives of executions without a server: the engine knows no Redis."""

import asyncio
from typing import Any

import pytest

import zart_redis as zart
from tests.engine.memory import MemoryPort, play
from zart_redis import zart_durable, zart_step
from zart_redis.engine import lifecycle
from zart_redis.error_codec import ErrorCodec

pytestmark = pytest.mark.anyio


async def test_a_body_is_replayed_until_it_returns(port: MemoryPort) -> None:
    runs: list[str] = []

    @zart_step("memory-{word}")
    async def say(word: str) -> str:
        runs.append(word)
        return word

    @zart_durable("memory-life")
    async def life(data: str) -> list[Any]:
        runs.append("body")
        first = await say(data)
        await zart.sleep("nap", "24h")
        told = await zart.wait_for_event("told", type=int)
        return [first, told, await say("end")]

    port.offer("told", 7)
    began = port.time
    assert await play(life, port, "begin") == ("completed", ["begin", 7, "end"])
    assert runs == ["body", "begin", "body", "end"]
    assert port.time - began == 24 * 3_600_000


async def test_retries_wait_without_a_worker_and_count_their_attempts(port: MemoryPort) -> None:
    attempts: list[int] = []

    @zart_step("memory-flaky", retry="fixed(2, 1h)")
    async def flaky() -> int:
        attempts.append(zart.context().current_attempt)
        if len(attempts) < 3:
            raise RuntimeError
        return len(attempts)

    @zart_durable("memory-retrying")
    async def retrying() -> int:
        return await flaky()

    assert await play(retrying, port) == ("completed", 3)
    assert attempts == [0, 1, 2]
    assert port.parks == [(["memory-flaky"], "parked")] * 2


async def test_an_execution_is_tried_again_and_keeps_what_succeeded(port: MemoryPort) -> None:
    runs: list[str] = []

    @zart_step("memory-good")
    async def good() -> None:
        runs.append("good")

    @zart_step("memory-bad")
    async def bad() -> None:
        runs.append("bad")
        if runs.count("bad") < 2:
            raise RuntimeError

    @zart_durable("memory-again", retry="fixed(1, 1s)")
    async def again() -> int:
        await good()
        await bad()
        return zart.context().current_attempt

    assert await play(again, port) == ("completed", 1)
    assert runs == ["good", "bad", "bad"]


async def test_on_failure_is_replayed_too_and_has_records_of_its_own(port: MemoryPort) -> None:
    runs: list[str] = []
    given: list[Any] = []

    @zart_step("memory-work")
    async def work() -> None:
        runs.append("work")

    async def on_failure(data: None, failure: zart.Failure) -> str:
        given.append(failure)
        await work()
        await zart.sleep("nap", "1h")
        return "mended"

    @zart_durable("memory-mended", on_failure=on_failure)
    async def mended() -> str:
        await work()
        raise LookupError("gone")

    assert await play(mended, port) == ("completed", "mended")
    assert runs == ["work", "work"]
    first, second = given
    assert first == second
    assert isinstance(first, zart.HandlerError)


async def test_a_body_that_raises_fails_with_its_error(port: MemoryPort) -> None:
    @zart_durable("memory-raising")
    async def raising() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(zart.sleep("nap", "1h"))
            raise LookupError("gone")

    status, error = await play(raising, port)
    decoded = ErrorCodec().decode(error)
    assert status == "failed"
    assert isinstance(decoded, zart.RemoteError)
    assert decoded.type_name == "LookupError"


async def test_a_draining_body_is_handed_back(port: MemoryPort) -> None:
    @zart_step("memory-any")
    async def step() -> None: ...

    @zart_durable("memory-drained")
    async def drained() -> None:
        await step()

    drain = lifecycle.BodyRun._begin

    def begin(self: lifecycle.BodyRun, *args: Any, **kwargs: Any) -> Any:
        self.drain()
        return drain(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle.BodyRun, "_begin", begin)
        assert await play(drained, port) == ("released", None)
    assert port.recorded == []
