"""Upgrades a namespace of the unversioned layout, whose `meta` names no version.

All workers of that layout must have been stopped before. The keys are converted in batches, by the first process that
opens the namespace: several may do so at once, and one that is interrupted begins again.
"""

from __future__ import annotations

import asyncio

from zart_redis.logs import get_logger
from zart_redis.store.scans import Scans
from zart_redis.store.transitions import Transitions

log = get_logger()

SCAN_BATCH = 2000
SCRIPT_BATCH = 50
"""Keys converted by one script. One with more than 200 values is converted by several scripts."""


async def upgrade(transitions: Transitions, scans: Scans) -> None:
    """Upgrade one partition.

    Raises:
        ConfigurationError: a worker of the unversioned layout is alive.
    """
    log.info("upgrading the namespace from the unversioned layout", prefix=transitions.prefix)
    await transitions.upgrade("0", [])
    async for keys in scans.all_keys(SCAN_BATCH):
        batches = (keys[begin : begin + SCRIPT_BATCH] for begin in range(0, len(keys), SCRIPT_BATCH))
        for converted in await asyncio.gather(*(transitions.upgrade("0", batch) for batch in batches)):
            for large in converted.large_keys:
                await _upgrade_large(transitions, large)


async def _upgrade_large(transitions: Transitions, key: str) -> None:
    cursor = "0"
    while True:
        cursor = (await transitions.upgrade(cursor, [key])).cursor
        if cursor == "0":
            return
