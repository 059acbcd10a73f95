"""Many more generated bodies than fit into every change: ``python -m tests.determinism.soak --bodies 200000``."""

from __future__ import annotations

import argparse

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.determinism.elsewhere import Ended, replay_elsewhere
from tests.determinism.programs import Program, programs
from tests.determinism.simulation import Interruption, play

BATCH = 5_000
"""Bodies between two replays in other processes."""


def run(bodies: int) -> None:
    """Raises if a replay of any of them differs."""
    ended: list[Ended] = []

    @settings(
        max_examples=bodies,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(programs(), st.integers(0, 2**32), st.sampled_from(Interruption))
    def check(program: Program, seed: int, interruption: Interruption) -> None:
        ended.append(Ended.of(play(program, seed, interruption)))

    check()
    replay_elsewhere(ended)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bodies", type=int, default=200_000)
    bodies = parser.parse_args().bodies
    for done in range(0, bodies, BATCH):
        run(min(BATCH, bodies - done))
        print(f"{min(done + BATCH, bodies):,} bodies: each replay saw what the first run saw", flush=True)


if __name__ == "__main__":
    main()
