"""Random runs of the state machine, as many as wanted."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.state_machine import Machine

_CHANCES = {
    "claim_new": 5,
    "park": 5,
    "complete_step": 5,
    "schedule": 3,
    "deliver": 3,
    "send": 3,
    "clock_jumps": 2,
    "due": 2,
    "record": 2,
    "damage": 2,
}
for name, chances in _CHANCES.items():
    for number in range(1, chances):
        setattr(Machine, f"{name}_{number}", getattr(Machine, name))  # Hypothesis draws rules by name, all alike


def explore(url: str, made: Counter[str], *, examples: int, steps: int, seeded: int | None = None) -> None:
    """Run this many examples of this many steps, counting them in `made` by kind. Raises what disagrees, shrunk, with
    how to reproduce it. The same seed makes the same examples."""

    class Example(Machine):
        def __init__(self) -> None:
            super().__init__(url, made)

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Example if seeded is None else seed(seeded)(Example), settings=chosen)
