"""What all tests share: real Redis servers, a namespace for each test, and the event loop they run on."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.servers import RedisProcess, installed_servers


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


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
