"""A worker that has nothing to do: what it asks of Redis, and what it burns."""

from __future__ import annotations

import asyncio

from benchmarks.figures import Figure, Round, Workload
from benchmarks.handlers import no_op
from benchmarks.processes import cpu_seconds
from benchmarks.scene import Scene, Stage, check

FIGURES = (
    Figure("commands sent", "/s", at_most=5),
    Figure("commands carried out, those of scripts included", "/s"),
    Figure("worker, share of a core", "%", at_most=0.3),
    Figure("Redis, share of a core", "%"),
)


async def _round(scene: Scene, stage: Stage, seconds: float) -> Round:
    calls, redis = scene.server.calls(), scene.server.cpu_seconds()
    worker = cpu_seconds(stage.pids[0])
    await asyncio.sleep(seconds)
    worker = cpu_seconds(stage.pids[0]) - worker
    redis = scene.server.cpu_seconds() - redis
    spent = scene.server.calls() - calls
    del spent["info"]
    # A script is sent as one command; a blocking read of a queue is the only other thing that an idle worker sends.
    return {
        "commands sent": (spent["evalsha"] + spent["xreadgroup"] + spent["ping"]) / seconds,
        "commands carried out, those of scripts included": spent.total() / seconds,
        "worker, share of a core": worker / seconds * 100,
        "Redis, share of a core": redis / seconds * 100,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage:
        check(await stage.run(no_op, 1) == 1, "the worker does not work")
        seconds = scene.size(10, 2)
        return [await _round(scene, stage, seconds) for _ in range(scene.rounds)]


WORKLOAD = Workload("idle", "a worker without work, for ten seconds", FIGURES, measure)
