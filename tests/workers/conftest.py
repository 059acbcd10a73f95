"""The worker applications, run by a worker in this process."""

from collections.abc import AsyncIterator

import pytest

import zart_redis as zart
from tests.support.workers import running_worker


@pytest.fixture
async def scheduler(scheduler: zart.DurableScheduler) -> AsyncIterator[zart.DurableScheduler]:
    """A client with a worker behind it that knows every handler declared here."""
    async with running_worker(scheduler):
        yield scheduler
