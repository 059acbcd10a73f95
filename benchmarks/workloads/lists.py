"""Many finished executions: a page of a list among them, and what is left in memory when they have gone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import zart_redis as zart
from benchmarks.figures import Figure, Round, Workload, quantile, ratio
from benchmarks.handlers import no_op
from benchmarks.scene import Scene, Stage, check

FIGURES = (
    Figure("finished", ""),
    Figure("newest 50, p50", "ms", at_most=5),
    Figure("oldest 50 of one status and task, p50", "ms", at_most=5),
    Figure("50 in the middle, by cursor, p50", "ms", at_most=5),
    Figure("50 by id prefix, p50", "ms", at_most=5),
    Figure("stats, p50", "ms", at_most=5),
    Figure("purged", "/s"),
    ratio("memory afterwards / before", at_most=1.05),
)
LOT = 10_000
PAGES = 30


async def _milliseconds(ask: Callable[[], Awaitable[Any]]) -> float:
    times = []
    for _ in range(PAGES):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return quantile(times, 0.5) * 1000


async def _cursor_of_the_middle(scheduler: zart.DurableScheduler, crowd: int) -> str | None:
    cursor: str | None = None
    for _ in range(crowd // 2000):
        cursor = (await scheduler.list_executions(limit=1000, cursor=cursor)).cursor
    return cursor


async def _pages(stage: Stage, crowd: int) -> Round:
    ask = stage.scheduler.list_executions
    middle = await _cursor_of_the_middle(stage.scheduler, crowd)
    check(len(await ask(id_prefix=stage.last_id)) == 1, "the last execution is not found by its id")
    return {
        "newest 50, p50": await _milliseconds(ask),
        "oldest 50 of one status and task, p50": await _milliseconds(
            lambda: ask(status="completed", task_name=no_op.name, order="oldest")
        ),
        "50 in the middle, by cursor, p50": await _milliseconds(lambda: ask(cursor=middle)),
        "50 by id prefix, p50": await _milliseconds(lambda: ask(id_prefix="e-")),
        "stats, p50": await _milliseconds(stage.scheduler.stats),
    }


async def measure(scene: Scene) -> list[Round]:
    """One round: the crowd is run once, a lot at a time."""
    crowd = scene.sleepers or scene.size(100_000, 2000)
    async with scene.stage() as stage:
        await stage.run_all(no_op, range(100))
        await stage.scheduler.purge()
        before = int(scene.server.info("memory")["used_memory"])
        for begin in range(0, crowd, LOT):
            await stage.run_all(no_op, range(min(LOT, crowd - begin)))
        pages = await _pages(stage, crowd)
        began = time.perf_counter()
        check(await stage.scheduler.purge() == crowd, "not all executions were purged")
        seconds = time.perf_counter() - began
        check((await stage.scheduler.stats()).by_status == {}, "an execution is left")
        after = int(scene.server.info("memory")["used_memory"])
    return [{"finished": crowd, **pages, "purged": crowd / seconds, "memory afterwards / before": after / before}]


WORKLOAD = Workload("lists", "100,000 finished executions (--sleepers N for another number)", FIGURES, measure)
