"""A pool of worker processes on this machine: starts them, starts again those that die, and lets them drain.

The pool runs nothing of the user's: not even the app is loaded here. How a process of it behaves is in `process`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Self

from redis import exceptions

from zart_redis.errors import ConfigurationError, ZartError
from zart_redis.logs import get_logger
from zart_redis.settings import Settings, redacted_url
from zart_redis.store.embedded import embedded_server
from zart_redis.store.store import EMBEDDED_FOLDER, Store
from zart_redis.worker.recovery import RecoveryLoop

log = get_logger()

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
"""Before a process is started again: doubled each time that one dies young."""
YOUNG_SECONDS = 10.0
LATE_SECONDS = 2.0
"""How much longer than `grace` the pool waits for its processes before it kills them."""
ENDING_SECONDS = 1.0
"""Of the grace: for handing back what has not ended, and for the end of the processes."""
BURY_SECONDS = 3.0


class Pool:
    """Worker processes with one set of arguments: those of `Settings`, by name, as JSON can carry them.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    def __init__(self, arguments: Mapping[str, Any], *, processes: int = 1) -> None:
        self.settings = Settings.load(**arguments)
        grace = self.settings.grace / 1000
        # Handing back and ending take their time too, and belong to the grace.
        self._arguments = {**arguments, "grace": max(grace / 2, grace - ENDING_SECONDS)}
        self._processes = processes
        self._children: set[_Child] = set()
        self._stopping = asyncio.Event()
        self._in_order = True
        self._ready = asyncio.Event()

    @property
    def workers(self) -> dict[int, str]:
        """The processes that take work now, and the names of their workers."""
        return {child.process.pid: child.worker for child in self._children if child.worker is not None}

    async def wait_ready(self) -> None:
        """Returns when a process has begun to take work."""
        await self._ready.wait()

    async def run(self) -> bool:
        """Keep the processes running until `stop`. Answers whether all ended in order.

        Raises:
            ConfigurationError: the server cannot be used, or the first processes could not start.
            redis.RedisError: Redis cannot be reached at the start; later the processes wait for it to come back.
        """
        async with AsyncExitStack() as stack:
            if self.settings.redis_url is None:  # held here too, so that it outlives the processes
                await stack.enter_async_context(embedded_server(EMBEDDED_FOLDER))
            async with Store(self.settings, patience=0):
                pass  # what all processes would fail at is found here, once
            where = "embedded" if self.settings.redis_url is None else redacted_url(self.settings.redis_url)
            log.info("pool started", processes=self._processes, queues=list(self.settings.queues), redis=where)
            keepers = [asyncio.create_task(self._keep()) for _ in range(self._processes)]
            late = asyncio.create_task(self._kill_late())
            try:
                await asyncio.wait(keepers, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                late.cancel()
                self._stopping.set()
                self.kill()
                await asyncio.wait(keepers)
            for keeper in keepers:
                keeper.result()
        return self._in_order

    def stop(self) -> None:
        """Let all processes drain; `run` returns when they have ended."""
        self._stopping.set()
        for child in self._children:
            child.release()

    def kill(self) -> None:
        """End all processes at once. Nothing is lost, only redone."""
        for child in self._children:
            child.kill()

    async def _kill_late(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self.settings.grace / 1000 + LATE_SECONDS)
        log.warning("worker processes do not end within the grace; they are killed")
        self.kill()

    async def _keep(self) -> None:
        """One place in the pool: always a process in it, until the pool stops."""
        loop = asyncio.get_running_loop()
        pauses = _pauses()
        while not self._stopping.is_set():
            began = loop.time()
            child = await self._run_child()
            if self._stopping.is_set():
                self._in_order &= child.process.returncode == 0
                return
            if child.failure is not None and not self._ready.is_set():
                raise ConfigurationError(child.failure)
            if loop.time() - began > YOUNG_SECONDS:
                pauses = _pauses()
            pause = next(pauses)
            code, pid = child.process.returncode, child.process.pid
            log.warning("a worker process has ended", pid=pid, code=code, reason=child.failure, again_in_seconds=pause)
            if child.worker is not None:
                await self._bury(child.worker)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _run_child(self) -> _Child:
        child = await _Child.start(self._arguments)
        self._children.add(child)
        try:
            if self._stopping.is_set():
                child.release()
            await child.ended(self._ready)
            return child
        finally:
            self._children.discard(child)

    async def _bury(self, worker: str) -> None:
        """The process is known to be dead, so others need not wait for its lease to end."""
        with suppress(ZartError, exceptions.RedisError, TimeoutError):
            async with asyncio.timeout(BURY_SECONDS), Store(self.settings, patience=BURY_SECONDS) as store:
                for partition in store.partitions:
                    await partition.transitions.leave(worker)
                    await RecoveryLoop(partition, "", self.settings.max_deliveries).reclaim(worker)


class _Child:
    """A worker process and the line to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.worker: str | None = None
        """The name of its worker, once it takes work."""
        self.failure: str | None = None
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, arguments: Mapping[str, Any]) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "zart_redis.worker.process", str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(json.dumps(arguments).encode() + b"\n")
        return cls(process, reader, writer)

    def release(self) -> None:
        """The end of the line is the sign to drain."""
        if not self._writer.is_closing():
            self._writer.write_eof()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def ended(self, ready: asyncio.Event) -> None:
        """Returns when the process has ended; `ready` is set when it takes work."""
        hearing = asyncio.create_task(self._hear(ready))
        try:
            await self.process.wait()
            await asyncio.wait([hearing], timeout=1)  # a process that it forked may hold the line open
        finally:
            hearing.cancel()
            self._writer.close()

    async def _hear(self, ready: asyncio.Event) -> None:
        with suppress(OSError):
            async for line in self._reader:
                word, _, rest = line.decode().strip().partition(" ")
                if word == "ready":
                    self.worker = rest
                    ready.set()
                elif word == "failed":
                    self.failure = rest


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
