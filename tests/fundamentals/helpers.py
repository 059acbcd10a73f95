"""What tests wait with: conditions that end, and never a guess of how long something takes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import zart_redis as zart

SOON = "15s"
"""How long a test waits for what should come at once, on a busy machine."""
SECONDS = 15.0


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Return when `condition`, which may be async, holds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.005)


async def reaches(
    scheduler: zart.DurableScheduler, execution_id: str, status: str, waiting_for: str | None = None
) -> zart.ExecutionRecord:
    """The record of an execution once it has this status, and waits for this."""
    record = await scheduler.status(execution_id)
    async with asyncio.timeout(SECONDS):
        while record.status != status or not (waiting_for is None or waiting_for in record.waiting_for):
            assert record.status == status or not record.status.is_final, f"it ended: {record}"
            await asyncio.sleep(0.005)
            record = await scheduler.status(execution_id)
    return record


async def happens(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()


@asynccontextmanager
async def a_worker(scheduler: zart.DurableScheduler, **options: Any) -> AsyncIterator[zart.Worker]:
    """A worker beside a scheduler: same Redis, same namespace. It stops at once, whatever it runs."""
    settings = scheduler.settings
    options = {"grace": "100ms", "lease": "1s", **options}
    async with zart.Worker(settings.redis_url, namespace=settings.namespace, **options) as worker:
        yield worker
