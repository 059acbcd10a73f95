"""A short iteration of every workload: it works, its results are right, and no ratio is three times as bad as it was.

The bounds are ratios, and about two and a half times what a quiet machine measures. A machine that is disturbed spoils
one iteration, while a regression spoils all, so one of a few must be within them.
"""

import pytest

from benchmarks.figures import Figure, Round, median
from benchmarks.scene import Scene
from benchmarks.workloads import WORKLOADS

pytestmark = pytest.mark.anyio

ATTEMPTS = 3

BOUNDS: dict[str, list[Figure]] = {
    "chain": [Figure("step / awaited EVALSHA", "x", at_most=3.5)],
    "throughput": [Figure("steps / pipelined EVALSHAs", "x", at_least=0.12)],
    "no-op": [
        Figure("p50 / awaited EVALSHA", "x", at_most=25),
        Figure("executions / pipelined EVALSHAs", "x", at_least=0.03),
    ],
    "fan-out": [
        Figure("1,000 steps / as many pipelined EVALSHAs", "x", at_most=20),
        Figure("a step of 10,000 / of 1,000", "x", at_most=2),
    ],
    "wake": [
        Figure("event p50 / awaited EVALSHA", "x", at_most=50),
        Figure("timers p50 / executions run", "x", at_most=3),
    ],
    "tasks": [
        Figure("1,000 steps gathered / chained in ten bodies", "x", at_most=3),
        Figure("a sleep of 8,000 gathered / of 500", "x", at_most=3),
        Figure("an event of 2,000 one by one / of 200", "x", at_most=3.5),
        Figure("parking with create_task / with gather", "x", at_most=3),
        Figure("a wake at record 2,000 / at record 10", "x", at_most=3.5),
    ],
    "limits": [Figure("an execution of 10,000 waiting / of 1,000", "x", at_most=3)],
    "sleepers": [Figure("nap beside them / alone", "x", at_most=2.5)],
    "long": [
        Figure("step of 10,000 / of 10", "x", at_most=2),
        Figure("a replayed step / awaited EVALSHA", "x", at_most=0.2),
        Figure("pass of 1,000 / of 10", "x", at_most=3),
    ],
    "scale": [
        Figure("two workers / one", "x", at_least=0.35),
        Figure("4 partitions / 1", "x", at_least=0.25),
        Figure("worker memory per 1,000 running bodies", "MiB", at_most=30),
    ],
    "fsync": [Figure("steps: always / every second", "x", at_least=0.2)],
    "idle": [Figure("commands sent", "/s", at_most=5)],
    "recovery": [
        Figure("nobody told: last one / lease", "x", at_most=2.5),
        Figure("within a zart-worker pool: to the last one going on", "s", at_most=5),
    ],
    "lists": [Figure("memory afterwards / before", "x", at_most=1.2)],
    "import": [
        Figure("import zart_redis / redis.asyncio", "x", at_most=2.5),
        Figure("what declares handlers / redis.asyncio", "x", at_most=2.5),
    ],
    "memory": [Figure("finished, 10 steps of 40 bytes", "B", at_most=1700), Figure("sleeping", "B", at_most=650)],
}


def _missed(name: str, rounds: list[Round]) -> dict[str, float]:
    """The figures that are out of bounds."""
    medians = {figure.name: median(rounds, figure.name) for figure in BOUNDS[name]}
    return {figure.name: medians[figure.name] for figure in BOUNDS[name] if not figure.is_met(medians[figure.name])}


@pytest.mark.parametrize("name", WORKLOADS)
async def test_the_ratios_are_what_they_were(scene: Scene, name: str) -> None:
    missed: dict[str, float] = {}
    for _ in range(ATTEMPTS):
        rounds = await WORKLOADS[name].measure(scene)
        assert {figure.name for figure in WORKLOADS[name].figures} == rounds[0].keys()
        missed = _missed(name, rounds)
        if not missed:
            return
    assert not missed
