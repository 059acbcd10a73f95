"""Bodies that do many things at the same time, and bodies that wake again and again."""

from __future__ import annotations

import time

from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import WAKES, chain, events, gathered, parked_by_gather, parked_by_tasks, sleeps, wakes
from benchmarks.scene import Scene, Stage, check
from zart_redis.model import ExecutionStatus

FIGURES = (
    ratio("1,000 steps gathered / chained in ten bodies", at_most=1.3),
    ratio("a sleep of 8,000 gathered / of 500", at_most=1.3),
    ratio("an event of 2,000 one by one / of 200", at_most=1.5),
    ratio("parking with create_task / with gather", at_most=1.3),
    ratio("a wake at record 2,000 / at record 10", at_most=1.5),
    Figure("a wake at record 2,000", "ms"),
)

BODIES = 10
PARKED = 200


async def _gather(stage: Stage, width: int) -> float:
    began = time.perf_counter()
    check(await stage.run(gathered, width) == width * (width + 1) // 2, "the gathered steps have another result")
    return time.perf_counter() - began


async def _sleeps(stage: Stage, width: int) -> float:
    """Seconds for each sleep."""
    began = time.perf_counter()
    check(await stage.run(sleeps, width) == width, "the sleeps have another result")
    return (time.perf_counter() - began) / width


async def _events(stage: Stage, width: int) -> float:
    """Seconds for each event, delivered one after the other."""
    execution_id = stage.new_id()
    await stage.scheduler.start_for(events, execution_id, width)
    await stage.reach(events, ExecutionStatus.WAITING, 1)
    began = time.perf_counter()
    for index in range(width):
        await stage.scheduler.offer_event(execution_id, f"event-{index}", index)
    result = await stage.scheduler.wait_for(events, execution_id, "120s")
    check(result == width * (width - 1) // 2, "the events have another sum")
    return (time.perf_counter() - began) / width


async def _wakes(stage: Stage, steps: int) -> float:
    """Seconds from an event until the body waits for the next one."""
    execution_id = stage.new_id()
    await stage.scheduler.start_for(wakes, execution_id, steps)
    await stage.reach(wakes, ExecutionStatus.WAITING, 1)
    began = time.perf_counter()
    for number in range(WAKES):
        await stage.scheduler.offer_event(execution_id, f"wake-{number}", None)
        if number < WAKES - 1:
            await stage.reach(wakes, ExecutionStatus.WAITING, 1, every=0)
    check(await stage.scheduler.wait_for(wakes, execution_id, "60s") == steps, "the wakes have another result")
    return (time.perf_counter() - began) / WAKES


async def _round(stage: Stage, width: int, many: int, few: int) -> Round:
    gather = await _gather(stage, width)
    chained = await stage.run_all(chain, [width // BODIES] * BODIES)
    many_sleeps, few_sleeps = await _sleeps(stage, 4 * many), await _sleeps(stage, 4 * few)
    many_events, few_events = await _events(stage, many), await _events(stage, many // 10)
    by_gather = await stage.run_all(parked_by_gather, [None] * PARKED, ExecutionStatus.WAITING)
    by_tasks = await stage.run_all(parked_by_tasks, [None] * PARKED, ExecutionStatus.WAITING)
    early, late = await _wakes(stage, 10), await _wakes(stage, many)
    return {
        "1,000 steps gathered / chained in ten bodies": gather / chained,
        "a sleep of 8,000 gathered / of 500": many_sleeps / few_sleeps,
        "an event of 2,000 one by one / of 200": many_events / few_events,
        "parking with create_task / with gather": by_tasks / by_gather,
        "a wake at record 2,000 / at record 10": late / early,
        "a wake at record 2,000": late * 1000,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage:
        sizes = scene.size(1000, 100), scene.size(2000, 100), scene.size(125, 25)
        return await scene.repeat(lambda: _round(stage, *sizes))


WORKLOAD = Workload("tasks", "bodies of many tasks, and bodies that wake often", FIGURES, measure)
