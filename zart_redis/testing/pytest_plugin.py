"""The pytest plugin that comes with the package: the fixture `zart_harness`.

pytest imports it in every run of every project, so the harness is imported when a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zart_redis.testing.harness import Harness


@pytest.fixture(scope="session")
def _zart_server() -> Iterator[str]:
    from zart_redis.testing.server import TemporaryServer

    with TemporaryServer() as server:
        yield server.url


@pytest.fixture
def zart_harness(_zart_server: str) -> Callable[..., Harness]:
    """Makes harnesses for the given handlers: `async with zart_harness(checkout) as h: ...`.

    Other arguments are those of `zart_redis.testing.Harness`. All harnesses share one Redis, each in its own namespace,
    so making one takes milliseconds.
    """
    from zart_redis.testing.harness import Harness

    def make(*handlers: Any, **options: Any) -> Harness:
        return Harness(handlers or None, **{"server": _zart_server, **options})

    return make
