"""Faults of workers and of Redis: a plan made from the seed, and its execution."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import redis

from tests.soak.power import AofWatch
from tests.soak.processes import LEASE_SECONDS, WorkerPool
from tests.support.servers import RedisProcess

USER, PASSWORD = "pools", "secret"
"""As whom the pools connect."""


class Fault(StrEnum):
    KILL = "pool killed -9"
    CRASH = "process of a pool killed -9"
    FREEZE = "pool frozen past its lease"
    DRAIN = "pool drained"
    REDIS_KILL = "Redis killed -9"
    REDIS_RESTART = "Redis restarted"
    POWER_CUT = "Redis killed, AOF cut back to the last fsync"
    AWAY = "Redis frozen"
    BUSY = "Redis busy with a script"
    PASSWORD = "password changed for a while"


SECONDS_PER_FAULT = {
    Fault.KILL: 12,
    Fault.CRASH: 8,
    Fault.FREEZE: 12,
    Fault.DRAIN: 12,
    Fault.REDIS_KILL: 20,
    Fault.REDIS_RESTART: 40,
    Fault.POWER_CUT: 20,
    Fault.AWAY: 20,
    Fault.BUSY: 30,
    Fault.PASSWORD: 30,
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
    least, most = {Fault.FREEZE: (1.3, 2), Fault.AWAY: (0.5, 3), Fault.BUSY: (0.5, 2), Fault.PASSWORD: (0.5, 3)}.get(
        fault, (0, 1 / LEASE_SECONDS)
    )
    return LEASE_SECONDS * rng.uniform(least, most)


def set_password(server: RedisProcess, password: str) -> None:
    """Change the password of the pools, and end their connections."""
    with server.connect() as client:
        run: Any = client.execute_command
        run("ACL", "SETUSER", USER, "resetpass", f">{password}")
        run("CLIENT", "KILL", "USER", USER)


def keep_busy(server: RedisProcess, seconds: float) -> None:
    """Let a script run that is none of the product's."""

    def run() -> None:
        with server.connect() as client, suppress(redis.RedisError):
            client.eval("while true do end", 0)

    with server.connect() as client:
        client.config_set("lua-time-limit", 50)
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(seconds)
        client.script_kill()
        thread.join()


@dataclass
class Chaos:
    """Carries out a plan. Redis suffers one fault at a time; workers may be frozen meanwhile."""

    server: RedisProcess
    pool: WorkerPool
    rng: random.Random
    done: list[Fault] = field(default_factory=list)
    redis_deaths: list[int] = field(default_factory=list)
    """When Redis was killed, in ms."""
    absences: list[tuple[float, float]] = field(default_factory=list)
    """From when to when Redis did not work for the pools, in seconds."""

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
                elif planned.fault is Fault.CRASH:
                    await self.pool.crash(self.rng)
                else:
                    left = time.time()
                    await self._disturb_redis(planned, watch)
                    self.absences.append((left, time.time()))
                self.done.append(planned.fault)

    def excused(self) -> set[int]:
        """The processes whose steps may run again elsewhere: they died, or were drained while Redis was away."""
        drained = [
            pid
            for drain in self.pool.drains
            for left, back in self.absences
            if drain.began < back + LEASE_SECONDS and left < drain.ended
            for pid in drain.pids
        ]
        return {*drained, *self.pool.were_killed, *self.pool.were_frozen}

    async def _disturb_redis(self, planned: Planned, watch: AofWatch) -> None:
        if planned.fault is Fault.AWAY:
            self.server.freeze()
            await asyncio.sleep(planned.seconds)
            self.server.unfreeze()
        elif planned.fault is Fault.BUSY:
            await asyncio.to_thread(keep_busy, self.server, planned.seconds)
        elif planned.fault is Fault.PASSWORD:
            await asyncio.to_thread(set_password, self.server, "other")
            await asyncio.sleep(planned.seconds)
            await asyncio.to_thread(set_password, self.server, PASSWORD)
        else:
            await self._end_redis(planned, watch)

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
