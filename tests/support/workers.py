"""Workers in the process of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import zart_redis as zart


@asynccontextmanager
async def running_worker(scheduler: zart.DurableScheduler, **options: Any) -> AsyncIterator[zart.Worker]:
    """A worker beside a scheduler: same Redis, same namespace. It stops at once, whatever it runs."""
    settings = scheduler.settings
    options = {"grace": "100ms", "lease": "4s", **options}
    async with zart.Worker(settings.redis_url, namespace=settings.namespace, **options) as worker:
        yield worker
