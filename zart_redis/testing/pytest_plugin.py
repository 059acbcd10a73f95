"""The pytest plugin that comes with the package: the fixture `zart_harness`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zart_redis.testing.harness import Harness
from zart_redis.testing.server import TemporaryServer


@pytest.fixture(scope="session")
def _zart_server() -> Iterator[str]:
    with TemporaryServer() as server:
        yield server.url


@pytest.fixture
def zart_harness(_zart_server: str) -> Callable[..., Harness]:
    """Makes harnesses for the handlers named: `async with zart_harness(checkout) as h: ...`. See
    `zart_redis.testing.Harness` for what else it takes. They share one Redis, each in a namespace of its own, so one
    is made in milliseconds."""

    def make(*handlers: Any, **options: Any) -> Harness:
        return Harness(handlers or None, **{"server": _zart_server, **options})

    return make
