"""A Redis of its own for each test: others would be counted and timed with it."""

from collections.abc import Iterator

import pytest

from benchmarks.scene import Scene
from benchmarks.server import temporary_server


@pytest.fixture
def scene() -> Iterator[Scene]:
    with temporary_server() as server:
        yield Scene(server, rounds=1, short=True)
