"""The lease of a worker: kept by heartbeats, given up at the end, and what follows when it is lost."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import anyio
import anyio.to_thread
import msgspec
from redis import exceptions

from zart_redis.errors import ConfigurationError, RedisUnavailable, ZartError
from zart_redis.logs import get_logger
from zart_redis.model import WorkerInfo
from zart_redis.settings import Settings
from zart_redis.store.store import Partition, Store
from zart_redis.worker.execute import Executor
from zart_redis.worker.heartbeat import HeartbeatThread
from zart_redis.worker.recovery import LEFT, Recovery, reclaim
from zart_redis.worker.service import Service, Subscribe
from zart_redis.worker.watchdog import Watchdog, in_loop

log = get_logger()

MAX_RUNNING_NAMES = 20
"""Running items named in a heartbeat."""
LEAVING_SECONDS = 1.0
"""How long a stopping worker tries to give up its lease; otherwise the lease expires."""


class Lease(Service):
    """Reports other workers whose lease has expired to the recovery of their partition."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        worker: str,
        executor: Executor,
        recovery: dict[str, Recovery],
        on_beat: Callable[[], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._worker = worker
        self._executor = executor
        self._lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(loop, settings.lease / 1000)

        def beat() -> None:
            on_beat()
            watchdog.look()

        self._heartbeats = HeartbeatThread(
            store.connections,
            list(recovery),
            worker,
            settings.lease,
            on_dead=lambda prefix, dead: in_loop(loop, recovery[prefix].report_dead, dead),
            on_lost=lambda: in_loop(loop, self._on_lost),
            on_beat=beat,
            about=self._about,
        )

    async def listen(self, subscribe: Subscribe) -> None:
        """Raises redis-py's errors if Redis cannot be reached."""
        await anyio.to_thread.run_sync(self._heartbeats.start)

    async def run(self) -> None:
        """A Redis that has lost its data has lost the number of partitions too: open the namespace again.

        Raises:
            ConfigurationError: it was upgraded meanwhile, or has another number of partitions. This stops the worker.
        """
        while True:
            await self._lost.wait()
            self._lost.clear()
            try:
                await self._store.reopen()
            except ConfigurationError:
                raise
            except (ZartError, exceptions.RedisError) as error:
                log.error("namespace cannot be opened again", error=str(error))

    async def stop(self) -> None:
        leaving = anyio.CancelScope(deadline=anyio.current_time() + LEAVING_SECONDS)
        try:
            with leaving:
                await anyio.to_thread.run_sync(self._heartbeats.stop, abandon_on_cancel=True)
                await asyncio.gather(*(self._leave(partition) for partition in self._store.partitions))
        except RedisUnavailable as error:
            log.warning("the lease could not be given up; it expires", worker=self._worker, error=str(error))
        if leaving.cancelled_caught:
            for partition in self._store.partitions:
                partition.commits.abort()

    async def _leave(self, partition: Partition) -> None:
        """Entries that were delivered to this worker and never begun return to their queues."""
        await partition.transitions.leave(self._worker)
        await reclaim(partition, self._worker, self._settings, LEFT)

    def _on_lost(self) -> None:
        """What runs continues. What other workers have taken over is revoked by the script that gave it to them; if
        that message gets lost, its next transition is refused."""
        log.warning(
            "the lease had ended, or Redis has lost its data; other workers may have taken over what runs here",
            lease_seconds=self._settings.lease / 1000,
            running=len(self._executor.active),
        )
        self._executor.unreleased_claims += 1  # entries may be pending for this worker that it does not run
        self._lost.set()

    def _about(self) -> bytes:
        """Called in the heartbeat thread."""
        settings, running = self._settings, list(self._executor.active.values())
        names = tuple(active.name for active in running[:MAX_RUNNING_NAMES])
        info = WorkerInfo(
            self._worker,
            socket.gethostname(),
            os.getpid(),
            settings.queues,
            settings.concurrency,
            settings.lease,
            names,
            len(running),
        )
        return msgspec.json.encode(info)
