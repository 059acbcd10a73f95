"""Which server holds a key: the one of the URL, a master that sentinels name, or a node of a cluster."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from redis import exceptions
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from zart_redis.errors import ConfigurationError
from zart_redis.redis_url import Address, Kind, RedisUrl
from zart_redis.store.redis_errors import remedy

Place = Address | None
"""None is the unix socket of the URL."""
Ask = Callable[[Place, tuple[str, ...]], Awaitable[Any]]
"""The reply of a server to a command. Raises redis-py's errors."""

NEXT_SEED_SECONDS = 0.2
"""How long a server may take to reply before the next one is asked too."""
SENTINEL_SECONDS = 1.0
"""How long to wait for the other sentinels once one has replied."""


class Topology(ABC):
    """`ask` sends a command to one of the servers that the URL names, or that serve keys."""

    is_single = False

    def __init__(self, url: RedisUrl, ask: Ask) -> None:
        self._url = url
        self._ask = ask

    @abstractmethod
    def place(self, key: str | bytes) -> Place:
        """The server that holds a key now. Raises redis-py's ConnectionError if none is known."""

    @abstractmethod
    def places(self) -> Sequence[Place]:
        """Every server that holds keys now."""

    @abstractmethod
    async def refresh(self) -> None:
        """Ask again which servers hold keys.

        Raises:
            ConfigurationError: the URL names servers of another kind.
            redis.RedisError: none of them replies.
        """


class Single(Topology):
    is_single = True

    def place(self, key: str | bytes) -> Place:
        return self.places()[0]

    def places(self) -> Sequence[Place]:
        return self._url.seeds or [None]

    async def refresh(self) -> None:
        pass  # a name is looked up for each connection


class Cluster(Topology):
    def __init__(self, url: RedisUrl, ask: Ask) -> None:
        super().__init__(url, ask)
        self._slots: list[Place] = [None] * REDIS_CLUSTER_HASH_SLOTS

    def place(self, key: str | bytes) -> Place:
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        place = self._slots[slot]
        if place is None:
            raise exceptions.ClusterDownError(f"Hash slot {slot} is served by no node that is known")
        return place

    def places(self) -> Sequence[Place]:
        return list(dict.fromkeys(place for place in self._slots if place))

    async def refresh(self) -> None:
        # The URL comes last: its names may lead to new nodes when none of the known ones is left.
        places = list(dict.fromkeys([*self.places(), *self._url.seeds]))
        try:
            place, reply = await _first_reply(self._ask, places, ("CLUSTER", "SLOTS"))
        except exceptions.ResponseError as error:
            if "cluster support disabled" in str(error) or "unknown command" in str(error).lower():
                raise ConfigurationError(f"{self._url.shown} is not a cluster: use redis:// or rediss://") from None
            raise
        self._slots = _slot_map(reply, place)


class Sentinel(Topology):
    def __init__(self, url: RedisUrl, ask: Ask) -> None:
        super().__init__(url, ask)
        self._master: Place = None

    def place(self, key: str | bytes) -> Place:
        if self._master is None:
            raise exceptions.ConnectionError(f"{self._url.shown}: the sentinels name no master")
        return self._master

    def places(self) -> Sequence[Place]:
        return [] if self._master is None else [self._master]

    async def refresh(self) -> None:
        """Trust the sentinel that knows of the latest failover. The one that leads it still names the old master."""
        assert self._url.master is not None
        found: list[tuple[int, bool, Address]] = []
        failures: list[Exception] = []
        for reply in await _replies(self._ask, self._url.seeds, ("SENTINEL", "MASTER", self._url.master)):
            if isinstance(reply, Exception):
                failures.append(reply)
            else:
                fields = dict(zip(map(_text, reply[::2]), map(_text, reply[1::2]), strict=False))
                is_settled = "failover_in_progress" not in fields.get("flags", "")
                found.append((int(fields.get("config-epoch", 0)), is_settled, (fields["ip"], int(fields["port"]))))
        if found:
            *_, self._master = max(found)
            return
        for failure in failures:
            if isinstance(failure, exceptions.ResponseError):
                raise self._refusal(failure) from None
        raise failures[0]

    def _refusal(self, error: exceptions.ResponseError) -> Exception:
        text = str(error)
        if "No such master" in text:
            return ConfigurationError(f"{self._url.shown}: its sentinels know no master named {self._url.master!r}")
        if "unknown command" in text.lower():
            return ConfigurationError(f"{self._url.shown} leads to no sentinel: use redis:// or rediss://")
        if why := remedy(error):
            return ConfigurationError(f"a sentinel of {self._url.shown}: {why}")
        return error


_TOPOLOGIES: dict[Kind, type[Topology]] = {Kind.SINGLE: Single, Kind.CLUSTER: Cluster, Kind.SENTINEL: Sentinel}


def topology_of(url: RedisUrl, ask: Ask) -> Topology:
    return _TOPOLOGIES[url.kind](url, ask)


async def _first_reply(ask: Ask, places: Sequence[Place], command: tuple[str, ...]) -> tuple[Place, Any]:
    """The first reply of any of these servers, which are asked one after another, each a little after the one before.

    Raises:
        redis.RedisError: the error of the first one, if all of them fail.
    """
    asked: dict[asyncio.Task[Any], Place] = {}
    failures: list[BaseException] = []
    waiting = list(places)
    try:
        while waiting or asked:
            if waiting:
                place = waiting.pop(0)
                asked[asyncio.ensure_future(ask(place, command))] = place
            done, _ = await asyncio.wait(
                asked, timeout=NEXT_SEED_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                place = asked.pop(task)
                error = task.exception()
                if error is None:
                    return place, task.result()
                failures.append(error)
    finally:
        await _cancel(asked)
    raise failures[0]


async def _replies(ask: Ask, places: Sequence[Place], command: tuple[str, ...]) -> list[Any]:
    """The replies of these servers, or their errors. Slow ones are left out once another has replied."""
    tasks = [asyncio.ensure_future(ask(place, command)) for place in places]
    try:
        pending = set(tasks)
        while pending and not any(task.done() and task.exception() is None for task in tasks):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if pending:
            await asyncio.wait(pending, timeout=SENTINEL_SECONDS)
        return [task.exception() or task.result() for task in tasks if task.done()]
    finally:
        await _cancel(task for task in tasks if not task.done())


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    running = list(tasks)
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


def _slot_map(reply: list[Any], answered: Place) -> list[Place]:
    """Slot -> primary, from a reply to CLUSTER SLOTS of the node at `answered`."""
    assert answered is not None
    slots: list[Place] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for start, end, (host, port, *_), *_replicas in reply:
        # No name, or "?", means: the one you asked.
        name = host.decode() if host and host != b"?" else answered[0]
        slots[start : end + 1] = [(name, port)] * (end + 1 - start)
    return slots


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
