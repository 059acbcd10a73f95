"""The worker: builds the services, runs them until it is stopped, and returns unfinished work to the queues."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from zart_redis.durations import Duration
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.observer import Observer, combine
from zart_redis.engine.threads import StepThreads
from zart_redis.handlers import Handler, definitions
from zart_redis.logs import get_logger
from zart_redis.model import Clock, server_clock
from zart_redis.settings import Settings
from zart_redis.store.store import Store
from zart_redis.worker.claim import Claims, Gate
from zart_redis.worker.code import code_of
from zart_redis.worker.event_log import EventLog
from zart_redis.worker.execute import Executor, Slots
from zart_redis.worker.held import HeldWork
from zart_redis.worker.kept import KeptBodies
from zart_redis.worker.known import KnownHandlers
from zart_redis.worker.lease import Lease
from zart_redis.worker.limits import DeclaredLimits
from zart_redis.worker.pauses import PauseRules
from zart_redis.worker.quarantine import LoneQuarantine, Trials
from zart_redis.worker.recovery import Recovery
from zart_redis.worker.service import Service, running
from zart_redis.worker.timers import Timers
from zart_redis.worker.unserved import UnservedWork

log = get_logger()


class Worker:
    """Runs handlers and scheduled steps of some queues, up to `concurrency` at a time.

    As a context manager it runs in the background of the block; `run` runs it until `stop` is called.

    Args:
        url: URL of Redis; by default ZART_REDIS_URL, then [tool.zart], then the embedded server of the folder.
        queues: the names of the queues to take work from.
        handlers: the handlers to run, or their names; by default every handler that has been declared.
        concurrency: maximum number of bodies and steps at a time.
        namespace: separates independent applications on one Redis.
        lease: how long a silent worker keeps its work before others take it over.
        grace: how long running steps may take to finish when the worker stops.
        observers: instances of `zart_redis.engine.observer.Observer`, called for what happens in this worker.
        settings: other settings of `Settings`, by name.

    Raises:
        ConfigurationError: a setting is invalid, or the server cannot be used.

    Example:
        >>> async with zart.Worker("redis://localhost", queues=["default"], handlers=[checkout]):
        ...     await scheduler.start_and_wait_for(checkout, "order-1", order)
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        queues: Sequence[str] | None = None,
        handlers: Iterable[Handler[Any, Any] | str] | None = None,
        concurrency: int | None = None,
        namespace: str | None = None,
        lease: Duration | None = None,
        grace: Duration | None = None,
        observers: Iterable[Observer] = (),
        clock: Clock = server_clock,
        **settings: Any,
    ) -> None:
        self.settings = Settings.load(
            redis_url=url,
            queues=queues,
            concurrency=concurrency,
            namespace=namespace,
            lease=lease,
            grace=grace,
            **settings,
        )
        self.id = secrets.token_hex(4)
        self._handlers = KnownHandlers(None if handlers is None else definitions(handlers))
        self._clock = clock
        self._observer = combine([EventLog(), *observers])
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when it takes work."""
        self._background: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._background = asyncio.create_task(self.run())
        ready = asyncio.create_task(self.ready.wait())
        try:
            await asyncio.wait([ready, self._background], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._background.done():
            await self._background
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._background is not None
        self.stop()
        await asyncio.wait([self._background])
        failure = None if self._background.cancelled() else self._background.exception()
        if failure is not None and error is None:
            raise failure

    def stop(self) -> None:
        """Claim nothing more, let running steps finish, return everything else to its queue, and end `run`."""
        self._stopping.set()
        if self._working is not None and not self.ready.is_set():
            self._working.cancel()  # it may be waiting for Redis

    def _store(self) -> Store:
        return Store(self.settings, patience=None, clock=self._clock)

    async def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            ConfigurationError: the server cannot be used.
            InvalidInput: two handlers of one name run the same version.
            RedisUnavailable: Redis cannot be reached at the start; later the worker waits for it to come back.
        """
        _ = self._handlers.ranges  # raises here what `claim` would otherwise raise again and again
        self._working = asyncio.create_task(self._work())
        try:
            await self._working
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            was_stopped = self._stopping.is_set() and not self.ready.is_set()
            if not was_stopped or (caller is not None and caller.cancelling()):
                raise

    async def _work(self) -> None:
        async with self._store() as store, AsyncExitStack() as stack:
            with store.zart_errors():
                services = await stack.enter_async_context(running(self._services(store), store.signals))
            log.info("worker started", worker=self.id, queues=list(self.settings.queues))
            self.ready.set()
            await _first_to_end(asyncio.create_task(self._stopping.wait()), services)
        log.info("worker stopped", worker=self.id)

    def _services(self, store: Store) -> list[Service]:
        """In the order in which they start. They stop in reverse: claiming ends first, then what runs is drained, then
        the lease is given up."""
        settings, observer = self.settings, self._observer
        pauses, context = PauseRules(store.partitions), self._context()
        recovery = {
            partition.prefix: Recovery(partition, self.id, settings, observer) for partition in store.partitions
        }
        executor = Executor(
            store,
            self._handlers,
            context,
            observer,
            self._clock,
            pauses.rule_for,
            Slots(settings.concurrency),
            KeptBodies(settings.warm),
            settings.grace / 1000,
        )
        return [
            pauses,
            DeclaredLimits(store.partitions, self._handlers),
            *(Timers(store, partition, self._clock, observer) for partition in store.partitions),
            *recovery.values(),
            Lease(store, settings, self.id, executor, recovery, self._beats),
            executor,
            *self._sources(store, executor),
            *(UnservedWork(partition, self.id, settings.queues, executor, observer) for partition in store.partitions),
            HeldWork(store.partitions, context.code),
        ]

    def _beats(self) -> None:
        """Called before each heartbeat, in another thread."""

    def _sources(self, store: Store, executor: Executor) -> list[Service]:
        """The services that take work. Suspects come first."""
        gate = Gate()
        trials = self._trials(store, executor)
        quarantine = LoneQuarantine(trials, store.partitions, self.settings.queues, executor, gate)
        return [quarantine, *self._claims(store, executor, gate)]

    def _trials(self, store: Store, executor: Executor) -> Trials:
        return Trials(store.partitions, self.id, self.settings.queues, executor, self._observer)

    def _claims(self, store: Store, executor: Executor, gate: Gate) -> list[Service]:
        settings = self.settings
        return [
            Claims(
                partition,
                store.connections,
                self.id,
                settings.queues,
                executor,
                settings.lease / 1000,
                self._observer,
                gate,
            )
            for partition in store.partitions
        ]

    def _context(self) -> WorkerContext:
        settings = self.settings
        return WorkerContext(
            worker=self.id,
            code=code_of(self._handlers),
            namespace=settings.namespace,
            max_payload=settings.max_payload,
            max_stream=settings.max_stream,
            max_mailbox=settings.max_mailbox,
            retention_ms=settings.retention,
            max_deliveries=settings.max_deliveries,
            secrets=settings.secrets,
            threads=StepThreads(settings.concurrency),
        )


async def _first_to_end(stopping: asyncio.Task[Any], services: Iterable[asyncio.Task[None]]) -> None:
    """Returns when `stopping` ends, or raises what a service ends with."""
    done, _ = await asyncio.wait([stopping, *services], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done - {stopping}:
        await task
