"""Queues the work of dead workers again.

The heartbeats report workers whose lease has expired. From time to time a worker also looks for consumers without a
lease, as a failover that lost the leases leaves them.
"""

from __future__ import annotations

import asyncio
import random

from redis import exceptions

from zart_redis.engine.observer import Observer
from zart_redis.layout import Cause
from zart_redis.logs import get_logger
from zart_redis.settings import Settings
from zart_redis.store.replies import Death
from zart_redis.store.store import Partition
from zart_redis.worker.service import Service

log = get_logger()

RECLAIM_BATCH = 100
"""Entries queued again by one script."""
SCAN_SECONDS = 60.0
"""Mean time between two scans for consumers without a lease."""
PATIENCE_LEASES = 10
"""A lapse of the lease counts as a death unless the worker is back within so many leases."""
LAPSED = Death(Cause.LAPSE, "its heartbeats ended")
LEFT = Death(Cause.LEAVING, "it has left")


async def reclaim(partition: Partition, dead: str, settings: Settings, death: Death = LAPSED) -> int:
    """Queue again all that a worker holds in a partition, and hold its death against it. Returns the number of
    entries."""
    total, more, patience_ms = 0, True, PATIENCE_LEASES * settings.lease
    while more:
        more, moved = await partition.transitions.reclaim(
            dead, RECLAIM_BATCH, death, settings.max_deliveries, patience_ms, resumed=total > 0
        )
        total += moved
    return total


class Recovery(Service):
    """The recovery of one partition."""

    def __init__(self, partition: Partition, worker: str, settings: Settings, observer: Observer) -> None:
        self._partition = partition
        self._worker = worker
        self._settings = settings
        self._observer = observer
        self._dead: asyncio.Queue[str] = asyncio.Queue()

    def report_dead(self, worker: str) -> None:
        """The lease of a worker has expired."""
        self._dead.put_nowait(worker)

    async def run(self) -> None:
        await self._reclaim(await self._without_lease())
        while True:
            try:
                async with asyncio.timeout(SCAN_SECONDS * random.uniform(0.5, 1.5)):
                    dead = [await self._dead.get()]
            except TimeoutError:
                dead = await self._without_lease()
            await self._reclaim(dead)

    async def _reclaim(self, dead: list[str]) -> None:
        for worker in dead:
            entries = await reclaim(self._partition, worker, self._settings)
            if entries and worker != self._worker:
                self._observer.reclaimed(worker, entries)

    async def _without_lease(self) -> list[str]:
        try:
            return [
                worker for worker in await self._partition.queries.consumers_without_lease() if worker != self._worker
            ]
        except exceptions.RedisError as error:
            log.warning("cannot scan for consumers without a lease", error=str(error))
            return []
