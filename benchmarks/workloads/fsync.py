"""Throughput and a lone chain once more, with every write on disk before it is answered."""

from __future__ import annotations

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.scene import Scene, Stage
from benchmarks.workloads.chain import seconds_per_step
from benchmarks.workloads.throughput import steps_per_second

FIGURES = (
    Figure("steps, synced every second", "/s"),
    Figure("steps, always synced", "/s"),
    ratio("steps: always / every second", at_least=0.8),
    ratio("pipelined EVALSHAs: always / every second"),
    Figure("step of a chain, every second", "ms"),
    Figure("step of a chain, always", "ms"),
    ratio("step of a chain, always / awaited EVALSHA, always"),
)


async def _round(scene: Scene, stage: Stage, bare: Bare, executions: int, length: int) -> Round:
    with scene.server.synced("everysec"):
        pipelined = await bare.pipelined(executions)
        steps = await steps_per_second(stage, executions)
        step = await seconds_per_step(stage, length)
    with scene.server.synced("always"):
        pipelined_always = await bare.pipelined(executions)
        steps_always = await steps_per_second(stage, executions)
        evalsha_always = await bare.awaited_evalsha(length)
        step_always = await seconds_per_step(stage, length)
    return {
        "steps, synced every second": steps,
        "steps, always synced": steps_always,
        "steps: always / every second": steps_always / steps,
        "pipelined EVALSHAs: always / every second": pipelined_always / pipelined,
        "step of a chain, every second": step * 1000,
        "step of a chain, always": step_always * 1000,
        "step of a chain, always / awaited EVALSHA, always": step_always / evalsha_always,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage, baseline(scene) as bare:
        sizes = scene.size(1000, 100), scene.size(300, 30)
        return await scene.repeat(lambda: _round(scene, stage, bare, *sizes))


WORKLOAD = Workload("fsync", "throughput and chain with appendfsync always", FIGURES, measure)
