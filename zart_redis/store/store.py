"""The store of one namespace, open: its connections, its partitions, its subscriber."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import exceptions

from zart_redis.errors import ConfigurationError
from zart_redis.settings import MAX_PARTITIONS, Settings
from zart_redis.store import keys
from zart_redis.store.commits import Clock, Command, Commits
from zart_redis.store.connections import Connections
from zart_redis.store.durability import confirmation
from zart_redis.store.embedded import embedded_server
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.queries import Queries
from zart_redis.store.signals import Signals
from zart_redis.store.transitions import Transitions

EMBEDDED_FOLDER = Path()


class Partition:
    """One hash slot of a namespace: the transitions and queries of the executions that live in it."""

    def __init__(
        self, connections: Connections, prefix: str, patience: float | None, clock: Clock, confirm: Command | None
    ) -> None:
        self.prefix = prefix
        self.commits = Commits(connections, prefix, patience, confirm, clock)
        self.transitions = Transitions(self.commits, prefix, clock)
        self.queries = Queries(connections, prefix, patience)

    @property
    def timers_channel(self) -> str:
        """Says in how many ms the first timer is due, when that has become sooner."""
        return f"{self.prefix}timers"

    @property
    def rules_channel(self) -> str:
        """Says that a pause rule was added or removed."""
        return f"{self.prefix}rules"

    def done_channel(self, execution_id: str) -> str:
        """Says the final status of an execution."""
        return f"{self.prefix}done:{execution_id}"

    def worker_channel(self, worker: str) -> str:
        """Says 'poke <entry>' or 'drop <entry>' to the worker that holds it."""
        return f"{self.prefix}worker:{worker}"


class Store:
    """Open it as `async with Store(settings, ...)`. See `Commits` for `patience`.

    Raises:
        ConfigurationError: the server cannot be used, or the namespace has another number of partitions.
    """

    connections: Connections
    signals: Signals
    partitions: list[Partition]

    def __init__(self, settings: Settings, *, patience: float | None, clock: Clock = lambda: None) -> None:
        self.settings = settings
        self.clock = clock
        self._confirm: Command | None = None
        self._patience = patience
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            url = self.settings.redis_url
            if url is None:
                url = (await stack.enter_async_context(embedded_server(EMBEDDED_FOLDER))).url
            self.connections = await self._connect(url)
            stack.push_async_callback(self.connections.close)
            self._confirm = await confirmation(self.settings.ack, self.connections)
            first = keys.prefix(self.settings.namespace, 0)
            count = await self._fix_partitions(first, self.settings.partitions)
            self.partitions = [self._partition(number) for number in range(count)]
            for partition in self.partitions:
                stack.push_async_callback(partition.commits.close)
            self.signals = Signals(self.connections, first)
            stack.push_async_callback(self.signals.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _connect(self, url: str) -> Connections:
        return await Connections.open(url, allow_eviction=self.settings.allow_eviction)

    def partition(self, execution_id: str) -> Partition:
        """The partition that an execution lives in."""
        return self.partitions[keys.partition_of(execution_id, len(self.partitions))]

    def _partition(self, number: int) -> Partition:
        prefix = keys.prefix(self.settings.namespace, number)
        return Partition(self.connections, prefix, self._patience, self.clock, self._confirm)

    async def reopen(self) -> None:
        """Fix the number of partitions again, should Redis have lost it.

        Raises:
            ConfigurationError: someone else has fixed another one meanwhile.
        """
        await self._fix_partitions(self.partitions[0].prefix, len(self.partitions))

    async def _fix_partitions(self, first: str, wanted: int | None) -> int:
        commits = Commits(self.connections, first, patience=10)
        command = (b"EVALSHA", SCRIPTS["open"].sha, 1, first, "", "" if wanted is None else wanted)
        try:
            count: int | None = await commits.submit(command)
        except exceptions.ResponseError as error:
            raise ConfigurationError(f"the namespace {self.settings.namespace!r} cannot be opened: {error}") from None
        finally:
            await commits.close()
        if count is None or not 0 < count <= MAX_PARTITIONS:
            raise ConfigurationError(
                f"the namespace {self.settings.namespace!r} is damaged: {first}meta holds no number"
            )
        if wanted not in (None, count):
            raise ConfigurationError(
                f"the namespace {self.settings.namespace!r} has {count} partitions, fixed when it was first used; "
                f"it cannot be opened with {wanted}"
            )
        return count
