"""What a write must have reached before it is acknowledged: the setting `ack`, in terms of this Redis.

A server with `appendfsync always` replies after the write is on its disk, so `fsync` demands that. (WAITAOF is not
enough: with `appendfsync everysec` some servers confirm too early, others a second late.) Replicas are waited for by a
command at the end of each pipeline; a reply below what was asked for is no acknowledgement.
"""

from __future__ import annotations

from typing import Any

from redis import exceptions

from zart_redis.errors import ConfigurationError
from zart_redis.store.batches import Command
from zart_redis.store.connections import Connections
from zart_redis.store.redis_errors import retryable
from zart_redis.store.sockets import SafeConnection, exchange, round_trip

WAIT_MS = 1_000
"""How long one WAIT lasts; it is repeated for as long as the caller has patience."""

_DISK_SETTINGS: Command = ("CONFIG", "GET", "append*")


async def confirmation(ack: str, connections: Connections) -> Command | None:
    """The WAIT command that ends a pipeline with writes. Its reply must be at least its first argument. None if there
    is nothing to wait for.

    With `fsync` each connection that is made from now on is refused unless its server still writes to its disk.

    Raises:
        ConfigurationError: a server does not write to its disk as `ack` demands.
    """
    word, _, replicas = ack.partition(":")
    if word == "replicas":
        return ("WAIT", int(replicas), WAIT_MS)
    if word != "fsync":
        return None
    for name, client in connections.nodes():
        try:
            (reply,) = await round_trip(client, [_DISK_SETTINGS])
        except exceptions.RedisError as error:
            if not retryable(error) or len(connections.nodes()) == 1:
                raise
            continue  # a master that is away is asked when it is back
        if (problem := _problem(reply)) is not None:
            raise ConfigurationError(f'ack="fsync" {problem} ({name})')
    connections.greet_with(_demand_disk)
    return None


async def _demand_disk(connection: SafeConnection) -> None:
    """Raises a ConnectionError, since the server may be set right while a worker holds its results."""
    (reply,) = await exchange(connection, [_DISK_SETTINGS])
    if (problem := _problem(reply)) is not None:
        raise exceptions.ConnectionError(f'ack="fsync" {problem}')


def _problem(reply: Any) -> str | None:
    """Why the server does not write to its disk before it replies; None if it does."""
    if isinstance(reply, Exception):
        if retryable(reply):
            raise reply
        return f"needs the right to CONFIG GET ({reply}): ACL SETUSER <user> +config|get"
    settings = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
    if settings.get("appendonly") != "yes":
        return "needs an append-only file: set appendonly yes and appendfsync always"
    if settings.get("appendfsync") != "always":
        return f"needs appendfsync always; it is {settings.get('appendfsync')}"
    return None
