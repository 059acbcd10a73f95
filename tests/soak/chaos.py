"""What is done to workers and to Redis, and when: a plan that the seed decides, and its execution."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.servers import RedisProcess
from tests.soak.power import AofWatch
from tests.soak.processes import LEASE_SECONDS, Crew


class Deed(StrEnum):
    KILL = "worker killed -9"
    FREEZE = "worker frozen past its lease"
    DRAIN = "worker drained"
    REDIS_KILL = "Redis killed -9"
    REDIS_RESTART = "Redis restarted"
    POWER_CUT = "Redis killed, AOF cut back to the last fsync"


SECONDS_PER_DEED = {
    Deed.KILL: 8,
    Deed.FREEZE: 12,
    Deed.DRAIN: 12,
    Deed.REDIS_KILL: 20,
    Deed.REDIS_RESTART: 40,
    Deed.POWER_CUT: 20,
}
"""In a plan that is not told how many: one in so many seconds."""


@dataclass(frozen=True, slots=True)
class Planned:
    at: float
    """In seconds after the beginning."""
    deed: Deed
    seconds: float
    """How long it is frozen, or away."""


def make_plan(rng: random.Random, seconds: float, counts: Mapping[Deed, int]) -> list[Planned]:
    deeds = [deed for deed, count in counts.items() for _ in range(count)]
    return sorted(
        (Planned(rng.uniform(0.05, 0.9) * seconds, deed, _duration(rng, deed)) for deed in deeds),
        key=lambda planned: planned.at,
    )


def _duration(rng: random.Random, deed: Deed) -> float:
    return LEASE_SECONDS * rng.uniform(1.3, 2) if deed is Deed.FREEZE else rng.uniform(0, 1)


@dataclass
class Chaos:
    """Carries out a plan. Redis is down in one manner at a time; workers may freeze meanwhile."""

    server: RedisProcess
    crew: Crew
    rng: random.Random
    done: list[Deed] = field(default_factory=list)
    redis_deaths: list[int] = field(default_factory=list)
    """When Redis was killed, in ms."""

    async def carry_out(self, plan: list[Planned]) -> None:
        began = time.monotonic()
        async with AofWatch(self.server) as watch, asyncio.TaskGroup() as tasks:
            for planned in plan:
                await asyncio.sleep(max(0.0, began + planned.at - time.monotonic()))
                if planned.deed is Deed.FREEZE:
                    tasks.create_task(self.crew.freeze(self.rng, planned.seconds))
                elif planned.deed is Deed.DRAIN:
                    tasks.create_task(self.crew.drain(self.rng))
                elif planned.deed is Deed.KILL:
                    await self.crew.kill(self.rng)
                else:
                    await self._end_redis(planned, watch)
                self.done.append(planned.deed)

    async def _end_redis(self, planned: Planned, watch: AofWatch) -> None:
        if planned.deed is Deed.REDIS_RESTART:
            await asyncio.to_thread(self.server.stop)
        else:
            self.redis_deaths.append(time.time_ns() // 1_000_000)
            await asyncio.to_thread(self.server.kill9)
        if planned.deed is Deed.POWER_CUT:
            watch.cut(self.redis_deaths[-1] / 1000 - self.rng.uniform(0, 1))
        await asyncio.sleep(planned.seconds)
        await asyncio.to_thread(self.server.start)
