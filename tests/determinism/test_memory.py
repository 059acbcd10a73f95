"""A replay is the first run again: generated bodies on the in-memory port, interrupted wherever they can be."""

from __future__ import annotations

from tests.determinism.simulation import Interruption, Simulation, play
from tests.determinism.soak import run
from zart_redis.engine.journal import Stamp, stamp_of

PROGRAMS = 2_000


def test_every_pass_sees_what_the_first_one_saw() -> None:
    run(PROGRAMS)


def test_the_same_seed_makes_the_same_run() -> None:
    def once() -> Simulation:
        race = ("race", ("step", 2, False), ("nap", 5), ("event", "red", None))
        return play(("all", race, ("scheduled", 3), race), 7, Interruption.ANY)

    first, second = once(), once()
    assert first.world.logs == second.world.logs
    assert _stamps(first) == _stamps(second)


def _stamps(simulation: Simulation) -> dict[str, Stamp]:
    """Numbers and times of the records, which also hold how long a step took here."""
    return {name: stamp_of(record) for name, record in simulation.port.records.items()}
