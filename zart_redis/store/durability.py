"""What a write must have reached before it is acknowledged: the setting `ack`, in terms of this Redis.

A server that fsyncs its AOF always has a write on its disk before it answers; any other is asked to wait, by one
command at the end of each pipeline. An answer that says less than was asked for is no acknowledgement.
"""

from __future__ import annotations

import re
from typing import Any

from redis import exceptions
from redis.asyncio import Redis

from zart_redis.errors import ConfigurationError
from zart_redis.store.commits import Command
from zart_redis.store.connections import Connections

WAIT_MS = 1_000
"""How long one WAIT lasts; it is asked again for as long as the caller has patience."""

WAITAOF_SINCE = (7, 2)


async def confirmation(ack: str, connections: Connections) -> Command | None:
    """The command at the end of a pipeline that writes: its answer, or the first part of it, must be at least its
    second word. None if there is nothing to wait for.

    Raises:
        ConfigurationError: a server does not write to its disk as `ack` demands.
    """
    word, _, replicas = ack.partition(":")
    if word == "replicas":
        return ("WAIT", int(replicas), WAIT_MS)
    if word != "fsync":
        return None
    can_wait = [await _check_disk(name, client) for name, client in connections.nodes()]
    return ("WAITAOF", 1, 0, WAIT_MS) if all(can_wait) else None


async def _check_disk(name: str, client: Redis) -> bool:
    """Whether the server can be told to wait for its disk; else it must do so always."""
    server: dict[str, Any] = await client.info("server")
    state: dict[str, Any] = await client.info("persistence")
    if not state.get("aof_enabled"):
        raise ConfigurationError(
            f'ack="fsync" needs an append-only file, and {name} keeps none: set appendonly yes, and appendfsync always'
        )
    if tuple(map(int, re.findall(r"\d+", str(server["redis_version"]))[:2])) >= WAITAOF_SINCE:
        return True
    try:
        policy = (await client.config_get("appendfsync")).get("appendfsync", "unknown")
    except exceptions.ResponseError:
        policy = "hidden from us (CONFIG is denied)"
    if policy != "always":
        raise ConfigurationError(
            'ack="fsync" needs appendfsync always on a Redis before 7.2, which has no WAITAOF; '
            f"on {name} it is {policy}"
        )
    return False
