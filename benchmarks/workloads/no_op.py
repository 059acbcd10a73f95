"""Executions without a step: how soon one has its result, and how many a worker process does in a second."""

from __future__ import annotations

import time

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, quantile, ratio
from benchmarks.handlers import no_op
from benchmarks.scene import Scene, Stage, check

FIGURES = (
    Figure("start to result, p50", "ms"),
    Figure("start to result, p99", "ms"),
    ratio("p50 / awaited EVALSHA", at_most=6),
    Figure("executions", "/s"),
    ratio("executions / pipelined EVALSHAs"),
)


async def latencies(stage: Stage, number: int) -> list[float]:
    """The seconds from each start to its result in this process, one execution at a time."""
    found = []
    for index in range(number):
        began = time.perf_counter()
        check(await stage.run(no_op, index) == index, "a no-op has another result")
        found.append(time.perf_counter() - began)
    return found


async def executions_per_second(stage: Stage, number: int) -> float:
    seconds = await stage.run_all(no_op, range(number))
    check(sorted(await stage.outputs(no_op, number)) == list(range(number)), "a no-op has another result")
    return number / seconds


async def _round(stage: Stage, bare: Bare, alone: int, together: int) -> Round:
    evalsha = await bare.awaited_evalsha(alone)
    waits = await latencies(stage, alone)
    pipelined = await bare.pipelined(together)
    executions = await executions_per_second(stage, together)
    return {
        "start to result, p50": quantile(waits, 0.5) * 1000,
        "start to result, p99": quantile(waits, 0.99) * 1000,
        "p50 / awaited EVALSHA": quantile(waits, 0.5) / evalsha,
        "executions": executions,
        "executions / pipelined EVALSHAs": executions / pipelined,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage, baseline(scene) as bare:
        return await scene.repeat(lambda: _round(stage, bare, scene.size(300, 50), scene.size(10_000, 300)))


WORKLOAD = Workload("no-op", "executions without a step: one at a time, and 10,000", FIGURES, measure)
