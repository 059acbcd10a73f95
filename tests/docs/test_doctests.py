"""The examples in docstrings that need neither Redis nor an event loop."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["zart_redis.durations"])
def test_the_examples_of_a_module_are_right(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
