"""A port without a server, and an observer that counts what a body should not do."""

import pytest

from tests.engine.memory import MemoryPort
from zart_redis.engine.observer import BodyPass, Observer


@pytest.fixture
def port() -> MemoryPort:
    return MemoryPort()


class Warnings(Observer):
    """Counts the steps of a pass that did not end when they were cancelled."""

    def __init__(self) -> None:
        self.not_unwound = 0

    def unwind_timed_out(self, body: BodyPass) -> None:
        self.not_unwound += 1


@pytest.fixture
def warnings() -> Warnings:
    return Warnings()
