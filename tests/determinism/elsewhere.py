"""Replays programs that have ended in another process, whose strings have other hashes."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.determinism.programs import Program
from tests.determinism.simulation import Interruption, Simulation


@dataclass(frozen=True)
class Ended:
    """A program that has ended: what is recorded of it, and what its last pass saw."""

    program: Program
    records: dict[str, bytes]
    events: dict[str, bytes]
    number: int
    log: list[str]

    @classmethod
    def of(cls, simulation: Simulation) -> Ended:
        port = simulation.port
        return cls(simulation.program, port.records, port.events, port.number, simulation.world.logs[-1])

    def replay(self) -> list[str]:
        """What a pass sees in which all is recorded."""
        simulation = Simulation(self.program, 0, Interruption.NONE)
        port = simulation.port
        port.records, port.events, port.number = dict(self.records), dict(self.events), self.number
        asyncio.run(simulation.replay())
        return simulation.world.logs[-1]


def replay_elsewhere(ended: Sequence[Ended], hash_seed: int = 4711) -> None:
    """Raises AssertionError if a replay in another process sees anything else."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.determinism.elsewhere"],
        input=pickle.dumps(list(ended)),
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
    )
    for one, log in zip(ended, pickle.loads(done.stdout), strict=True):
        assert log == one.log, f"{one.program}: another process saw {log}, this one {one.log}"


if __name__ == "__main__":
    programs: list[Ended] = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps([one.replay() for one in programs]))
