"""Masters die under load and replicas take over, by themselves: what is lost, and who stands still for how long."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

import zart_redis as zart
from tests.soak.app import fulfil
from tests.soak.orders import Order
from tests.soak.processes import WorkerPool
from tests.soak.verdict import Check
from tests.support.failover import FailoverSetup, cluster_setup, sentinel_setup
from zart_redis.layout import partition_of, prefix

PARTITIONS = 12
CALLERS_OF_EACH = 4
"""So that the callers of one partition do not wait for another."""
CALM_SECONDS = 3.0
"""Of load before and after each death."""


class Topology(StrEnum):
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


SETUPS = {Topology.SENTINEL: sentinel_setup, Topology.CLUSTER: cluster_setup}


class Death(NamedTuple):
    at: float
    over: float
    """When a replica had taken over."""
    partitions: frozenset[int]
    """Those that the dead master held."""


class Stall(NamedTuple):
    """In seconds."""

    take_over: float
    own: float
    """The longest time without a result in a partition of the dead master."""
    others: float | None
    """The same in one of another master. None if there is none."""


@dataclass
class Report:
    checks: list[Check]
    stalls: list[Stall]

    @property
    def passed(self) -> bool:
        return not any(check.wrong for check in self.checks)


async def soak_failover(topology: Topology, binary: Path, deaths: int, ack: str, rng: random.Random) -> Report:
    """With `replicas:1` no start that was acknowledged may be lost, and a new master takes none before it has a replica
    of its own. With `memory` some may be lost."""
    folder = Path(tempfile.mkdtemp(prefix="zart-soak-"))
    try:
        async with (
            SETUPS[topology](binary) as setup,
            zart.DurableScheduler(setup.url, partitions=PARTITIONS, ack=ack) as scheduler,
        ):
            await scheduler.stats()  # fixes the number of partitions
            pool = WorkerPool(setup.url, folder, ack)
            try:
                return await _run(scheduler, pool, setup, deaths, rng)
            finally:
                await pool.close()
    finally:
        shutil.rmtree(folder)


async def _run(
    scheduler: zart.DurableScheduler, pool: WorkerPool, setup: FailoverSetup, deaths: int, rng: random.Random
) -> Report:
    await pool.start(2)
    load = _Load(scheduler)
    async with asyncio.TaskGroup() as callers:
        for partition in range(PARTITIONS):
            for _ in range(CALLERS_OF_EACH):
                callers.create_task(load.call(partition))
        await asyncio.sleep(CALM_SECONDS)
        died = [await _one_death(setup, rng) for _ in range(deaths)]
        load.stop()
    wrong = await load.not_completed()
    findings = [str(finding) for finding in await scheduler.doctor()]
    checks = [
        Check("acknowledged starts have completed", load.started, wrong, f"{len(load.lost)} lost"),
        Check("the doctor finds nothing", load.started, findings),
        Check("workers went on", 2, [f"exit code {code}" for code in pool.unexpected_exits]),
    ]
    return Report(checks, [load.stall(death) for death in died])


async def _one_death(setup: FailoverSetup, rng: random.Random) -> Death:
    masters = [await asyncio.to_thread(setup.master_of, prefix("zart", each)) for each in range(PARTITIONS)]
    victim = rng.choice(masters)
    held = frozenset(partition for partition, master in enumerate(masters) if master is victim)
    at = time.monotonic()
    await setup.fail_over(victim)
    over = time.monotonic()
    await asyncio.sleep(CALM_SECONDS)
    await setup.bring_back(victim)
    await asyncio.sleep(CALM_SECONDS)
    return Death(at, over, held)


class _Load:
    """Callers of each partition, which start executions and wait for their results, one after another."""

    def __init__(self, scheduler: zart.DurableScheduler) -> None:
        self.lost: list[str] = []
        """The ids of starts that were acknowledged, and that Redis knows nothing of."""
        self._acknowledged: list[str] = []
        self._results: dict[int, list[float]] = {partition: [] for partition in range(PARTITIONS)}
        self._scheduler = scheduler
        self._numbers = itertools.count()
        self._stopping = False

    @property
    def started(self) -> int:
        return len(self._acknowledged)

    def stop(self) -> None:
        self._stopping = True

    async def call(self, partition: int) -> None:
        while not self._stopping:
            order = next(each for each in map(_order, self._numbers) if partition_of(each.id, PARTITIONS) == partition)
            await _insist(partial(self._start, order))
            self._acknowledged.append(order.id)
            with suppress(zart.ExecutionNotFound):  # lost, as is seen later
                await _insist(partial(self._scheduler.wait_for, fulfil, order.id))
                self._results[partition].append(time.monotonic())

    async def _start(self, order: Order) -> None:
        with suppress(zart.ExecutionAlreadyExists):  # by an earlier call of ours, which was not acknowledged
            await self._scheduler.start_for(fulfil, order.id, order)

    async def not_completed(self) -> list[str]:
        """What has become of acknowledged starts otherwise. A result may be lost with a master, and is made again."""
        wrong: list[str] = []
        for id in self._acknowledged:
            try:
                record = await self._scheduler.wait(id, "30s")
                if record.status is not zart.ExecutionStatus.COMPLETED:
                    wrong.append(f"{id} is {record.status}: {record.error}")
            except zart.ExecutionNotFound:
                self.lost.append(id)
            except zart.WaitTimedOut as error:
                wrong.append(str(error))
        return wrong if self._scheduler.settings.ack == "memory" else [*wrong, *(f"{id} is lost" for id in self.lost)]

    def stall(self, death: Death) -> Stall:
        own = [_gap(times, death) for partition, times in self._results.items() if partition in death.partitions]
        others = [_gap(times, death) for partition, times in self._results.items() if partition not in death.partitions]
        return Stall(death.over - death.at, max(own), max(others, default=None))


def _gap(times: Sequence[float], death: Death) -> float:
    """The longest pause between results that overlaps the time from a death to a second after the take-over."""
    return max(after - before for before, after in pairwise(times) if before < death.over + 1 and after > death.at)


async def _insist(call: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await call()
            return
        except zart.RedisUnavailable:
            await asyncio.sleep(0.05)


def _order(number: int) -> Order:
    return Order(number, link_ms=1, parts=0, nap_ms=0, event=False, flaky=False)


def as_table(stalls: Sequence[Stall], title: str) -> Table:
    columns = ("death", "a replica took over after", "no result in its partitions for", "in others for")
    table = Table(*columns, title=title, title_justify="left")
    for number, stall in enumerate(stalls, 1):
        table.add_row(str(number), *("" if seconds is None else f"{seconds:.1f} s" for seconds in stall))
    return table
