"""A scheduler and a worker on a real Redis, in a namespace of the test's own."""

from collections.abc import AsyncIterator

import pytest

import zart_redis as zart
from tests.fundamentals.helpers import a_worker


@pytest.fixture
async def scheduler(redis_url: str, namespace: str) -> AsyncIterator[zart.DurableScheduler]:
    async with zart.DurableScheduler(redis_url, namespace=namespace) as scheduler:
        yield scheduler


@pytest.fixture
async def worker(scheduler: zart.DurableScheduler) -> AsyncIterator[zart.Worker]:
    """It knows every handler that has been declared."""
    async with a_worker(scheduler) as worker:
        yield worker
