"""A crowd that sleeps: what each costs in memory, and whether it slows down those who wake."""

from __future__ import annotations

from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import napper, sleeper
from benchmarks.scene import Scene, Stage, check
from zart_redis.model import ExecutionStatus

FIGURES = (
    Figure("sleeping at once", ""),
    Figure("parked", "/s"),
    Figure("memory for each", "B"),
    Figure("a nap of 1 ms, nobody else asleep", "ms"),
    Figure("a nap of 1 ms, beside them", "ms"),
    ratio("nap beside them / alone", at_most=1.5),
)
LOT = 10_000


async def _nap(stage: Stage, times: int) -> float:
    return await stage.run(napper, times) / times


async def measure(scene: Scene) -> list[Round]:
    """One round: the crowd is put to sleep once. A lot at a time, so that the queue does not grow with the crowd."""
    crowd, naps = scene.sleepers or scene.size(100_000, 500), scene.size(200, 50)
    async with scene.stage() as stage:
        await _nap(stage, naps)
        alone = await _nap(stage, naps)
        memory = int(scene.server.info("memory")["used_memory"])
        seconds = 0.0
        for asleep in range(0, crowd, LOT):
            seconds += await stage.run_all(sleeper, ["1d"] * min(LOT, crowd - asleep), ExecutionStatus.WAITING)
        memory = int(scene.server.info("memory")["used_memory"]) - memory
        beside = await _nap(stage, naps)
        check(await stage.count(sleeper, ExecutionStatus.WAITING) == crowd, "a sleeper has woken")
    return [
        {
            "sleeping at once": crowd,
            "parked": crowd / seconds,
            "memory for each": memory / crowd,
            "a nap of 1 ms, nobody else asleep": alone * 1000,
            "a nap of 1 ms, beside them": beside * 1000,
            "nap beside them / alone": beside / alone,
        }
    ]


WORKLOAD = Workload("sleepers", "100,000 executions asleep (--sleepers N for more)", FIGURES, measure)
