"""Stored work that cannot be read."""

from __future__ import annotations

from zart_redis.engine.observer import Observer
from zart_redis.model import Unreadable
from zart_redis.store.store import Partition


async def set_aside(partition: Partition, work: Unreadable, observer: Observer) -> None:
    """Move unreadable work out of the way, and report it."""
    if work.entry:
        await partition.transitions.set_aside(work)
    observer.set_aside(work)
