"""What an execution keeps in Redis while it sleeps and when it has ended: MEMORY USAGE of every key, added up."""

from __future__ import annotations

from collections import Counter

from benchmarks.figures import Figure, Round, Workload
from benchmarks.handlers import sleeper, texts
from benchmarks.scene import Scene, Stage, check
from zart_redis.model import ExecutionStatus

FIGURES = (
    Figure("finished, 10 steps of 40 bytes", "B", at_most=1536),
    Figure("of which the execution (x:)", "B"),
    Figure("of which its records (r:)", "B"),
    Figure("of which the indexes", "B"),
    Figure("sleeping", "B", at_most=600),
    Figure("its execution (x:)", "B"),
    Figure("its record and wait (r:, w:)", "B"),
    Figure("its indexes and timer", "B"),
    Figure("used_memory for each finished one", "B"),
)
STEPS = 10


async def _finished(stage: Stage, number: int) -> None:
    await stage.run_all(texts, [STEPS] * number)
    check(await stage.outputs(texts, number) == [STEPS] * number, "an execution has another result")


async def _asleep(stage: Stage, number: int) -> None:
    await stage.run_all(sleeper, ["1d"] * number, ExecutionStatus.WAITING)


def _others(kinds: Counter[str], *owned: str) -> float:
    return sum(size for kind, size in kinds.items() if kind not in owned)


async def measure(scene: Scene) -> list[Round]:
    """One round: bytes are counted, not timed."""
    number = scene.size(1000, 100)
    async with scene.stage() as stage:
        await _finished(stage, number)
        before = int(scene.server.info("memory")["used_memory"])
        await _finished(stage, number)
        used = int(scene.server.info("memory")["used_memory"]) - before
        finished = scene.server.memory_by_kind(stage.prefix)
    async with scene.stage() as stage:
        await _asleep(stage, number)
        sleeping = scene.server.memory_by_kind(stage.prefix)
    return [
        {
            "finished, 10 steps of 40 bytes": finished.total() / number / 2,
            "of which the execution (x:)": finished["x"] / number / 2,
            "of which its records (r:)": finished["r"] / number / 2,
            "of which the indexes": _others(finished, "x", "r") / number / 2,
            "sleeping": sleeping.total() / number,
            "its execution (x:)": sleeping["x"] / number,
            "its record and wait (r:, w:)": (sleeping["r"] + sleeping["w"]) / number,
            "its indexes and timer": _others(sleeping, "x", "r", "w") / number,
            "used_memory for each finished one": used / number,
        }
    ]


WORKLOAD = Workload("memory", "bytes in Redis for each execution, finished and sleeping", FIGURES, measure)
