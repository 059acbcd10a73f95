"""From a cause to a body that has gone on: an event, and timers that are due all at once."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, quantile, ratio
from benchmarks.handlers import event, no_op, timer
from benchmarks.scene import Scene, Stage, check
from zart_redis.model import ExecutionStatus

FIGURES = (
    Figure("event to completion, p50", "ms"),
    Figure("event to completion, p99", "ms"),
    ratio("event p50 / awaited EVALSHA"),
    Figure("10,000 timers: first late by", "ms", at_most=5),
    Figure("10,000 timers: late by, p50", "ms"),
    Figure("10,000 timers: late by, p99", "ms"),
    Figure("10,000 executions run", "ms"),
    ratio("timers p50 / executions run", at_most=1),
)
PARKED_PER_SECOND = 1000
"""So many executions are started and parked in a second even on a slow machine."""


async def event_latencies(stage: Stage, number: int) -> list[float]:
    """The seconds from the offer of an event to the completion that it causes, both in this process."""
    found = []
    for payload in range(number):
        execution_id = stage.new_id()
        await stage.scheduler.start_for(event, execution_id)
        waiter = asyncio.create_task(stage.scheduler.wait_for(event, execution_id, "60s"))
        await stage.reach(event, ExecutionStatus.WAITING, 1)
        began = time.perf_counter()
        await stage.scheduler.offer_event(execution_id, "go", payload)
        check(await waiter == payload, "the event has another payload")
        found.append(time.perf_counter() - began)
    return found


async def _lateness(stage: Stage, number: int) -> list[float]:
    """How many seconds after the instant at which all timers are due each of their bodies went on."""
    due = datetime.now(UTC) + timedelta(seconds=0.5 + number / PARKED_PER_SECOND)
    before = await stage.count(timer, ExecutionStatus.COMPLETED)
    await stage.start(timer, [due] * number)
    await stage.reach(timer, ExecutionStatus.WAITING, number)
    check(datetime.now(UTC) < due, "the timers were due before all of them were set")
    await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
    await stage.reach(timer, ExecutionStatus.COMPLETED, before + number, every=0.1)
    late = await stage.outputs(timer, number)
    check(min(late) >= -0.001, "a timer fired before it was due")  # Redis counts whole milliseconds
    return late


async def _round(stage: Stage, bare: Bare, events: int, timers: int) -> Round:
    evalsha = await bare.awaited_evalsha(events)
    waits = await event_latencies(stage, events)
    run = await stage.run_all(no_op, range(timers))
    late = await _lateness(stage, timers)
    return {
        "event to completion, p50": quantile(waits, 0.5) * 1000,
        "event to completion, p99": quantile(waits, 0.99) * 1000,
        "event p50 / awaited EVALSHA": quantile(waits, 0.5) / evalsha,
        "10,000 timers: first late by": min(late) * 1000,
        "10,000 timers: late by, p50": quantile(late, 0.5) * 1000,
        "10,000 timers: late by, p99": quantile(late, 0.99) * 1000,
        "10,000 executions run": run * 1000,
        "timers p50 / executions run": quantile(late, 0.5) / run,
    }


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage, baseline(scene) as bare:
        return await scene.repeat(lambda: _round(stage, bare, scene.size(200, 30), scene.size(10_000, 200)))


WORKLOAD = Workload("wake", "an event to its completion; 10,000 timers due at one instant", FIGURES, measure)
