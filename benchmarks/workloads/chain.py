"""One execution of trivial steps, alone: what a step costs that nothing else can share a round trip with."""

from __future__ import annotations

import time

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import chain
from benchmarks.scene import Scene, Stage, check

FIGURES = (
    Figure("step", "ms"),
    Figure("awaited EVALSHA", "ms"),
    Figure("awaited HSET", "ms"),
    ratio("step / awaited EVALSHA", at_most=1.2),
    ratio("step / awaited HSET"),
)


async def seconds_per_step(stage: Stage, length: int) -> float:
    """From the start of the execution to its result, in this process."""
    began = time.perf_counter()
    check(await stage.run(chain, length) == length, "the chain has another result")
    return (time.perf_counter() - began) / length


async def _round(stage: Stage, bare: Bare, length: int) -> Round:
    evalsha = await bare.awaited_evalsha(length)
    hset = await bare.awaited_hset(length)
    step = await seconds_per_step(stage, length)
    return {
        "step": step * 1000,
        "awaited EVALSHA": evalsha * 1000,
        "awaited HSET": hset * 1000,
        "step / awaited EVALSHA": step / evalsha,
        "step / awaited HSET": step / hset,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage, baseline(scene) as bare:
        return await scene.repeat(lambda: _round(stage, bare, scene.size(300, 100)))


WORKLOAD = Workload("chain", "one execution of 300 trivial steps, alone", FIGURES, measure)
