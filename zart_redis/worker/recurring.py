"""Ticks of recurring executions, which the timers bring up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zart_redis.errors import SchedulerError, SerializationError
from zart_redis.logs import get_logger
from zart_redis.store import occurrences
from zart_redis.store.store import Store

log = get_logger()


async def handle_ticks(store: Store, ids: Sequence[str], now: int) -> None:
    """Start the occurrences that are due. A recurring execution that cannot be read does not keep others from starting
    theirs; it is tried again later."""
    await asyncio.gather(*(_handle(store, id, now) for id in ids))


async def _handle(store: Store, id: str, now: int) -> None:
    try:
        await occurrences.handle_ticks(store, id, now)
    except (SerializationError, SchedulerError) as error:
        log.error("a tick of a recurring execution failed; it is tried again", recurring_id=id, error=str(error))
