"""The doctor: checks a live Redis for lost, damaged and orphaned work, in bounded batches, and repairs it on request.

Nothing is stopped meanwhile: each verdict, and each repair, is made inside one script.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from zart_redis.client.connection import Client
from zart_redis.errors import SerializationError
from zart_redis.layout import Key, Timer
from zart_redis.limits import limit_in_words
from zart_redis.store import occurrences
from zart_redis.store.store import Partition

EXAMINED_AT_ONCE = 100
UNSERVED_SECONDS = 5
"""How long work must have waited for a worker that can run it before it is a problem."""
MORE = "more"
"""The word for an execution with many scheduled steps, which are checked by separate scripts."""


class Problem(StrEnum):
    """What can be wrong with an execution or a key."""

    LOST = "lost"
    """Live, and nothing will ever wake it."""
    ENTRY = "entry"
    """Live and queued, but its stream entry is gone; or held by a worker, but not pending."""
    TIMER = "timer"
    """Live, and its timer is missing or later than what is due first."""
    CHILD = "child"
    """A scheduled step that nothing holds."""
    STATUS = "status"
    """Its status is unknown. Not repaired: nothing says what it was."""
    INDEX = "index"
    """Not listed where its status or its tags say, or listed twice."""
    EXPIRY = "expiry"
    """Finished, and will never expire; or live, and will."""
    LEFTOVER = "leftover"
    """Finished, and owns waits, timers or scheduled steps."""
    DAMAGED = "damaged"
    """It cannot be read, or could not be read and was set aside. If it can be read again, the repair queues it;
    otherwise cancel it, or begin a new run."""
    NEWER = "newer"
    """Written by a newer version, or by a stranger. Not repaired: this version leaves it as it is."""
    ORPHAN = "orphan"
    """Keys or index entries of an execution, or of a run, that does not exist."""
    HELD = "held"
    """No code here can continue it: its task or step is unknown, or what is recorded does not fit the code. Not
    repaired: it resumes by itself when code that fits is there."""
    LIMIT = "limit"
    """A slot of a limit that is not counted, or that nobody uses; or a line that does not move."""
    RECURRING = "recurring"
    """A recurring execution that will start nothing, since its timer is missing; or that cannot be read, which is not
    repaired: start it again."""
    UNREAD = "unread"
    """A queue with work, from which no live worker takes any. Not repaired: start a worker with this queue."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `subject` is an execution's id, or a key."""

    problem: Problem
    subject: str
    detail: str = ""
    age_seconds: float | None = None
    """How long work has been held, or the oldest of it unread."""


class Doctor(Client):
    async def doctor(self, *, repair: bool = False) -> list[Finding]:
        """Every problem in the namespace. With `repair`, lost work is queued again and orphans are removed."""
        store = await self._open()
        found = [finding for partition in store.partitions async for finding in _examine(partition, repair)]
        for partition in store.partitions:
            found += [finding async for finding in _held(partition, await self._time(partition))]
            found += await _unread(partition)
            found += [finding async for finding in _recurring(partition, repair)]
        return found


async def _examine(partition: Partition, repair: bool) -> AsyncIterator[Finding]:
    seen: set[tuple[str, str]] = set()
    async for ids in partition.scans.known_ids(EXAMINED_AT_ONCE):
        for execution_id, verdict in await partition.transitions.check(ids, repair):
            if (execution_id, verdict) in seen:
                continue
            seen.add((execution_id, verdict))
            word, _, detail = verdict.partition(" ")
            if word == MORE:
                for finding in await _check_steps(partition, execution_id, repair):
                    yield finding
            else:
                yield Finding(Problem(word), execution_id, detail)
    async for row in partition.transitions.read_limits("counters"):
        for detail in await partition.transitions.check_limit(row.counter, repair):
            yield Finding(Problem.LIMIT, limit_in_words(row.counter), detail)
    async for orphans in partition.scans.orphans(EXAMINED_AT_ONCE):
        for key in await partition.transitions.delete_orphans(orphans, repair):
            yield Finding(Problem.ORPHAN, f"{partition.prefix}{key}")
    async for subject, detail in partition.scans.newer(EXAMINED_AT_ONCE):
        yield Finding(Problem.NEWER, subject, detail)


async def _held(partition: Partition, now: int) -> AsyncIterator[Finding]:
    async for work in partition.transitions.read_held(EXAMINED_AT_ONCE):
        age = (now - work.since) / 1000
        if age >= UNSERVED_SECONDS:
            yield Finding(Problem.HELD, work.execution_id, work.reason, age)


async def _recurring(partition: Partition, repair: bool) -> AsyncIterator[Finding]:
    for recurring_id in await occurrences.all_ids(partition):
        try:
            stored = await occurrences.read(partition, recurring_id)
        except SerializationError as error:
            yield Finding(Problem.RECURRING, recurring_id, str(error))
            continue
        if stored is None or stored.is_paused or stored.due is None:
            continue
        if not await partition.queries.has_timer(Timer.RECURRING, recurring_id):
            yield Finding(Problem.RECURRING, recurring_id, "its timer is missing")
            if repair:
                await partition.transitions.pause_recurring(recurring_id, False, stored.due)


async def _unread(partition: Partition) -> list[Finding]:
    read = {queue for worker in await partition.queries.workers() for queue in worker.queues}
    found = []
    for queue, depth in (await partition.queries.queues()).items():
        age = (depth.oldest_ms or 0) / 1000
        if queue not in read and age >= UNSERVED_SECONDS:
            waiting = depth.queued + depth.held
            detail = f"no worker takes work from queue {queue!r}, in which {waiting} bodies and scheduled steps wait"
            found.append(Finding(Problem.UNREAD, Key.QUEUE.of(partition.prefix, queue), detail, age))
    return found


async def _check_steps(partition: Partition, execution_id: str, repair: bool) -> list[Finding]:
    try:
        names = await partition.transitions.check_steps(execution_id, repair)
    except SerializationError as error:
        return [Finding(Problem.DAMAGED, execution_id, str(error))]
    return [Finding(Problem.CHILD, execution_id, name) for name in names]
