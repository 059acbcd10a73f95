"""Connections to Redis: one pool per node, and which node serves a key.

Transitions and queries decide what is sent, the group commit when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self
from weakref import WeakSet

import redis
from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry as RetryInThreads
from redis.typing import EncodableT

from zart_redis import redis_url
from zart_redis.backoff import Backoff
from zart_redis.errors import ZartError
from zart_redis.redis_url import Kind
from zart_redis.store.preflight import Preflight
from zart_redis.store.redis_errors import as_zart_error
from zart_redis.store.sockets import Reader, SafeConnection, connection_kinds, exchange, round_trip
from zart_redis.store.topology import Place, topology_of

Greeting = Callable[[SafeConnection], Awaitable[None]]

# Else redis-py looks up its own version on disk for every connection, which takes longer than to connect.
_DRIVER = DriverInfo()

CONNECT_TIMEOUT = 5.0  # seconds for one attempt at one node
SHARED_CONNECTIONS = 256  # per node: far above what the group commit leases, below any server's limit of clients


class Connections:
    """The connections of one process to one Redis, or to one Redis Cluster.

    Ask for a client by key at each use and do not keep it: after a failover or a moved slot the same key may
    live on another node. No client retries anything by itself; the caller that knows that a command is safe to
    repeat does, with `retryable`, `relocate` and `Backoff`. A slot on its way to another node (ASK, TRYAGAIN)
    is waited for in the same manner: it can be used again once it has arrived.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        self._url = redis_url.read(url)
        self._timeout = timeout
        self._topology = topology_of(self._url, self._ask)
        self._kind, self._kind_in_threads = connection_kinds(self._url)
        self._clients: dict[Place, Redis] = {}
        self._sentinels: dict[Place, Redis] = {}
        self._at_hand: dict[Redis, list[SafeConnection]] = {}
        self._pools: WeakSet[ConnectionPool] = WeakSet()  # shared and dedicated ones, to close them all
        self._greeting: Greeting | None = None
        self._refreshes = 0
        self._refreshing = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, *, allow_eviction: bool = False, timeout: float = 10.0) -> Self:
        """Connect and check that the server can be trusted with live work.

        `timeout` is how many seconds any command may take, and how long a server that still loads its data is
        waited for.

        Raises:
            ConfigurationError: the URL, the server or the rights of the user are wrong.
            RedisUnavailable: nothing replies.
        """
        self = cls(url, timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                await Preflight(self._url, self.options(), allow_eviction).run(self._check)
        except TimeoutError:
            await self.close()
            late = exceptions.TimeoutError(f"it did not become ready within {timeout:g} s")
            raise as_zart_error(late, self.name) from None
        except BaseException as error:
            await self.close()
            if isinstance(error, exceptions.RedisError):
                raise as_zart_error(error, self.name) from error
            raise
        return self

    @property
    def name(self) -> str:
        """The URL without its passwords."""
        return self._url.shown

    @property
    def are_messages_relayed(self) -> bool:
        """Whether a message comes from the node it was published on by way of another one, and may be lost there."""
        return self._url.kind is Kind.CLUSTER

    async def close(self) -> None:
        """Close every connection, those of blocking readers and subscribers included."""
        pools = list(self._pools)
        self._clients.clear()
        self._sentinels.clear()
        # Nobody needs the connection any more, so a failing peer does not matter.
        await asyncio.gather(*(pool.disconnect() for pool in pools), return_exceptions=True)

    def client(self, key: str | bytes) -> Redis:
        """The shared client of the node that holds `key` now."""
        return self._node(self._topology.place(key))

    def nodes(self) -> list[tuple[str, Redis]]:
        """Every node that serves keys now: its address for people, and its shared client."""
        named = self._url.kind is not Kind.SINGLE
        return [
            (f"{place[0]}:{place[1]}" if place and named else self.name, self._node(place))
            for place in self._topology.places()
        ]

    async def exchange(self, key: str | bytes, commands: Sequence[tuple[EncodableT, ...]]) -> list[Any]:
        """`round_trip` to the node that holds `key` now, on a connection that is kept: leasing one from the pool
        costs more than the trip. If the connection has died meanwhile, the round trip fails."""
        client = self.client(key)
        pool: Any = client.connection_pool
        at_hand = self._at_hand.setdefault(client, [])
        connection = at_hand.pop() if at_hand else await pool.get_connection()
        try:
            answers = await exchange(connection, commands)
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
        return Reader(
            self._make_client(self._topology.place(key), max_connections=1, socket_timeout=block + self._timeout)
        )

    def pubsub(self, turn: int = 0) -> PubSub:
        """A subscriber with a separate connection; close it with `aclose()`.

        Take a new one after a failure: what was sent in between is gone, so look at what it was about too. In a cluster
        any node passes messages on, and another `turn` leads to another node.

        Raises:
            redis.ConnectionError: no server is known.
        """
        if not (places := self._topology.places()):
            raise exceptions.ConnectionError(f"{self.name}: no server is known")
        return self._make_client(places[turn % len(places)], max_connections=1).pubsub()

    def sync_client(self, key: str | bytes) -> redis.Redis:
        """A blocking client for one other thread, which closes it itself; may be called from any thread."""
        options = {**self.options(self._topology.place(key)), "retry": RetryInThreads(NoBackoff(), 0)}
        return redis.Redis.from_pool(redis.ConnectionPool(**{**options, "connection_class": self._kind_in_threads}))

    async def relocate(self, error: BaseException) -> None:
        """Make the next `client(key)` find the right node, after `error` came from the present one.

        Never raises: the next use does, if Redis is still away.
        """
        if not isinstance(error, exceptions.AskError | exceptions.TryAgainError):
            # READONLY included: after a failover the name leads to another server, so look it up again.
            for client in list(self._clients.values()):
                await self._drop_idle(client)
        with suppress(exceptions.RedisError, ZartError):  # the next use reports the error
            await self._refresh()

    def options(self, place: Place = None) -> dict[str, Any]:
        """The options of the URL, except those that this library sets: the format of replies, and the timeouts."""
        options: dict[str, Any] = {
            **self._url.connection_options,
            "protocol": 2,  # RESP3 changes the shape of replies, and older servers and proxies lack it
            "decode_responses": False,
            "socket_timeout": self._timeout,
            "socket_connect_timeout": min(self._timeout, CONNECT_TIMEOUT),
            "health_check_interval": 0,
            "driver_info": _DRIVER,
        }
        if self._url.path is not None:
            options["path"] = self._url.path
        else:
            options["socket_keepalive"] = True
        if place is not None:
            options["host"], options["port"] = place
        return options

    def greet_with(self, greeting: Greeting) -> None:
        """Call `greeting` with each new connection; one that it refuses, by a redis-py error, is not used."""
        self._greeting = greeting

    async def _greet(self, connection: SafeConnection) -> None:
        await connection.on_connect_check_health(check_health=True)
        if self._greeting is not None:
            await self._greeting(connection)

    def _make_client(self, place: Place, **options: Any) -> Redis:
        own = {"max_connections": SHARED_CONNECTIONS, "redis_connect_func": self._greet}
        merged = {**own, **self.options(place), **options}
        pool = ConnectionPool(**{**merged, "retry": Retry(NoBackoff(), 0), "connection_class": self._kind})
        self._pools.add(pool)
        return Redis.from_pool(pool)

    def _node(self, place: Place) -> Redis:
        client = self._clients.get(place)
        if client is None:
            client = self._clients[place] = self._make_client(place)
        return client

    def _sentinel(self, place: Place) -> Redis:
        client = self._sentinels.get(place)
        if client is None:
            own = {"username": None, "password": None, "db": 0, "redis_connect_func": None}
            own |= self._url.sentinel_options
            client = self._sentinels[place] = self._make_client(place, **own)
        return client

    async def _ask(self, place: Place, command: tuple[str, ...]) -> Any:
        client = self._sentinel(place) if self._url.kind is Kind.SENTINEL else self._node(place)
        (reply,) = await round_trip(client, [command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _refresh(self) -> None:
        """Look up the nodes again; concurrent callers share one lookup."""
        refreshes = self._refreshes
        async with self._refreshing:
            if self._refreshes == refreshes:
                self._refreshes += 1
                await self._topology.refresh()
                await self._retire_nodes()

    async def _retire_nodes(self) -> None:
        for place in self._clients.keys() - set(self._topology.places()):
            client = self._clients.pop(place)
            pool: Any = client.connection_pool
            await pool.update_active_connections_for_reconnect()  # those in use are closed at their release
            await self._drop_idle(client)

    async def _drop_idle(self, client: Redis) -> None:
        pool: Any = client.connection_pool
        for connection in self._at_hand.pop(client, ()):
            await connection.disconnect(nowait=True)
            await pool.release(connection)
        await _drop_idle(client)

    async def _check(self, preflight: Preflight) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._refresh()
                for name, client in self.nodes():
                    await preflight.check_server(name, client)
                return
            except exceptions.BusyLoadingError:
                await backoff.wait()


async def _drop_idle(client: Redis) -> None:
    """Close the idle connections. Nothing here suspends, so no one can lease one that is half closed."""
    pool: Any = client.connection_pool
    (idle, _), _ = pool.get_connection_count()
    for connection in [pool.get_available_connection() for _ in range(idle)]:
        await connection.disconnect(nowait=True)
        await pool.release(connection)
