"""redis-py's connections, made safe to cancel, and many commands in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, Self, cast

import hiredis
import redis
from redis import exceptions
from redis.asyncio import Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.connection import AbstractConnection as ThreadConnection
from redis.typing import EncodableT

from zart_redis.redis_url import RedisUrl

# In C, and several times faster than redis-py's own; its stub knows tuples of one only.
_pack = cast("Callable[[tuple[EncodableT, ...]], bytes]", hiredis.pack_command)


class Reader:
    """One connection, for reads that block. Use it as `async with connections.blocking(...) as reader:`, and take a new
    one after a failure."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def __aenter__(self) -> Self:
        pool: Any = self._client.connection_pool
        self._connection: SafeConnection = await pool.get_connection()
        return self

    async def __aexit__(self, *_: object) -> None:
        pool: Any = self._client.connection_pool
        await pool.release(self._connection)
        await pool.disconnect()

    async def read(self, *command: EncodableT) -> Any:
        """The reply. Raises redis-py's errors, that of a command which is refused included."""
        (answer,) = await exchange(self._connection, [command])
        if isinstance(answer, Exception):
            raise answer
        return answer


async def round_trip(client: Redis, commands: Sequence[tuple[EncodableT, ...]]) -> list[Any]:
    """Send all commands at once over one connection and read all their replies, in order.

    A command that Redis refuses has its `ResponseError` in its place in the list; the others are unaffected.
    Raises redis-py's connection and timeout errors when the trip broke off: each command may or may not have
    been carried out. The client's socket timeout is that of the whole trip.
    """
    pool: Any = client.connection_pool  # Any: redis-py leaves its methods untyped
    connection: SafeConnection = await pool.get_connection()
    try:
        return await exchange(connection, commands)
    finally:
        await pool.release(connection)


async def exchange(connection: SafeConnection, commands: Sequence[tuple[EncodableT, ...]]) -> list[Any]:
    packed = b"".join(map(_pack, commands))
    try:
        async with asyncio.timeout(connection.socket_timeout):
            await connection.send_now(packed)
            return [await _reply(connection) for _ in commands]
    except TimeoutError:
        await connection.disconnect(nowait=True)
        raise exceptions.TimeoutError(f"No reply within {connection.socket_timeout:g} s") from None
    except BaseException:
        # Its unread replies would be taken for those of the next caller.
        await connection.disconnect(nowait=True)
        raise


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(timeout=inf)  # the trip as a whole has a timeout
    except exceptions.ResponseError as error:
        return error


class SafeConnection(AbstractConnection):
    """redis-py's connection, with a send that loses no cancellation and raises redis-py's errors only."""

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        try:
            await super().connect_check_health(check_health, retry_socket_connect)
        except BaseException:
            # Cancelled while it greets the server, redis-py's connection returns to its pool open.
            await self.disconnect(nowait=True)
            raise

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self.send_now(command, check_health)
        except TimeoutError:
            raise exceptions.TimeoutError("Timeout writing to socket") from None

    async def send_now(self, command: bytes | str | Iterable[bytes], check_health: bool = False) -> None:
        """Without a timeout: the caller has one."""
        if self._writer is not None and self._writer.transport.is_closing():
            # asyncio of Python 3.12.0 and 3.12.1 would watch its socket for writing, although it is closed, and so fail
            # a later connection that gets the same file descriptor.
            raise exceptions.ConnectionError("Connection closed")
        # redis-py guards each send by asyncio.wait_for, which makes a task of it and on Python 3.11 may
        # swallow a cancellation that arrives as the send ends. Without a socket timeout it sends directly.
        timeout, self.socket_timeout = self.socket_timeout, None
        try:
            await super().send_packed_command(command, check_health)
        # For a transport that the peer has reset: uvloop's error, and that of asyncio since Python 3.12.
        except (RuntimeError, AttributeError) as error:
            raise exceptions.ConnectionError(f"Connection closed: {error}") from error
        finally:
            self.socket_timeout = timeout


class _Tcp(SafeConnection, Connection):
    pass


class _Tls(SafeConnection, SSLConnection):
    pass


class _Unix(SafeConnection, UnixDomainSocketConnection):
    async def on_connect(self) -> None:
        # redis-py greets the server here and then, as on TCP, again; what is refused here it makes a plain
        # connection error, a wrong password included. Once is enough.
        pass


def connection_kinds(url: RedisUrl) -> tuple[type[AbstractConnection], type[ThreadConnection]]:
    """The classes of the connections that a URL asks for: those of asyncio, and those for other threads."""
    if url.path is not None:
        return _Unix, redis.UnixDomainSocketConnection
    return (_Tls, redis.SSLConnection) if url.is_tls else (_Tcp, redis.Connection)
