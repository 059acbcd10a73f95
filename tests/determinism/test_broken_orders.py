"""The proof fails when the order of completions is broken."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.determinism.programs import Program, programs
from tests.determinism.simulation import Interruption, play
from tests.engine.memory import MemoryPort
from zart_redis.engine.body import Body
from zart_redis.engine.completions import Completions
from zart_redis.engine.loop import BodyLoop


def two_at_once(patch: pytest.MonkeyPatch) -> None:
    deliver = Body._deliver_next
    patch.setattr(Body, "_deliver_next", lambda body: deliver(body) and (deliver(body) or True))


def newest_first(patch: pytest.MonkeyPatch) -> None:
    push = Completions._push
    patch.setattr(Completions, "_push", lambda self, number, key: push(self, -number, key))


def unnumbered(patch: pytest.MonkeyPatch) -> None:
    record = MemoryPort.record
    patch.setattr(MemoryPort, "record", lambda self, name, data, ordered: record(self, name, data, ordered=False))


def steps_before_completions(patch: pytest.MonkeyPatch) -> None:
    """Steps begin although a completion that is recorded and awaited is left."""
    deliver = Body._deliver_next
    patch.setattr(Body, "_deliver_next", lambda body: not body._unbegun and deliver(body))


def gaps_ignored(patch: pytest.MonkeyPatch) -> None:
    """A worker delivers its own completions although others have recorded earlier ones."""
    patch.setattr(Completions, "has_gap", property(lambda self: False))
    patch.setattr(Completions, "see", lambda self, number: Completions.see_all(self, number))


def hashes_by_chance(patch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    patch.setattr(BodyLoop, "next_hash", lambda self: hash(str(next(numbers) // 3)))


def coroutines_in_a_set(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(asyncio.tasks, "set")


@pytest.mark.parametrize(
    "breakage",
    [
        two_at_once,
        newest_first,
        unnumbered,
        steps_before_completions,
        gaps_ignored,
        hashes_by_chance,
        coroutines_in_a_set,
    ],
)
def test_a_broken_order_is_found(breakage: Callable[[pytest.MonkeyPatch], None]) -> None:
    is_found = False

    @settings(
        max_examples=500,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(programs(), st.integers(0, 2**32), st.sampled_from(Interruption))
    def check(program: Program, seed: int, interruption: Interruption) -> None:
        nonlocal is_found
        if not is_found:  # never raised to Hypothesis, which would fail when a breakage by chance does not repeat
            try:
                play(program, seed, interruption)
            except AssertionError:
                is_found = True

    with pytest.MonkeyPatch.context() as patch:
        breakage(patch)
        check()
    assert is_found
