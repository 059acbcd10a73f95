"""Executions under a limit: what the limit costs in Redis, and how fast those drain that wait for one counter."""

from __future__ import annotations

import zart_redis as zart
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import NARROW, limited, limited_work, no_op, unlimited_work
from benchmarks.scene import Scene, Stage

FIGURES = (
    Figure("Redis CPU of a limit, start and end", "us", at_most=8),
    Figure("from claim to end, unlimited", "ms"),
    Figure("10,000 executions, 20 at a time", "/s"),
    ratio("drained / (limit / mean time)", at_least=0.8),
    ratio("an execution of 10,000 waiting / of 1,000", at_most=1.2),
)


async def redis_us(scene: Scene, stage: Stage, handler: zart.DurableHandler[int, int], number: int) -> float:
    """What Redis computes for an execution."""
    before = scene.server.cpu_seconds()
    await stage.run_all(handler, range(number))
    return (scene.server.cpu_seconds() - before) / number * 1e6


async def mean_seconds(stage: Stage) -> float:
    """From the claim to the end of executions that nothing holds back, as many at a time as the limit allows."""
    count = NARROW.concurrency or 0
    await stage.run_all(unlimited_work, [None] * count)
    page = await stage.scheduler.list_executions(task_name=unlimited_work.name, limit=count)
    times = [record.finished_at - record.started_at for record in page if record.finished_at and record.started_at]
    return sum(time.total_seconds() for time in times) / len(times)


async def _round(scene: Scene, stage: Stage, many: int, few: int) -> Round:
    plain = await redis_us(scene, stage, no_op, few)
    wide = await redis_us(scene, stage, limited, few)
    mean = await mean_seconds(stage)
    short = await stage.run_all(limited_work, [None] * few)
    long = await stage.run_all(limited_work, [None] * many)
    return {
        "Redis CPU of a limit, start and end": wide - plain,
        "from claim to end, unlimited": mean * 1000,
        "10,000 executions, 20 at a time": many / long,
        "drained / (limit / mean time)": many / long * mean / (NARROW.concurrency or 0),
        "an execution of 10,000 waiting / of 1,000": long / many / (short / few),
    }


async def measure(scene: Scene) -> list[Round]:
    many, few = scene.size(10_000, 400), scene.size(1000, 200)
    async with scene.stage() as stage:
        return await scene.repeat(lambda: _round(scene, stage, many, few))


WORKLOAD = Workload("limits", "executions under a limit, and 10,000 that wait for one", FIGURES, measure)
