"""A worker process as its pool sees it: its messages, whether it is alive, and how it died."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import anyio.to_thread
from redis import exceptions

from zart_redis.layout import Cause
from zart_redis.logs import get_logger
from zart_redis.settings import Settings
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.replies import Death
from zart_redis.store.store import Partition, Store
from zart_redis.store.transitions import heartbeat_command
from zart_redis.worker.heartbeat import BEATS_PER_LEASE
from zart_redis.worker.recovery import LEFT

log = get_logger()

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals that others send: an operator, or the kernel when memory is full."""
SILENT_LEASES = 0.5
"""Time without a heartbeat of a process after which its pool sends them."""


class Child:
    """A worker process and the socket to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.worker: str | None = None
        """The id of its worker, once it may hold a lease."""
        self.is_ready = False
        """Whether it takes work."""
        self.beats = 0
        """How many heartbeats it has announced."""
        self.failure: str | None = None
        self.killed_for: str | None = None
        """Why its pool has killed it."""
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
        """Let the process drain, by closing this end of the socket."""
        if not self._writer.is_closing():
            self._writer.write_eof()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def ended(self, heard: Callable[[str], None]) -> None:
        """Returns when the process has ended; `heard` is called with the first word of each line that it sends."""
        hearing = asyncio.create_task(self._hear(heard))
        try:
            await self.process.wait()
            await asyncio.wait([hearing], timeout=1)  # a process that it forked may keep the socket open
        finally:
            hearing.cancel()
            self._writer.close()

    async def _hear(self, heard: Callable[[str], None]) -> None:
        with suppress(OSError):
            async for line in self._reader:
                word, _, rest = line.decode().strip().partition(" ")
                if word == "beat":
                    self.worker, self.beats = rest, self.beats + 1
                elif word == "ready":
                    self.is_ready = True
                elif word == "failed":
                    self.failure = rest
                heard(word)

    def death(self, is_late: bool) -> Death:
        """How the process has ended; `is_late` says that its pool killed what had not ended within the grace period."""
        code = self.process.returncode or 0
        if self.killed_for is not None:
            return Death(Cause.CRASH, self.killed_for)
        if is_late and code == -signal.SIGKILL:
            return LEFT
        if code >= 0:
            return Death(Cause.CRASH, f"exit code {code}")
        return Death(Cause.KILL if -code in FROM_OUTSIDE else Cause.CRASH, f"signal {_signal_name(-code)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


async def stand_in(child: Child, store: Store, settings: Settings) -> None:
    """Send the heartbeats of a process that cannot, because C code keeps the interpreter's lock.

    Not while the process is stopped, as by SIGSTOP. One that is silent for longer than the setting `stall` is killed.
    """
    lease = settings.lease / 1000
    silence, beats = 0.0, 0
    loop = asyncio.get_running_loop()
    looked = loop.time()
    while True:
        await asyncio.sleep(lease / BEATS_PER_LEASE)
        now = loop.time()
        # If it took long, this process was stopped itself.
        elapsed, looked = min(now - looked, lease / BEATS_PER_LEASE * 2), now
        if child.beats > beats or child.worker is None:
            silence, beats = 0.0, child.beats
            continue
        silence += elapsed
        if silence < SILENT_LEASES * lease:
            continue
        if await anyio.to_thread.run_sync(_is_stopped, child.process.pid):
            silence = SILENT_LEASES * lease
        elif silence * 1000 > settings.stall:
            child.killed_for = f"without a sign of life for {silence:.0f} s"
            log.error("a worker process has given no sign of life; killing it", pid=child.process.pid, seconds=silence)
            child.kill()
            return
        else:
            await _beat_for(child.worker, store, settings)


async def _beat_for(worker: str, store: Store, settings: Settings) -> None:
    with suppress(exceptions.RedisError, TimeoutError):
        async with asyncio.timeout(settings.lease / 1000 / 2):
            await asyncio.gather(*(_beat(partition, worker, store, settings) for partition in store.partitions))


async def _beat(partition: Partition, worker: str, store: Store, settings: Settings) -> None:
    """Sent once: a late one would revive the lease of a process that has died meanwhile."""
    command = heartbeat_command(partition.prefix, worker, settings.lease, "0", b"")
    (reply,) = await store.connections.exchange(partition.prefix, [command])
    if isinstance(reply, exceptions.NoScriptError):
        load = ("SCRIPT", "LOAD", SCRIPTS["heartbeat"].source)
        await store.connections.exchange(partition.prefix, [load, command])


def _is_stopped(pid: int) -> bool:
    """Whether the system shows that a process does not run at all: stopped by a signal, or by a debugger."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        if stat.exists():
            state = stat.read_text().rpartition(")")[2].split()[0]
        else:
            state = subprocess.check_output(["ps", "-o", "state=", "-p", str(pid)], text=True).strip()[:1]  # noqa: S607
        return state in ("T", "t")
    except (OSError, IndexError, subprocess.CalledProcessError):
        return False
