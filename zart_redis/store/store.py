"""The open store of a namespace: its connections, partitions and subscriber."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import exceptions

from zart_redis.errors import ConfigurationError
from zart_redis.layout import LAYOUT, Channel, Key, is_supported, partition_of, prefix
from zart_redis.model import Clock, server_clock
from zart_redis.settings import MAX_PARTITIONS, Settings
from zart_redis.store.batches import Command
from zart_redis.store.commits import Commits
from zart_redis.store.connections import Connections
from zart_redis.store.durability import confirmation
from zart_redis.store.embedded import embedded_server
from zart_redis.store.index import Index
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.queries import Queries
from zart_redis.store.reads import Reads
from zart_redis.store.redis_errors import as_zart_error
from zart_redis.store.scans import Scans
from zart_redis.store.signals import Signals
from zart_redis.store.transitions import Transitions
from zart_redis.store.upgrade import upgrade

EMBEDDED_FOLDER = Path()
OPENING_SECONDS = 10.0
"""How long opening a namespace retries while its server cannot be reached."""


class Partition:
    """One hash slot of a namespace: the transitions and queries of the executions that live in it."""

    def __init__(
        self, connections: Connections, prefix: str, patience: float | None, clock: Clock, confirm: Command | None
    ) -> None:
        self.prefix = prefix
        self.commits = Commits(connections, prefix, patience, confirm, clock)
        self.transitions = Transitions(self.commits, prefix, clock)
        reads = Reads(connections, prefix, patience)
        self.index = Index(reads)
        self.queries = Queries(reads, self.index)
        self.scans = Scans(reads, self.index)

    @property
    def timers_channel(self) -> str:
        """Carries the time at which the first timer is due, when that becomes sooner."""
        return Channel.TIMERS.of(self.prefix)

    @property
    def unserved_channel(self) -> str:
        return Channel.UNSERVED.of(self.prefix)

    @property
    def pause_rules_channel(self) -> str:
        """Carries the id of a pause rule that was added or removed."""
        return Channel.PAUSE_RULES.of(self.prefix)

    @property
    def suspects_channel(self) -> str:
        """Carries the name of a queue in which a suspect waits for a quarantine process."""
        return Channel.SUSPECTS.of(self.prefix)

    def done_channel(self, execution_id: str) -> str:
        """Carries the final status of an execution."""
        return Channel.DONE.of(self.prefix, execution_id)

    def stream_channel(self, execution_id: str) -> str:
        """Carries the names of streams to which an execution has emitted."""
        return Channel.STREAM.of(self.prefix, execution_id)

    def worker_channel(self, worker: str) -> str:
        """Carries a `layout.Signal` and an entry to the worker that holds it."""
        return Channel.WORKER.of(self.prefix, worker)


class Store:
    """Open it as `async with Store(settings, ...)`. See `Commits` for `patience`.

    Raises:
        ConfigurationError: the server cannot be used, or the namespace has another number of partitions.
        RedisUnavailable: Redis cannot be reached.
    """

    connections: Connections
    signals: Signals
    partitions: list[Partition]

    def __init__(self, settings: Settings, *, patience: float | None, clock: Clock = server_clock) -> None:
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
            with self.zart_errors():
                self._confirm = await confirmation(self.settings.ack, self.connections)
            first = prefix(self.settings.namespace, 0)
            count, layout = await self._open_namespace(first, self.settings.partitions)
            self.partitions = [self._partition(number) for number in range(count)]
            for partition in self.partitions:
                stack.push_async_callback(partition.commits.close)
            if not layout:
                for partition in self.partitions:
                    await upgrade(partition.transitions, partition.scans)
                await self._open_namespace(first, count, upgraded=True)
            await self._check_rights(first)
            self.signals = Signals(self.connections)
            stack.push_async_callback(self.signals.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _connect(self, url: str) -> Connections:
        return await Connections.open(url, allow_eviction=self.settings.allow_eviction)

    @contextmanager
    def zart_errors(self) -> Iterator[None]:
        """Convert errors of redis-py into errors of this package."""
        try:
            yield
        except exceptions.RedisError as error:
            raise as_zart_error(error, self.connections.name) from error

    def partition(self, execution_id: str) -> Partition:
        """The partition that an execution lives in."""
        return self.partitions[partition_of(execution_id, len(self.partitions))]

    def check_limits(self) -> None:
        """Raises ConfigurationError if limits cannot be kept."""
        if len(self.partitions) > 1:
            raise ConfigurationError(
                f"the namespace {self.settings.namespace!r} has {len(self.partitions)} partitions: in this version "
                "limits work only with one"
            )

    def _partition(self, number: int) -> Partition:
        own = prefix(self.settings.namespace, number)
        return Partition(self.connections, own, self._patience, self.clock, self._confirm)

    async def reopen(self) -> None:
        """Write the number of partitions and the layout version again, in case Redis has lost them.

        Raises:
            ConfigurationError: another process has written other values meanwhile.
        """
        await self._open_namespace(self.partitions[0].prefix, len(self.partitions))

    async def _open_namespace(self, first: str, wanted: int | None, *, upgraded: bool = False) -> tuple[int, str]:
        """The number of partitions, and the layout version, "" if the namespace has still to be upgraded."""
        arguments = ("" if wanted is None else wanted, "1" if upgraded else "")
        count, stored = await self._run_script("open", first, *arguments)
        if count is None or not 0 < count <= MAX_PARTITIONS:
            raise ConfigurationError(
                f"the namespace {self.settings.namespace!r} is damaged: {Key.META.of(first)} holds no number"
            )
        if wanted not in (None, count):
            raise ConfigurationError(
                f"the namespace {self.settings.namespace!r} has {count} partitions, fixed when it was first used; "
                f"it cannot be opened with {wanted}"
            )
        layout = stored.decode(errors="replace")
        if layout and not is_supported(layout):
            raise ConfigurationError(
                f"the namespace {self.settings.namespace!r} has layout {layout}, this version supports {LAYOUT}: "
                "install the version that wrote it, or a newer one"
            )
        return count, layout

    async def _check_rights(self, first: str) -> None:
        """Check the rights of the user: a script that is refused half way would leave half of its writes behind.

        Raises:
            ConfigurationError: the user lacks a right that the scripts need.
        """
        denied = await self._run_script("check_rights", first, "nobody")
        if denied:
            commands = ", ".join(command.decode().lower() for command, _ in denied)
            why = denied[0][1].decode(errors="replace")
            raise ConfigurationError(
                f"{self.connections.name}: its user may not use {commands} on the keys and channels of the namespace "
                f"{self.settings.namespace!r} ({why}): grant it with ACL SETUSER, see docs/deployment.md"
            )

    async def _run_script(self, name: str, first: str, *arguments: str | int) -> Any:
        """Run a script in the first partition, without the patience of a worker."""
        commits = Commits(self.connections, first, patience=OPENING_SECONDS)
        try:
            return await commits.submit((b"EVALSHA", SCRIPTS[name].sha, 1, first, "", *arguments))
        finally:
            await commits.close()
