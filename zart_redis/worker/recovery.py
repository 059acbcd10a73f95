"""Recovery: what dead workers held is queued again.

The lease thread of every worker names those whose lease has ended. Now and then one looks for strays too: consumers
of which no lease is known, as after a failover that lost it.
"""

from __future__ import annotations

import asyncio
import random

from redis import exceptions

from zart_redis.logs import get_logger
from zart_redis.store.store import Partition

log = get_logger()

MOST_AT_ONCE = 100
"""Entries requeued by one script."""
STRAYS_EVERY_SECONDS = 60.0


class RecoveryLoop:
    """Of one partition."""

    def __init__(self, partition: Partition, worker: str, max_deliveries: int) -> None:
        self._partition = partition
        self._worker = worker
        self._max_deliveries = max_deliveries
        self._dead: asyncio.Queue[str] = asyncio.Queue()

    def bury(self, worker: str) -> None:
        """A worker's lease has ended."""
        self._dead.put_nowait(worker)

    async def run(self) -> None:
        for stray in await self._strays():
            await self.reclaim(stray)
        while True:
            try:
                async with asyncio.timeout(STRAYS_EVERY_SECONDS * random.uniform(0.5, 1.5)):
                    dead = [await self._dead.get()]
            except TimeoutError:
                dead = await self._strays()
            for worker in dead:
                await self.reclaim(worker)

    async def reclaim(self, dead: str) -> None:
        """Queue again all that `dead` holds, in bounded scripts."""
        total, more = 0, True
        while more:
            more, moved = await self._partition.transitions.reclaim(dead, MOST_AT_ONCE, self._max_deliveries)
            total += moved
        if total and dead != self._worker:
            log.warning("recovered the work of a dead worker", worker=dead, requeued=total)

    async def _strays(self) -> list[str]:
        try:
            return [stray for stray in await self._partition.queries.strays() if stray != self._worker]
        except exceptions.RedisError as error:
            log.warning("cannot look for the work of workers that are not known", error=str(error))
            return []
