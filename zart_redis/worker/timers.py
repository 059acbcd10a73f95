"""Fires the timers of one partition: those that are due, then sleeps until the next one, or until it is notified of an
earlier one. Every worker does this; the first one fires a timer, and the others find nothing to do."""

from __future__ import annotations

import asyncio

from zart_redis.engine.observer import Observer
from zart_redis.model import Clock
from zart_redis.store.store import Partition, Store
from zart_redis.worker.mail import deliver_all
from zart_redis.worker.recurring import handle_ticks
from zart_redis.worker.service import Service, Subscribe
from zart_redis.worker.unreadable import set_aside

FIRST_TIMER_BATCH, TIMER_BATCH = 16, 200
"""Timers fired by one script, so that a million due at once do not block the server. The first batch is small: the
earliest timers need not wait for a large one."""
PURGE_BATCH = 100
MAX_SLEEP_SECONDS = 60.0
"""A lost message about an earlier timer delays it by at most this."""


class Timers(Service):
    """A clock supplied by a test does not move by itself; then the service only wakes when it is notified."""

    def __init__(self, store: Store, partition: Partition, clock: Clock, observer: Observer) -> None:
        self._store = store
        self._partition = partition
        self._clock = clock
        self._observer = observer
        self._changed = asyncio.Event()

    async def listen(self, subscribe: Subscribe) -> None:
        await subscribe(self._partition.timers_channel, lambda _: self._changed.set())

    async def run(self) -> None:
        batch = FIRST_TIMER_BATCH
        while True:
            self._changed.clear()
            due = await self._partition.transitions.due(batch)
            for work in due.unreadable:
                await set_aside(self._partition, work, self._observer)
            if due.recurring:
                await handle_ticks(self._store, due.recurring, due.now)
            if due.mails:
                await deliver_all(self._store, self._partition, due.mails)
            if due.next_expiry is not None and due.next_expiry <= due.now:
                await self._partition.transitions.purge(PURGE_BATCH)
                continue
            if due.fired == batch:
                batch = min(2 * batch, TIMER_BATCH)
                continue
            batch = FIRST_TIMER_BATCH
            moments = [moment for moment in (due.next_timer, due.next_expiry) if moment is not None]
            seconds = MAX_SLEEP_SECONDS
            if moments and self._clock() is None:
                seconds = max(0, min(moments) - due.now) / 1000
            try:
                async with asyncio.timeout(min(seconds, MAX_SLEEP_SECONDS)):
                    await self._changed.wait()
            except TimeoutError:
                pass
