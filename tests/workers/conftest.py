"""The worker applications, run by a worker in this process."""

from collections.abc import AsyncIterator

import pytest

import zart_redis as zart


@pytest.fixture
async def scheduler(redis_url: str, namespace: str) -> AsyncIterator[zart.DurableScheduler]:
    """A client, with a worker behind it that knows every handler declared here."""
    async with (
        zart.DurableScheduler(redis_url, namespace=namespace) as scheduler,
        zart.Worker(redis_url, namespace=namespace),
    ):
        yield scheduler
