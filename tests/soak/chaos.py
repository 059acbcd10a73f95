"""Faults of workers and of Redis: a plan made from the seed, and its execution."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.soak.power import AofWatch
from tests.soak.processes import LEASE_SECONDS, WorkerPool
from tests.support.servers import RedisProcess


class Fault(StrEnum):
    KILL = "worker killed -9"
    FREEZE = "worker frozen past its lease"
    DRAIN = "worker drained"
    REDIS_KILL = "Redis killed -9"
    REDIS_RESTART = "Redis restarted"
    POWER_CUT = "Redis killed, AOF cut back to the last fsync"


SECONDS_PER_FAULT = {
    Fault.KILL: 8,
    Fault.FREEZE: 12,
    Fault.DRAIN: 12,
    Fault.REDIS_KILL: 20,
    Fault.REDIS_RESTART: 40,
    Fault.POWER_CUT: 20,
}
"""How often each occurs by default: once in this many seconds."""


@dataclass(frozen=True, slots=True)
class Planned:
    at: float
    """Seconds after the beginning."""
    fault: Fault
    seconds: float
    """How long the worker is frozen, or Redis is down."""


def make_plan(rng: random.Random, seconds: float, counts: Mapping[Fault, int]) -> list[Planned]:
    faults = [fault for fault, count in counts.items() for _ in range(count)]
    return sorted(
        (Planned(rng.uniform(0.05, 0.9) * seconds, fault, _duration(rng, fault)) for fault in faults),
        key=lambda planned: planned.at,
    )


def _duration(rng: random.Random, fault: Fault) -> float:
    return LEASE_SECONDS * rng.uniform(1.3, 2) if fault is Fault.FREEZE else rng.uniform(0, 1)


@dataclass
class Chaos:
    """Carries out a plan. Redis suffers one fault at a time; workers may be frozen meanwhile."""

    server: RedisProcess
    pool: WorkerPool
    rng: random.Random
    done: list[Fault] = field(default_factory=list)
    redis_deaths: list[int] = field(default_factory=list)
    """When Redis was killed, in ms."""

    async def carry_out(self, plan: list[Planned]) -> None:
        began = time.monotonic()
        async with AofWatch(self.server) as watch, asyncio.TaskGroup() as tasks:
            for planned in plan:
                await asyncio.sleep(max(0.0, began + planned.at - time.monotonic()))
                if planned.fault is Fault.FREEZE:
                    tasks.create_task(self.pool.freeze(self.rng, planned.seconds))
                elif planned.fault is Fault.DRAIN:
                    tasks.create_task(self.pool.drain(self.rng))
                elif planned.fault is Fault.KILL:
                    await self.pool.kill(self.rng)
                else:
                    await self._end_redis(planned, watch)
                self.done.append(planned.fault)

    async def _end_redis(self, planned: Planned, watch: AofWatch) -> None:
        if planned.fault is Fault.REDIS_RESTART:
            await asyncio.to_thread(self.server.stop)
        else:
            self.redis_deaths.append(time.time_ns() // 1_000_000)
            await asyncio.to_thread(self.server.kill9)
        if planned.fault is Fault.POWER_CUT:
            watch.cut(self.redis_deaths[-1] / 1000 - self.rng.uniform(0, 1))
        await asyncio.sleep(planned.seconds)
        await asyncio.to_thread(self.server.start)
