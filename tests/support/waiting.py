"""Ways to wait in tests: for conditions and events, with a bound that only a failure reaches."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import zart_redis as zart

SOON = "15s"
"""How long a test waits for what should happen at once, on a busy machine."""
SECONDS = 15.0


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Return when `condition`, which may be async, holds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.005)


def block_until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """`until` for tests without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def reaches(
    scheduler: zart.DurableScheduler, execution_id: str, status: str, waiting_for: str | None = None
) -> zart.ExecutionRecord:
    """The record of an execution once it has this status and waits for this."""
    record = await scheduler.status(execution_id)
    async with asyncio.timeout(SECONDS):
        while record.status != status or not (waiting_for is None or waiting_for in record.waiting_for):
            assert record.status == status or not record.status.is_final, f"it ended: {record}"
            await asyncio.sleep(0.005)
            record = await scheduler.status(execution_id)
    return record


async def held(scheduler: zart.DurableScheduler, execution_id: str) -> str:
    """Why an execution is held for other code, once it is."""
    async with asyncio.timeout(SECONDS):
        while True:
            record = await reaches(scheduler, execution_id, "waiting")
            if record.waiting_for[0].startswith("held: "):
                (reason,) = record.waiting_for
                return reason.removeprefix("held: ")
            await asyncio.sleep(0.005)


async def happens(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()


class Gate:
    """Holds whoever comes, until the test opens it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.opened = asyncio.Event()

    async def wait(self) -> None:
        self.begun.set()
        await self.opened.wait()
