"""Queues what has been held by other code, once, when this worker starts."""

from __future__ import annotations

from collections.abc import Sequence

from zart_redis.store.store import Partition
from zart_redis.worker.service import Service

HELD_BATCH = 200
"""Held bodies and steps queued by one script."""


class HeldWork(Service):
    """`code` identifies the code of this worker: what the same code has held already is left as it is."""

    def __init__(self, partitions: Sequence[Partition], code: str) -> None:
        self._partitions = partitions
        self._code = code

    async def run(self) -> None:
        for partition in self._partitions:
            await partition.transitions.retry_held(self._code, HELD_BATCH)
        await super().run()
