"""Leases of workers: what a heartbeat renews."""

import pytest
import redis

from zart_redis.layout import Cause
from zart_redis.model import server_clock
from zart_redis.store.commits import Commits
from zart_redis.store.connections import Connections
from zart_redis.store.replies import Death
from zart_redis.store.transitions import Joining, Transitions, heartbeat_command, read_heartbeat

pytestmark = pytest.mark.anyio

LEASE_MS = 60_000


async def test_a_late_heartbeat_does_not_revive_a_worker_that_was_found_dead(
    redis_url: str, prefix: str, raw: redis.Redis
) -> None:
    """It was under way when the process died, and Redis got it after the pool had reported the death."""
    connections = await Connections.open(redis_url)
    commits = Commits(connections, prefix, patience=5)
    zart = Transitions(commits, prefix, server_clock)

    async def is_alive(joining: Joining) -> bool:
        return read_heartbeat(await commits.submit(heartbeat_command(prefix, "w", LEASE_MS, joining, b"{}"))).alive

    try:
        assert await is_alive("1")
        assert await is_alive("0")
        await zart.leave("w")
        assert not await is_alive("0")
        await zart.reclaim("w", 10, Death(Cause.CRASH, "signal SIGSEGV"), 5, 1000)
        assert raw.zscore(f"{prefix}workers", "w") is None
        assert not await is_alive("0")
        assert await is_alive("again")
    finally:
        await commits.close()
        await connections.close()
