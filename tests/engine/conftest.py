"""The loop tells executions of their tasks, as it does in a worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engine.memory import MemoryPort
from zart_redis.engine import drive, tasks


@pytest.fixture
async def port() -> AsyncIterator[MemoryPort]:
    undo = tasks.install(asyncio.get_running_loop())
    yield MemoryPort()
    undo()


class Log:
    """What the driver says."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))

    error = info = debug = warning


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(drive, "log", log)
    return log
