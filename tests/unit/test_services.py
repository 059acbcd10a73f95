"""Services of a worker: started in order, restarted when they fail, stopped in reverse."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.waiting import happens
from zart_redis.worker import service
from zart_redis.worker.service import Service, Subscribe, running

pytestmark = pytest.mark.anyio


class Channels:
    """Stands for the subscriber: who listens to what."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[bytes | None], None]] = {}

    @asynccontextmanager
    async def listen(self, channel: str, handler: Callable[[bytes | None], None]) -> AsyncIterator[None]:
        self.handlers[channel] = handler
        yield
        del self.handlers[channel]


class Noted(Service):
    """Notes what is asked of it."""

    def __init__(self, name: str, notes: list[str], channels: Any) -> None:
        self.name = name
        self.notes = notes
        self.channels = channels
        self.fails_at = ""

    async def listen(self, subscribe: Subscribe) -> None:
        self._note("listen")
        await subscribe(self.name, lambda message: None)

    async def stop(self) -> None:
        assert self.name in self.channels.handlers or self.fails_at == "listen"
        self._note("stop")

    def _note(self, what: str) -> None:
        self.notes.append(f"{what} {self.name}")
        if self.fails_at == what:
            raise LookupError(self.name)


@pytest.fixture
def channels() -> Any:
    return Channels()


async def test_services_stop_in_reverse_and_hear_messages_until_all_have_stopped(channels: Any) -> None:
    notes: list[str] = []
    services = [Noted(name, notes, channels) for name in "ab"]
    async with running(services, channels) as tasks:
        assert notes == ["listen a", "listen b"]
        assert not any(task.done() for task in tasks)
    assert notes[2:] == ["stop b", "stop a"]
    assert all(task.cancelled() for task in tasks)
    assert channels.handlers == {}


async def test_a_service_that_fails_is_restarted(
    channels: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "FIRST_RESTART_SECONDS", 0.001)
    third = asyncio.Event()
    begun: list[int] = []

    class Failing(Service):
        async def run(self) -> None:
            begun.append(1)
            if len(begun) < 3:
                raise LookupError("oh")
            third.set()
            await super().run()

    async with running([Failing()], channels) as tasks:
        await happens(third)
        assert not tasks[0].done()
    assert caplog.text.count("service='Failing'") == 2


async def test_a_service_that_cannot_begin_stops_those_before_it(channels: Any) -> None:
    notes: list[str] = []
    services = [Noted(name, notes, channels) for name in "abc"]
    services[1].fails_at = "listen"
    with pytest.raises(LookupError, match="b"):
        async with running(services, channels):
            raise AssertionError("never")
    assert notes == ["listen a", "listen b", "stop b", "stop a"]


async def test_a_service_that_fails_to_stop_keeps_no_other_from_stopping(channels: Any) -> None:
    notes: list[str] = []
    services = [Noted(name, notes, channels) for name in "ab"]
    services[1].fails_at = "stop"
    with pytest.raises(LookupError, match="b"):
        async with running(services, channels):
            pass
    assert notes[2:] == ["stop b", "stop a"]
