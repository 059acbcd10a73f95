"""A run with many records is slow to replay: its operators are warned, and in the end it fails."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import zart_redis as zart
from tests.engine.memory import MemoryPort, an_execution
from zart_redis import zart_step
from zart_redis.engine import body as body_module
from zart_redis.engine.drive import run_pass
from zart_redis.engine.observer import BodyPass, Continued, Observer, PassEnd, PassInterrupted, Raised, Returned
from zart_redis.worker.event_log import EventLog

pytestmark = pytest.mark.anyio


@pytest.fixture
def port() -> MemoryPort:
    return MemoryPort()


@zart_step("many-{number}")
async def many(number: int) -> int:
    return number


async def one_pass(port: MemoryPort, body: Callable[[], Coroutine[Any, Any, Any]], observer: Observer) -> PassEnd:
    execution = an_execution(port, observer)
    end = await run_pass(execution, body)
    execution.close()
    return end


class Warned(Observer):
    def __init__(self) -> None:
        self.at: list[int] = []

    def history_is_long(self, body: BodyPass, records: int) -> None:
        self.at.append(records)


async def test_a_run_has_at_most_50_000_records(port: MemoryPort) -> None:
    warned = Warned()

    async def body() -> Any:
        for number in range(50_000):
            zart.schedule(many(number))
        with pytest.raises(zart.HistoryTooLong, match=r"this run has 50000 records.*zart.continue_as_new"):
            await zart.sleep("one-more", 1)
        await zart.continue_as_new("more")

    port.schedule = ignore  # type: ignore[method-assign]
    assert await one_pass(port, body, warned) == PassInterrupted.PARKED
    assert warned.at == [10_000]


async def ignore(children: Any) -> None:
    pass


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "LONG_HISTORY", 4)
    monkeypatch.setattr(body_module, "MAX_RECORDS", 8)


@pytest.mark.usefixtures("small")
async def test_a_replay_neither_warns_again_nor_fails_what_is_recorded(port: MemoryPort) -> None:
    warned = Warned()

    async def body() -> str:
        for number in range(6):
            await many(number)
        await zart.sleep("nap", 1)
        await many(7)
        try:
            await many(8)
        except zart.HistoryTooLong as error:
            return str(error.records)
        return ""

    assert await one_pass(port, body, warned) == PassInterrupted.PARKED
    port.wake()
    for _ in range(3):
        assert await one_pass(port, body, warned) == Returned("8")
    assert warned.at == [4]


@pytest.mark.usefixtures("small")
async def test_operators_are_told_what_to_do(port: MemoryPort, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        for number in range(5):
            await many(number)

    await one_pass(port, body, EventLog())
    (warning,) = caplog.messages
    assert "use zart.continue_as_new" in warning
    assert "records=4" in warning


@pytest.mark.usefixtures("small")
async def test_timers_that_fired_count(port: MemoryPort) -> None:
    warned = Warned()

    async def body() -> None:
        while True:
            await asyncio.sleep(1)

    for _ in range(9):
        assert await one_pass(port, body, warned) == PassInterrupted.PARKED
        port.wake()
    assert await one_pass(port, body, warned) == Raised(zart.HistoryTooLong(8))
    assert warned.at == [4]


@pytest.mark.usefixtures("small")
async def test_timers_that_did_not_fire_do_not_count(port: MemoryPort) -> None:
    async def body() -> None:
        for number in range(8):
            async with asyncio.timeout(60):
                await many(number)
        await zart.continue_as_new("next")

    assert isinstance(await one_pass(port, body, Warned()), Continued)
