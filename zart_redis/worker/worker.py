"""The worker: puts the loops together, and takes them apart so that nothing is lost."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
import msgspec
from redis import exceptions

from zart_redis.durations import Duration
from zart_redis.engine import tasks
from zart_redis.engine.ports import Rehearsal, Surroundings
from zart_redis.errors import ZartError
from zart_redis.handlers import Handler, definitions
from zart_redis.logs import get_logger
from zart_redis.model import WorkerInfo, from_ms
from zart_redis.registry import HandlerDefinition
from zart_redis.registry import handlers as declared
from zart_redis.settings import Settings
from zart_redis.store.commits import Clock
from zart_redis.store.connections import Backoff
from zart_redis.store.store import Partition, Store
from zart_redis.worker.claim import ClaimLoop
from zart_redis.worker.execute import Executor, Slots
from zart_redis.worker.lease import Lease
from zart_redis.worker.pauses import PauseRules
from zart_redis.worker.recovery import RecoveryLoop
from zart_redis.worker.timers import TimerLoop
from zart_redis.worker.watchdog import Watchdog, in_loop

log = get_logger()

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
"""Before a loop that has failed begins again."""
MOST_NAMED = 20
"""Of what it runs, so much is told to operators."""
LEAVING_SECONDS = 2.0
"""How long a stopping worker tries to tell Redis that it is gone; its lease tells it otherwise."""


class Worker:
    """Runs handlers and scheduled steps of some queues, up to `concurrency` at a time.

    As a context manager it runs in the background of the block; `run` runs it until `stop` is called.

    Args:
        url: where Redis is; by default ZART_REDIS_URL, then [tool.zart], then the embedded server of the folder.
        queues: the names of the queues to take work from.
        handlers: what it can run, or the names of it; by default every handler that has been declared.
        concurrency: bodies and steps at a time.
        namespace: separates independent applications on one Redis.
        lease: how long it may be silent before others take its work.
        grace: how long running steps may take to end when it stops.
        settings: anything else that `Settings` knows, by name.

    Raises:
        ConfigurationError: a setting, or the server it leads to, cannot work.

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
        clock: Clock = lambda: None,
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
        self._handlers = None if handlers is None else definitions(handlers)
        self._clock = clock
        self._rehearsal: Rehearsal | None = None
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when it has begun to take work."""
        self._background: asyncio.Task[None] | None = None

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
        """Claim nothing more; let running steps end and be recorded, hand all else back, and end `run`."""
        self._stopping.set()

    def _known(self) -> Mapping[str, HandlerDefinition]:
        return declared.by_name if self._handlers is None else self._handlers

    def _now(self) -> datetime:
        supplied = self._clock()
        return datetime.now(UTC) if supplied is None else from_ms(supplied)

    def _store(self) -> Store:
        return Store(self.settings, patience=None, clock=self._clock)

    async def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            ConfigurationError: the server cannot be used.
            redis.RedisError: it could not be reached at the start; later the worker waits for it to come back.
        """
        async with self._store() as store, AsyncExitStack() as stack:
            stack.callback(tasks.install(asyncio.get_running_loop()))
            running = _Running(self, store)
            await stack.enter_async_context(running)
            log.info("worker started", worker=self.id, queues=list(self.settings.queues))
            self.ready.set()
            await running.until(self._stopping)
        log.info("worker stopped", worker=self.id)


class _Running:
    """A worker's loops while they run."""

    def __init__(self, worker: Worker, store: Store) -> None:
        settings = worker.settings
        self._worker = worker
        self._store = store
        self._grace = settings.grace / 1000
        self._pauses = PauseRules(store.partitions)
        at = Surroundings(
            worker.id,
            settings.namespace,
            settings.max_payload,
            settings.max_deliveries,
            settings.secrets,
            anyio.CapacityLimiter(settings.concurrency),
            worker._now,
            self._pauses.rule_for,
            worker._rehearsal,
        )
        slots = Slots(settings.concurrency)
        self._executor = Executor(worker._known, at, slots, settings.retention, worker._clock)
        self._recovery = {p.prefix: RecoveryLoop(p, worker.id, settings.max_deliveries) for p in store.partitions}
        self._claims: list[asyncio.Task[None]] = []
        self._services: list[asyncio.Task[None]] = []
        self._reopening: asyncio.Task[None] | None = None
        self._stack = AsyncExitStack()
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(loop, settings.lease / 1000)
        self._lease = Lease(
            store.connections,
            list(self._recovery),
            worker.id,
            settings.lease,
            on_dead=lambda prefix, dead: in_loop(loop, self._recovery[prefix].bury, dead),
            on_lost=lambda: in_loop(loop, self._lost),
            on_beat=watchdog.look,
            about=self._about,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self) -> None:
        await anyio.to_thread.run_sync(self._lease.start)
        for partition in self._store.partitions:
            await self._listen(partition.rules_channel, self._pauses.tell)
        await self._pauses.read()
        self._services.append(asyncio.create_task(_kept_going(self._pauses.run), name="zart-pauses"))
        for partition in self._store.partitions:
            timers = TimerLoop(partition, self._worker._clock)
            await self._listen(partition.timers_channel, timers.tell)
            await self._listen(partition.worker_channel(self._worker.id), self._hearer(partition))
            queues = self._worker.settings.queues
            lease = self._worker.settings.lease / 1000
            claims = ClaimLoop(partition, self._store.connections, self._worker.id, queues, self._executor, lease)
            recovery = self._recovery[partition.prefix]
            self._claims.append(asyncio.create_task(_kept_going(claims.run), name="zart-claim"))
            self._services.append(asyncio.create_task(_kept_going(timers.run), name="zart-timers"))
            self._services.append(asyncio.create_task(_kept_going(recovery.run), name="zart-recovery"))

    async def _listen(self, channel: str, listener: Callable[[bytes | None], None]) -> None:
        await self._stack.enter_async_context(self._store.signals.listen(channel, listener))

    def _hearer(self, partition: Partition) -> Callable[[bytes | None], None]:
        """What the scripts say to the worker that holds an entry; what is missed it learns at its next transition."""

        def hear(message: bytes | None) -> None:
            word, _, entry = (message or b"").decode(errors="replace").partition(" ")
            if word == "poke":
                self._executor.poke(partition.prefix, entry)
            elif word == "drop":
                self._executor.drop(partition.prefix, entry)

        return hear

    def _about(self) -> bytes:
        """Called in the lease thread."""
        settings, running = self._worker.settings, list(self._executor.active.values())
        names = tuple(active.name for active in running[:MOST_NAMED])
        info = WorkerInfo(
            self._worker.id,
            socket.gethostname(),
            os.getpid(),
            settings.queues,
            settings.concurrency,
            settings.lease,
            names,
            len(running),
        )
        return msgspec.json.encode(info)

    def _lost(self) -> None:
        log.error(
            "the lease of this worker is gone, and what it ran: it was silent for too long and its work was given to "
            "others, or Redis has lost its data; it goes on with other work"
        )
        self._executor.drop_all()
        self._reopening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        """A Redis that has lost its data has lost the number of partitions too."""
        try:
            await self._store.reopen()
        except (ZartError, exceptions.RedisError) as error:
            log.error("the namespace cannot be opened again", error=str(error))

    async def until(self, stopping: asyncio.Event) -> None:
        """Return when told to stop. A loop that ends, which none should, ends the worker."""
        stop = asyncio.create_task(stopping.wait())
        done, _ = await asyncio.wait([stop, *self._claims, *self._services], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        for task in done - {stop}:
            await task

    async def __aexit__(self, *_: object) -> None:
        await _cancelled(self._claims)
        await self._executor.stop(self._grace)
        await anyio.to_thread.run_sync(self._lease.stop)
        with anyio.move_on_after(LEAVING_SECONDS):
            await asyncio.gather(*(self._leave(partition) for partition in self._store.partitions))
        await _cancelled(self._services)
        await self._stack.aclose()

    async def _leave(self, partition: Partition) -> None:
        """What was delivered to this worker and never begun goes back to its queue, as from a dead one."""
        await partition.transitions.leave(self._worker.id)
        await self._recovery[partition.prefix].reclaim(self._worker.id)


async def _kept_going(run: Callable[[], Awaitable[None]]) -> None:
    """A loop, begun again whatever it fails on: one thing that it cannot do must not keep it from all others."""
    backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while True:
        try:
            await run()
            return
        except Exception as error:
            log.exception("a loop of the worker has failed; it begins again", error=str(error))
        await backoff.wait()


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
