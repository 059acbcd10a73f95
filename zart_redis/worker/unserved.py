"""Takes the work that waits for a worker of a version that this one runs.

Workers that cannot run it have put it there, see `scripts/claim.lua`, and notified all others.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import msgspec

from zart_redis.engine.observer import Observer
from zart_redis.layout import Lane
from zart_redis.model import Unreadable
from zart_redis.registry import handlers as declared
from zart_redis.store.store import Partition
from zart_redis.worker.claim import CLAIM_BATCH, pending_unknown
from zart_redis.worker.execute import Executor
from zart_redis.worker.service import Service, Subscribe
from zart_redis.worker.unreadable import set_aside


class UnservedWork(Service):
    """The unserved work of one partition."""

    def __init__(
        self, partition: Partition, worker: str, queues: Sequence[str], executor: Executor, observer: Observer
    ) -> None:
        self._partition = partition
        self._worker = worker
        self._queues = queues
        self._executor = executor
        self._observer = observer
        self._declared: Callable[[], object] | None = None
        self._may_exist = asyncio.Event()
        self._may_exist.set()
        self._seen_gaps = self._gaps()
        executor.unreleased_listeners.append(self._may_exist.set)

    async def listen(self, subscribe: Subscribe) -> None:
        await subscribe(self._partition.unserved_channel, self._hear)
        if self._executor.handlers.may_grow:
            loop = asyncio.get_running_loop()
            self._declared = functools.partial(loop.call_soon_threadsafe, self._may_exist.set)
            declared.listeners.append(self._declared)

    async def stop(self) -> None:
        if self._declared is not None:
            declared.listeners.remove(self._declared)

    def _hear(self, message: bytes | None) -> None:
        if message is None or self._concerns_us(message):
            self._may_exist.set()

    def _concerns_us(self, message: bytes) -> bool:
        try:
            task, queue, version = msgspec.json.decode(message, type=tuple[str, str, int])
        except msgspec.MsgspecError:
            return True  # a hint that cannot be read: look
        return queue in self._queues and self._executor.handlers.can_run(task, version)

    async def run(self) -> None:
        slots, partition = self._executor.slots, self._partition
        delivered: list[tuple[str, str]] = []
        while True:
            await self._may_exist.wait()
            taken = await slots.take(CLAIM_BATCH)
            self._may_exist.clear()
            started = 0
            try:
                if self._gaps() != self._seen_gaps:
                    self._seen_gaps = self._gaps()
                    delivered = await pending_unknown(
                        partition, self._worker, self._queues, self._executor, [Lane.HANDED]
                    )
                now, delivered = delivered[:taken], delivered[taken:]
                most, ranges = taken - len(now), self._executor.handlers.ranges
                claims = await partition.transitions.claim(
                    self._worker, most, self._queues, now, Lane.HANDED, handlers=ranges
                )
                started = self._executor.begin_all(self._partition, claims)
            except BaseException:
                self._may_exist.set()
                raise
            finally:
                slots.give(taken - started)
            for claim in claims:
                if isinstance(claim, Unreadable):
                    await set_aside(self._partition, claim, self._observer)
            if delivered or len(claims) >= taken or self._gaps() != self._seen_gaps:
                self._may_exist.set()

    def _gaps(self) -> int:
        """Changes whenever handed work may be pending for this worker that it does not run."""
        return self._partition.commits.interruptions + self._executor.unreleased_claims
