"""Whether a long execution pays for its length: by the step, by the pass, by the replay."""

from __future__ import annotations

import time

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import napper, replay, timed_chain
from benchmarks.scene import Scene, Stage, check
from zart_redis.model import ExecutionStatus

FIGURES = (
    Figure("step of 10", "ms"),
    Figure("step of 1,000", "ms"),
    Figure("step of 10,000", "ms"),
    ratio("step of 1,000 / of 10"),
    ratio("step of 10,000 / of 10", at_most=1.1),
    Figure("10,000 steps replayed", "ms"),
    ratio("a replayed step / awaited EVALSHA"),
    Figure("pass of a body that parks 10 times", "ms"),
    Figure("pass of a body that parks 1,000 times", "ms"),
    ratio("pass of 1,000 / of 10"),
)


async def _step(stage: Stage, length: int, times: int = 1) -> float:
    """Seconds for each step within the body."""
    return sum([await stage.run(timed_chain, length) for _ in range(times)]) / length / times


async def _replay(stage: Stage, length: int) -> float:
    """The seconds from the event that wakes a body to its completion, with all its steps replayed in between."""
    execution_id = stage.new_id()
    await stage.scheduler.start_for(replay, execution_id, length)
    await stage.reach(replay, ExecutionStatus.WAITING, 1)
    began = time.perf_counter()
    await stage.scheduler.offer_event(execution_id, "go", length)
    check(await stage.scheduler.wait_for(replay, execution_id, "60s") == length, "the event has another payload")
    return time.perf_counter() - began


async def _pass(stage: Stage, parks: int, times: int = 1) -> float:
    """Seconds for each: a timer of 1 ms, a claim, the replay of all that came before, and the next park."""
    return sum([await stage.run(napper, parks) for _ in range(times)]) / parks / times


async def _round(stage: Stage, bare: Bare, long: int, longer: int, parks: int) -> Round:
    evalsha = await bare.awaited_evalsha(300)
    short_step = await _step(stage, 10, 30)
    long_step, longer_step = await _step(stage, long), await _step(stage, longer)
    replayed = await _replay(stage, longer)
    few, many = await _pass(stage, 10, 10), await _pass(stage, parks)
    return {
        "step of 10": short_step * 1000,
        "step of 1,000": long_step * 1000,
        "step of 10,000": longer_step * 1000,
        "step of 1,000 / of 10": long_step / short_step,
        "step of 10,000 / of 10": longer_step / short_step,
        "10,000 steps replayed": replayed * 1000,
        "a replayed step / awaited EVALSHA": replayed / longer / evalsha,
        "pass of a body that parks 10 times": few * 1000,
        "pass of a body that parks 1,000 times": many * 1000,
        "pass of 1,000 / of 10": many / few,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage, baseline(scene) as bare:
        sizes = scene.size(1000, 100), scene.size(10_000, 500), scene.size(1000, 50)
        return await scene.repeat(lambda: _round(stage, bare, *sizes))


WORKLOAD = Workload("long", "executions of 10 to 10,000 steps, and a body that parks 1,000 times", FIGURES, measure)
