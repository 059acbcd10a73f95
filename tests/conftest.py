"""Fixtures of all tests: real Redis servers, a namespace for each test, clients and workers, and the event loop."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

import zart_redis as zart
from tests.support.servers import RedisProcess, installed_servers
from tests.support.workers import running_worker


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": os.environ.get("ZART_TEST_UVLOOP") != "0"}


SERVERS = installed_servers()


@pytest.fixture(scope="session", params=SERVERS.values(), ids=list(SERVERS))
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisProcess]:
    """The server that tests share, once per installed version. A test that stops one starts its own."""
    with RedisProcess(request.param) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisProcess) -> str:
    return redis_server.url


@pytest.fixture
def namespace(redis_server: RedisProcess) -> Iterator[str]:
    """A namespace of the test's own. It is emptied afterwards; a key left anywhere else fails the test."""
    name = f"test-{uuid4().hex[:12]}"
    yield name
    with redis_server.connect() as client:
        for key in list(client.scan_iter(f"{{{name}:*}}:*", count=1000)):
            client.delete(key)
        strays = sorted(client.scan_iter(count=1000))
        client.flushall()  # so that the next test does not fail for this one
    assert not strays, f"keys outside of the namespace {name}: {strays}"


@pytest.fixture
def prefix(namespace: str) -> str:
    """Of the namespace's only partition."""
    return f"{{{namespace}:0}}:"


@pytest.fixture
def raw(redis_server: RedisProcess) -> Iterator[redis.Redis]:
    """A plain connection to the shared server."""
    with redis_server.connect() as client:
        yield client


@pytest.fixture
async def scheduler(redis_url: str, namespace: str) -> AsyncIterator[zart.DurableScheduler]:
    async with zart.DurableScheduler(redis_url, namespace=namespace) as scheduler:
        yield scheduler


@pytest.fixture
async def worker(scheduler: zart.DurableScheduler) -> AsyncIterator[zart.Worker]:
    """A worker that knows every declared handler, and replays a body each time that it resumes."""
    async with running_worker(scheduler, warm=0) as worker:
        yield worker
