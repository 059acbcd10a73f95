"""The same scheduler and worker as in `fundamentals`, and a plain connection to look at the keys."""

from collections.abc import Iterator

import pytest
import redis

from tests.fundamentals.conftest import scheduler as scheduler
from tests.fundamentals.conftest import worker as worker
from tests.servers import RedisProcess


@pytest.fixture
def raw(redis_server: RedisProcess) -> Iterator[redis.Redis]:
    with redis_server.connect() as client:
        yield client


@pytest.fixture
def prefix(namespace: str) -> str:
    """Of the namespace's only partition."""
    return f"{{{namespace}:0}}:"
