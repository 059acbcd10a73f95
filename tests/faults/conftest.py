"""Servers of a test's own, which it may stop, fill, promote and cut off, and a plain connection to them."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

import zart_redis as zart
from tests.faults.network import Network
from tests.support.servers import RedisProcess


@pytest.fixture
def own_server(redis_server: RedisProcess) -> Iterator[RedisProcess]:
    """Of the same version as the shared one, writing all that it acknowledges to disk."""
    with RedisProcess(redis_server.binary, appendonly=True) as server:
        yield server


@pytest.fixture
def own_raw(own_server: RedisProcess) -> Iterator[redis.Redis]:
    with own_server.connect() as client:
        yield client


@pytest.fixture
async def own_scheduler(own_server: RedisProcess) -> AsyncIterator[zart.DurableScheduler]:
    """Straight to the server of the test's own."""
    async with zart.DurableScheduler(own_server.url) as scheduler:
        yield scheduler


@pytest.fixture
async def network(own_server: RedisProcess) -> AsyncIterator[Network]:
    async with Network(own_server.socket) as network:
        yield network


@pytest.fixture
async def far_scheduler(network: Network) -> AsyncIterator[zart.DurableScheduler]:
    """Through the network."""
    async with zart.DurableScheduler(network.url) as scheduler:
        yield scheduler
