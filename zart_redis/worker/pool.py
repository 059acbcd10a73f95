"""A pool of worker processes on this machine: starts them, restarts those that die, and lets them drain.

The pool runs no user code, and does not even load the app. So it outlives what its processes run: it reports their
deaths at once, with their cause as far as it is known, and keeps the lease of a process whose code blocks everything
else. While suspects wait, it runs one more process, their quarantine. `process` describes the protocol.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from redis import exceptions

from zart_redis.errors import ConfigurationError, ZartError
from zart_redis.logs import get_logger
from zart_redis.settings import Settings
from zart_redis.store.embedded import embedded_server
from zart_redis.store.replies import Death
from zart_redis.store.store import EMBEDDED_FOLDER, Store
from zart_redis.urls import redacted_url
from zart_redis.worker.child import Child, stand_in
from zart_redis.worker.event_log import EventLog
from zart_redis.worker.recovery import reclaim

log = get_logger()

FIRST_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.1, 10.0
"""Delays before a process is restarted: doubled each time that one dies within `YOUNG_SECONDS`."""
YOUNG_SECONDS = 10.0
LATE_SECONDS = 2.0
"""How much longer than `grace` the pool waits for its processes before it kills them."""
ENDING_SECONDS = 1.0
"""Part of the grace period reserved for returning work to its queues and for process exit."""
REPORT_SECONDS = 3.0
"""How long a pool that has stopped tries to report the deaths of its processes; otherwise their leases expire."""
MAX_IN_QUARANTINE = 50
"""Bodies and steps that a quarantine process runs at a time."""


class Pool:
    """Worker processes that share arguments: settings of `Settings` by name, encodable as JSON.

    Raises:
        ConfigurationError: a setting is invalid.
    """

    def __init__(self, arguments: Mapping[str, Any], *, processes: int = 1) -> None:
        self.settings = Settings.load(**arguments)
        grace = self.settings.grace / 1000
        self._arguments = {**arguments, "grace": max(grace / 2, grace - ENDING_SECONDS)}
        self._processes = processes
        self._children: set[Child] = set()
        self._stopping = asyncio.Event()
        self._suspects = asyncio.Event()
        self._reports: set[asyncio.Task[None]] = set()
        self._is_late = False
        self._stops_at: float | None = None
        self._in_order = True
        self._has_joined = False
        """Whether a process has ever held a lease. If so, the app can be loaded, and a process that fails is
        restarted."""
        self._ready = asyncio.Event()

    @property
    def workers(self) -> dict[int, str]:
        """The processes that take work, and the names of their workers."""
        return {child.process.pid: child.worker for child in self._children if child.worker and child.is_ready}

    async def wait_ready(self) -> None:
        """Returns when a process takes work."""
        await self._ready.wait()

    async def run(self) -> bool:
        """Keep the processes running until `stop`. Returns whether all of them exited with 0.

        Raises:
            ConfigurationError: the server cannot be used, or the first processes could not start.
            RedisUnavailable: Redis cannot be reached at the start; later the processes wait for it.
        """
        async with AsyncExitStack() as stack:
            if self.settings.redis_url is None:  # used here too, so that it outlives the processes
                await stack.enter_async_context(embedded_server(EMBEDDED_FOLDER))
            # Fails here, once, if all processes would fail.
            self._store = await stack.enter_async_context(Store(self.settings, patience=None))
            where = "embedded" if self.settings.redis_url is None else redacted_url(self.settings.redis_url)
            log.info("pool started", processes=self._processes, queues=list(self.settings.queues), redis=where)
            keepers = [asyncio.create_task(self._keep()) for _ in range(self._processes)]
            keepers.append(asyncio.create_task(self._keep_quarantine()))
            late = asyncio.create_task(self._kill_late())
            try:
                await asyncio.wait(keepers, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                late.cancel()
                self._stopping.set()
                self.kill()
                await asyncio.wait(keepers)
                if self._reports:
                    await asyncio.wait(self._reports, timeout=min(REPORT_SECONDS, self._seconds_left()))
                if self._reports:  # Redis does not reply
                    for partition in self._store.partitions:
                        partition.commits.abort()
                    await asyncio.wait(self._reports)
            for keeper in keepers:
                keeper.result()
        return self._in_order

    def stop(self) -> None:
        """Let all processes drain; `run` returns when they have ended."""
        self._stops_at = asyncio.get_running_loop().time() + self.settings.grace / 1000
        self._stopping.set()
        for child in self._children:
            child.release()

    def _seconds_left(self) -> float:
        """The end of the grace period, if the pool is stopping."""
        return math.inf if self._stops_at is None else max(0.1, self._stops_at - asyncio.get_running_loop().time())

    def kill(self) -> None:
        """Kill all processes. No work is lost; steps that were running are run again."""
        for child in self._children:
            child.kill()

    async def _kill_late(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self.settings.grace / 1000 + LATE_SECONDS)
        log.warning("worker processes did not end within the grace period; killing them")
        self._is_late = True
        self.kill()

    async def _keep(self) -> None:
        """Keep one process running until the pool stops."""
        loop = asyncio.get_running_loop()
        delays = _restart_delays()
        while not self._stopping.is_set():
            began = loop.time()
            child = await self._run_child()
            if self._stopping.is_set():
                self._note_exit(child)
                return
            if child.failure is not None and not self._has_joined:
                raise ConfigurationError(child.failure)
            if loop.time() - began > YOUNG_SECONDS:
                delays = _restart_delays()
            delay = next(delays)
            code, pid = child.process.returncode, child.process.pid
            log.warning("a worker process has ended", pid=pid, code=code, reason=child.failure, again_in_seconds=delay)
            await self._pause(delay)

    async def _keep_quarantine(self) -> None:
        """Keep one more process running while suspects wait."""
        delays = _restart_delays()
        while await self._wait_unless_stopping(self._suspects.wait()):
            self._suspects.clear()
            child = await self._run_child(quarantine=True)
            code, pid = child.process.returncode, child.process.pid
            if self._stopping.is_set():
                self._note_exit(child)
                return
            log.info("a quarantine process has ended", pid=pid, code=code, reason=child.failure)
            if child.is_ready:  # its death counts against a suspect, so restarts are bounded
                delays = _restart_delays()
            else:
                await self._pause(next(delays))
            if code != 0:
                self._suspects.set()

    def _note_exit(self, child: Child) -> None:
        """A process has ended while the pool stops. It may have failed to start because Redis is away."""
        self._in_order &= child.process.returncode == 0 or (child.failure is not None and self._has_joined)

    async def _wait_unless_stopping(self, waited: Awaitable[object]) -> bool:
        """Returns False if the pool is stopping."""
        tasks = [asyncio.ensure_future(waited), asyncio.ensure_future(self._stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        return not self._stopping.is_set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _run_child(self, *, quarantine: bool = False) -> Child:
        arguments = self._arguments
        if quarantine:
            most = min(MAX_IN_QUARANTINE, self.settings.concurrency)
            arguments = {**arguments, "quarantine": True, "concurrency": most}
        child = await Child.start(arguments)
        self._children.add(child)
        watched = asyncio.create_task(stand_in(child, self._store, self.settings))
        try:
            if self._stopping.is_set():
                child.release()
            await child.ended(self._heard)
        finally:
            watched.cancel()
            self._children.discard(child)
        if child.worker is not None:
            report = asyncio.create_task(self._report(child.worker, child.death(self._is_late)))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)
            if quarantine:
                await self._wait_unless_stopping(asyncio.shield(report))
        return child

    def _heard(self, word: str) -> None:
        """A process has sent a message."""
        if word == "beat":
            self._has_joined = True
        elif word == "ready":
            self._ready.set()
        elif word == "suspects":
            self._suspects.set()

    async def _report(self, worker: str, death: Death) -> None:
        """A process is dead: queue its work again without waiting for its lease to expire."""
        with suppress(ZartError, exceptions.RedisError):
            for partition in self._store.partitions:
                await partition.transitions.leave(worker)
                if entries := await reclaim(partition, worker, self.settings, death):
                    EventLog().reclaimed(worker, entries)


def _restart_delays() -> Iterator[float]:
    delay = FIRST_RESTART_SECONDS
    while True:
        yield delay
        delay = min(delay * 2, MAX_RESTART_SECONDS)
