"""Sockets to Redis: where a key lives now, which failures may pass, many commands in one round trip.

Not here: what is sent (transitions and queries) and when it is sent (the group commit).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, Self, cast
from weakref import WeakSet

import hiredis
import redis
from redis import exceptions as failures
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.client import PubSub
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection as ThreadConnection
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.driver_info import DriverInfo
from redis.retry import Retry as RetryInThreads
from redis.typing import EncodableT

from zart_redis.errors import ConfigurationError
from zart_redis.settings import REDIS_SCHEMES, redacted_url

__all__ = ["Backoff", "Connections", "cannot_read", "out_of_memory", "retryable", "round_trip"]

Address = tuple[str, int]

# In C, and several times faster than redis-py's own; its stub knows tuples of one only.
_pack = cast("Callable[[tuple[EncodableT, ...]], bytes]", hiredis.pack_command)

# Else redis-py looks up its own version on disk for every connection, which takes longer than to connect.
_DRIVER = DriverInfo()

OLDEST = (6, 2)  # the Redis version every script is written for
CONNECT_TIMEOUT = 5.0  # seconds for one attempt at one node
SHARED_CONNECTIONS = 256  # per node: far above what the group commit leases, below any server's limit of clients


class Connections:
    """The connections of one process to one Redis, or to one Redis Cluster.

    Ask for a client by key at each use and do not keep it: after a failover or a moved slot the same key may
    live on another node. No client retries anything by itself; whoever knows that a command is safe to
    repeat does, with `retryable`, `relocate` and `Backoff`. A slot on its way to another node (ASK, TRYAGAIN)
    is waited for in the same manner: it can be used again once it has arrived.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._url = redacted_url(url)
        self._cluster = "+cluster://" in url
        self._timeout = timeout
        self._parsed = self._parse(url)
        self._clients: dict[Address | None, Redis] = {}  # None: the address in the URL
        self._at_hand: dict[Redis, list[_Sending]] = {}
        self._pools: WeakSet[ConnectionPool] = WeakSet()  # shared and dedicated ones, to close them all
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._slot_readings = 0
        self._reading_slots = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, *, allow_eviction: bool = False, timeout: float = 10.0) -> Self:
        """Connect and check that the server can be trusted with live work.

        `timeout` is how many seconds any command may take, and how long a server that still loads its data is
        waited for. Raises `ConfigurationError` for a URL, a server version or an eviction policy that cannot
        work, and redis-py's own error when nothing answers.
        """
        self = cls(url, timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                await self._check_when_loaded(allow_eviction)
        except TimeoutError:
            await self.close()
            raise failures.TimeoutError(f"{self._url} did not become ready within {timeout:g} s") from None
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close every connection, those of blocking readers and subscribers included."""
        pools = list(self._pools)
        self._clients.clear()
        # A peer that fails to acknowledge is no one's business any more.
        await asyncio.gather(*(pool.disconnect() for pool in pools), return_exceptions=True)

    def client(self, key: str | bytes) -> Redis:
        """The shared client of the node that holds `key` now."""
        return self._node(self._address(key))

    def nodes(self) -> list[tuple[str, Redis]]:
        """Every node that serves keys now: its address for people, and its shared client."""
        addresses: Iterable[Address | None] = [None]
        if self._cluster:
            addresses = dict.fromkeys(address for address in self._slots if address)
        return [(f"{a[0]}:{a[1]}" if a else self._url, self._node(a)) for a in addresses]

    async def exchange(self, key: str | bytes, commands: Sequence[tuple[EncodableT, ...]]) -> list[Any]:
        """`round_trip` to the node that holds `key` now, on a connection kept at hand: leasing one from the pool
        costs more than the trip. One that has died meanwhile is seen as a failed trip."""
        client = self.client(key)
        pool: Any = client.connection_pool
        at_hand = self._at_hand.setdefault(client, [])
        connection = at_hand.pop() if at_hand else await pool.get_connection()
        try:
            answers = await _exchange(connection, commands)
        except BaseException:
            await pool.release(connection)
            raise
        if self._at_hand.get(client) is at_hand:
            at_hand.append(connection)
        else:  # they were dropped meanwhile: the pool closes it, or keeps it
            await pool.release(connection)
        return answers

    def blocking(self, key: str | bytes, *, block: float) -> Reader:
        """A reader for commands that block up to `block` seconds."""
        return Reader(self._make_client(self._address(key), max_connections=1, socket_timeout=block + self._timeout))

    def pubsub(self, key: str | bytes) -> PubSub:
        """A subscriber with a connection of its own to the node of `key`; close it with `aclose()`.

        Take a new one after a failure: what was sent in between is gone, so look at what it was about too.
        """
        return self._make_client(self._address(key), max_connections=1).pubsub()

    def sync_client(self, key: str | bytes) -> redis.Redis:
        """A blocking client for one other thread, which closes it itself; may be called from any thread."""
        _, kind = self._kinds()
        options = {**self._options(self._address(key)), "retry": RetryInThreads(NoBackoff(), 0)}
        return redis.Redis.from_pool(redis.ConnectionPool(**{**options, "connection_class": kind}))

    async def relocate(self, error: BaseException) -> None:
        """Make the next `client(key)` find the right node, after `error` came from the present one.

        Never raises for a Redis that is still away: the next use does.
        """
        if not isinstance(error, failures.AskError | failures.TryAgainError):
            # READONLY included: after a failover the name leads to another server, so look it up anew.
            for client in self._clients.values():
                await self._drop_idle(client)
        if self._cluster:
            try:
                await self._read_slots()
            except failures.RedisError as again:
                if not retryable(again):
                    raise

    def _parse(self, url: str) -> dict[str, Any]:
        if not url.startswith(REDIS_SCHEMES):
            accepted = ", ".join(REDIS_SCHEMES)
            raise ConfigurationError(f"Redis URL {self._url}: it must begin with one of {accepted}")
        try:
            parsed: dict[str, Any] = {**parse_url(url.replace("+cluster://", "://", 1))}
            pool: Any = ConnectionPool(**parsed)
            pool.make_connection()  # does not connect, but looks at every option
        except (ValueError, TypeError, failures.RedisError) as error:
            raise ConfigurationError(f"Redis URL {self._url}: {error}") from None
        if self._cluster and parsed.get("db"):
            raise ConfigurationError(f"Redis URL {self._url}: a cluster has no database but 0")
        return parsed

    def _options(self, address: Address | None) -> dict[str, Any]:
        """What the URL says, but for what it must not decide: the shape of replies, and the timeouts."""
        options: dict[str, Any] = {
            **self._parsed,
            "protocol": 2,  # RESP3 changes the shape of replies, and older servers and proxies lack it
            "decode_responses": False,
            "socket_timeout": self._timeout,
            "socket_connect_timeout": min(self._timeout, CONNECT_TIMEOUT),
            "health_check_interval": 0,
            "driver_info": _DRIVER,
        }
        if "path" not in options:
            options["socket_keepalive"] = True
        if address is not None:
            options["host"], options["port"] = address
        return options

    def _kinds(self) -> tuple[type[AbstractConnection], type[ThreadConnection]]:
        return _KINDS[self._parsed.get("connection_class", Connection)]

    def _make_client(self, address: Address | None, **options: Any) -> Redis:
        kind, _ = self._kinds()
        merged = {"max_connections": SHARED_CONNECTIONS, **self._options(address), **options}
        pool = ConnectionPool(**{**merged, "retry": Retry(NoBackoff(), 0), "connection_class": kind})
        self._pools.add(pool)
        return Redis.from_pool(pool)

    def _node(self, address: Address | None) -> Redis:
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = self._make_client(address)
        return client

    def _address(self, key: str | bytes) -> Address | None:
        if not self._cluster:
            return None
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        address = self._slots[slot]
        if address is None:
            raise failures.ClusterDownError(f"Hash slot {slot} is served by no node that is known")
        return address

    async def _read_slots(self) -> None:
        """Learn from any node that answers which primary serves each slot, once for all who ask at a time."""
        readings = self._slot_readings
        async with self._reading_slots:
            if self._slot_readings != readings:
                return
            self._slot_readings += 1
            # The URL comes last: its name may lead to new nodes when none of the known ones is left.
            failure: Exception | None = None
            for address in (*dict.fromkeys(node for node in self._slots if node), None):
                try:
                    (reply,) = await round_trip(self._node(address), [("CLUSTER", "SLOTS")])
                except failures.RedisError as error:
                    reply = error
                if not isinstance(reply, Exception):
                    seed = self._parsed.get("host", "localhost"), self._parsed.get("port", 6379)
                    self._slots = _slot_map(reply, address or seed)
                    await self._retire_nodes()
                    return
                failure = reply
            assert failure is not None
            raise failure

    async def _retire_nodes(self) -> None:
        for address in self._clients.keys() - {*self._slots, None}:
            client = self._clients.pop(address)
            pool: Any = client.connection_pool
            await pool.update_active_connections_for_reconnect()  # those in use are closed at their release
            await self._drop_idle(client)

    async def _drop_idle(self, client: Redis) -> None:
        pool: Any = client.connection_pool
        for connection in self._at_hand.pop(client, ()):
            await connection.disconnect(nowait=True)
            await pool.release(connection)
        await _drop_idle(client)

    async def _check_when_loaded(self, allow_eviction: bool) -> None:
        backoff = Backoff()
        while True:
            try:
                return await self._check(allow_eviction)
            except failures.BusyLoadingError:
                await backoff.wait()

    async def _check(self, allow_eviction: bool) -> None:
        if self._cluster:
            try:
                await self._read_slots()
            except failures.ResponseError as error:
                if "cluster support disabled" in str(error):
                    problem = f"{self._url} is not a cluster: use redis:// or rediss://"
                    raise ConfigurationError(problem) from None
                raise
        for name, client in self.nodes():
            await self._check_server(name, client, allow_eviction)

    async def _check_server(self, name: str, client: Redis, allow_eviction: bool) -> None:
        await client.ping()  # refused, unlike INFO, by a server that loads its data
        server = await client.info("server")
        version = str(server["redis_version"])
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
            raise ConfigurationError(f"{name} is Redis {version}: version 6.2 or later is needed")
        if server.get("redis_mode") == "cluster" and not self._cluster:
            raise ConfigurationError(f"{name} belongs to a cluster: write its URL as redis+cluster://")
        memory = await client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory", 0) and policy != "noeviction" and not allow_eviction:
            raise ConfigurationError(
                f"{name} deletes unfinished work when its memory is full: its maxmemory-policy is {policy}. "
                "Set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in redis.conf), "
                "or accept the loss with allow_eviction=True (ZART_ALLOW_EVICTION=1)."
            )


class Reader:
    """One connection, for reads that block. Use it as `async with connections.blocking(...) as reader:`, and take a new
    one after a failure."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def __aenter__(self) -> Self:
        pool: Any = self._client.connection_pool
        self._connection: _Sending = await pool.get_connection()
        return self

    async def __aexit__(self, *_: object) -> None:
        pool: Any = self._client.connection_pool
        await pool.release(self._connection)
        await pool.disconnect()

    async def read(self, *command: EncodableT) -> Any:
        """The reply. Raises redis-py's errors, that of a command which is refused included."""
        (answer,) = await _exchange(self._connection, [command])
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
    connection: _Sending = await pool.get_connection()
    try:
        return await _exchange(connection, commands)
    finally:
        await pool.release(connection)


async def _exchange(connection: _Sending, commands: Sequence[tuple[EncodableT, ...]]) -> list[Any]:
    packed = b"".join(map(_pack, commands))
    try:
        async with asyncio.timeout(connection.socket_timeout):
            await connection.send_now(packed)
            return [await _reply(connection) for _ in commands]
    except TimeoutError:
        await connection.disconnect(nowait=True)
        raise failures.TimeoutError(f"No reply within {connection.socket_timeout:g} s") from None
    except BaseException:
        # Its unread replies would be taken for those of the next caller.
        await connection.disconnect(nowait=True)
        raise


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(timeout=inf)  # the trip as a whole has a timeout
    except failures.ResponseError as error:
        return error


class _Sending(AbstractConnection):
    """redis-py's connection, with a send that loses no cancellation and raises redis-py's errors only."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self.send_now(command, check_health)
        except TimeoutError:
            raise failures.TimeoutError("Timeout writing to socket") from None

    async def send_now(self, command: bytes | str | Iterable[bytes], check_health: bool = False) -> None:
        """Without a timeout: the caller has one."""
        # redis-py guards each send by asyncio.wait_for, which makes a task of it and on Python 3.11 may
        # swallow a cancellation that arrives as the send ends. Without a socket timeout it sends directly.
        timeout, self.socket_timeout = self.socket_timeout, None
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # uvloop's, for a transport that the peer has reset
            raise failures.ConnectionError(f"Connection closed: {error}") from error
        finally:
            self.socket_timeout = timeout


class _Tcp(_Sending, Connection):
    pass


class _Tls(_Sending, SSLConnection):
    pass


class _Unix(_Sending, UnixDomainSocketConnection):
    async def on_connect(self) -> None:
        # redis-py greets the server here and then, as on TCP, again; what is refused here it makes a plain
        # connection error, a wrong password included. Once is enough.
        pass


_KINDS: dict[type[AbstractConnection], tuple[type[AbstractConnection], type[ThreadConnection]]] = {
    Connection: (_Tcp, redis.Connection),
    SSLConnection: (_Tls, redis.SSLConnection),
    UnixDomainSocketConnection: (_Unix, redis.UnixDomainSocketConnection),
}


async def _drop_idle(client: Redis) -> None:
    """Close the idle connections. Nothing here suspends, so no one can lease one that is half closed."""
    pool: Any = client.connection_pool
    (idle, _), _ = pool.get_connection_count()
    for connection in [pool.get_available_connection() for _ in range(idle)]:
        await connection.disconnect(nowait=True)
        await pool.release(connection)


def _slot_map(reply: list[Any], answered: Address) -> list[Address | None]:
    """Slot -> primary, from a reply to CLUSTER SLOTS of the node at `answered`."""
    slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for start, end, (host, port, *_), *_replicas in reply:
        # No name, or "?", means: the one you asked.
        name = host.decode() if host and host != b"?" else answered[0]
        slots[start : end + 1] = [(name, port)] * (end + 1 - start)
    return slots


_PASSING = (
    failures.ConnectionError,  # LOADING included
    failures.TimeoutError,
    failures.ReadOnlyError,
    failures.AskError,  # MOVED included
    failures.TryAgainError,
    failures.ClusterDownError,  # MASTERDOWN included
)
_PASSING_CODES = {"BUSY", "MISCONF", "NOREPLICAS", "READONLY", "UNBLOCKED"}
# Connection errors to redis-py, but no new connection helps.
_REFUSED = (failures.AuthenticationError, failures.AuthorizationError)

_FORBIDDEN = re.compile(r"NOPERM|The user executing the script")  # by an ACL
# Redis 6.2 wraps the error of a command in a script: "... @user_script: 3: -OOM command not allowed ...".
_CODE = re.compile(r"(?:^|@user_script: ?\d+: -)([A-Z]+) ")


def _codes(error: BaseException) -> set[str]:
    return set(_CODE.findall(str(error))) if isinstance(error, failures.ResponseError) else set()


def retryable(error: BaseException) -> bool:
    """Whether the same command may succeed later, when Redis is back, has failed over or has moved the slot.

    It says nothing about whether the command was carried out.
    """
    if isinstance(error, _REFUSED):
        return False
    return isinstance(error, _PASSING) or not _PASSING_CODES.isdisjoint(_codes(error))


def out_of_memory(error: BaseException) -> bool:
    """Whether Redis refused a write for lack of memory: finishing work frees some, new work adds to it."""
    return isinstance(error, failures.OutOfMemoryError) or "OOM" in _codes(error)


def cannot_read(error: BaseException) -> bool:
    """Whether a script failed on what it found in the keys, as it would again."""
    passing = retryable(error) or out_of_memory(error)
    in_script = isinstance(error, failures.ResponseError) and "user_script" in str(error)
    return in_script and not passing and not _FORBIDDEN.search(str(error))


class Backoff:
    """Growing, jittered pauses between attempts, in seconds; `reset` it after a success."""

    def __init__(self, first: float = 0.02, longest: float = 2.0) -> None:
        self._first, self._longest = first, longest
        self._next = first

    async def wait(self) -> None:
        """Pause for half to all of the present delay, so that not every process comes back at one moment."""
        delay, self._next = self._next, min(self._next * 2, self._longest)
        await asyncio.sleep(random.uniform(delay / 2, delay))

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._next = self._first
