"""Tells the store the numbers of the limits that this worker declares: those of the newest worker count."""

from __future__ import annotations

from collections.abc import Sequence

from zart_redis.limits import Limit
from zart_redis.store.store import Partition
from zart_redis.worker.known import KnownHandlers
from zart_redis.worker.service import Service, Subscribe


class DeclaredLimits(Service):
    def __init__(self, partitions: Sequence[Partition], handlers: KnownHandlers) -> None:
        self._partitions = partitions
        self._handlers = handlers

    async def listen(self, subscribe: Subscribe) -> None:
        limits: set[Limit] = {use.limit for handler in self._handlers for use in handler.limits}
        for partition in self._partitions:
            for limit in limits:
                await partition.transitions.declare_limit(limit.name, limit.numbers)
