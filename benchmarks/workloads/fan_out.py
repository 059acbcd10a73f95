"""Trivial scheduled steps under one body, which any worker of the queue may run."""

from __future__ import annotations

import time

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import fan_out
from benchmarks.scene import Scene, Stage, check

FIGURES = (
    Figure("1,000 steps, one worker", "ms", at_most=150),
    Figure("1,000 steps, two workers", "ms"),
    Figure("10,000 steps, one worker", "ms"),
    Figure("10,000 steps, two workers", "ms"),
    ratio("1,000 steps / as many pipelined EVALSHAs"),
    ratio("10,000 steps / as many pipelined EVALSHAs"),
    ratio("a step of 10,000 / of 1,000"),
)


async def seconds(stage: Stage, width: int) -> float:
    """From the start of the execution to its result, in this process."""
    began = time.perf_counter()
    check(await stage.run(fan_out, width) == width * (width + 1) // 2, "the fan-out has another result")
    return time.perf_counter() - began


async def _round(one: Stage, two: Stage, bare: Bare, narrow: int, wide: int) -> Round:
    pipelined = await bare.pipelined(narrow)
    narrow_one, narrow_two = await seconds(one, narrow), await seconds(two, narrow)
    wide_one, wide_two = await seconds(one, wide), await seconds(two, wide)
    return {
        "1,000 steps, one worker": narrow_one * 1000,
        "1,000 steps, two workers": narrow_two * 1000,
        "10,000 steps, one worker": wide_one * 1000,
        "10,000 steps, two workers": wide_two * 1000,
        "1,000 steps / as many pipelined EVALSHAs": narrow_one * pipelined / narrow,
        "10,000 steps / as many pipelined EVALSHAs": wide_one * pipelined / wide,
        "a step of 10,000 / of 1,000": wide_one / narrow_one * narrow / wide,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as one, scene.stage(2) as two, baseline(scene) as bare:
        return await scene.repeat(lambda: _round(one, two, bare, scene.size(1000, 100), scene.size(10_000, 500)))


WORKLOAD = Workload("fan-out", "1,000 and 10,000 trivial scheduled steps under one body", FIGURES, measure)
