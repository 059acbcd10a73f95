"""The doctor: holds a live Redis against the second law and the indexes, in bounded lots, and mends what it is told to.

It stops nothing. What changes while it looks is looked at again before it is reported or mended, since each verdict is
made inside one script.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from zart_redis.client.connection import Client
from zart_redis.store.store import Partition

EXAMINED_AT_ONCE = 100


class Ailment(StrEnum):
    """What can be wrong."""

    LOST = "lost"
    """Live, and nothing will ever wake it."""
    ENTRY = "entry"
    """Live and queued, but its stream entry is gone."""
    CHILD = "child"
    """A scheduled step that nothing holds."""
    STATUS = "status"
    """Its status is none that exists. Not mended: nothing says what it was."""
    INDEX = "index"
    """Not listed where its status says, or listed twice."""
    EXPIRY = "expiry"
    """Finished, and will never expire."""
    LEFTOVER = "leftover"
    """Finished, and owns waits, timers or scheduled steps."""
    DAMAGED = "damaged"
    """It cannot be read, or could not be and was set aside. What can be read again is queued again; the rest is not
    mended: cancel it, or begin a new run."""
    ORPHAN = "orphan"
    """Keys or index entries of an execution, or of a run, that does not exist."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `subject` is an execution's id, or a key."""

    ailment: Ailment
    subject: str
    detail: str = ""


class Doctor(Client):
    async def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Everything that is wrong in the namespace; with `repair`, mended: what was lost is queued again, what belongs
        to nothing is removed."""
        store = await self._open()
        return [finding for partition in store.partitions async for finding in _examine(partition, repair)]


async def _examine(partition: Partition, repair: bool) -> AsyncIterator[Finding]:
    seen: set[tuple[str, str]] = set()
    async for ids in partition.queries.known_ids(EXAMINED_AT_ONCE):
        for execution_id, verdict in await partition.transitions.examine(ids, repair):
            word, _, detail = verdict.partition(" ")
            if (execution_id, verdict) not in seen:
                seen.add((execution_id, verdict))
                yield Finding(Ailment(word), execution_id, detail)
    async for orphans in partition.queries.orphans(EXAMINED_AT_ONCE):
        for key in await partition.transitions.discard(orphans, repair):
            yield Finding(Ailment.ORPHAN, f"{partition.prefix}{key}")
