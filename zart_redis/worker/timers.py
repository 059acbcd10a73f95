"""The timer loop of one partition: fires what is due, then sleeps until the next timer, or until it is told of an
earlier one. Every worker runs it; whoever comes first fires, and the others find nothing to do."""

from __future__ import annotations

import asyncio

from zart_redis.store.commits import Clock
from zart_redis.store.store import Partition
from zart_redis.worker.execute import set_aside

FIRST_AT_ONCE, MOST_AT_ONCE = 16, 200
"""Timers fired by one script; a million due at once are fired in as many bounded scripts as it takes. The first one is
short, so that what comes first need not wait for the rest."""
PURGED_AT_ONCE = 100
LONGEST_SLEEP_SECONDS = 60.0
"""A lost message about an earlier timer costs at most this."""


class TimerLoop:
    """A clock that a test supplies does not move by itself: then the loop only wakes when it is told."""

    def __init__(self, partition: Partition, clock: Clock) -> None:
        self._partition = partition
        self._clock = clock
        self._told = asyncio.Event()

    def tell(self, message: bytes | None) -> None:
        """There is an earlier timer now, or there may be."""
        self._told.set()

    async def run(self) -> None:
        most = FIRST_AT_ONCE
        while True:
            self._told.clear()
            due = await self._partition.transitions.due(most)
            for work in due.unreadable:
                await set_aside(self._partition, work)
            if due.next_expiry is not None and due.next_expiry <= due.now:
                await self._partition.transitions.purge(PURGED_AT_ONCE)
                continue
            if due.fired == most:
                most = min(2 * most, MOST_AT_ONCE)
                continue
            most = FIRST_AT_ONCE
            moments = [moment for moment in (due.next_timer, due.next_expiry) if moment is not None]
            seconds = LONGEST_SLEEP_SECONDS
            if moments and self._clock() is None:
                seconds = max(0, min(moments) - due.now) / 1000
            try:
                async with asyncio.timeout(min(seconds, LONGEST_SLEEP_SECONDS)):
                    await self._told.wait()
            except TimeoutError:
                pass
