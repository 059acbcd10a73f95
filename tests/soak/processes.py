"""The processes of a run: pools of workers that stay complete, and the producers."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

LEASE = "2s"
LEASE_SECONDS = 2.0


class Drain(NamedTuple):
    """The processes of a pool that was told to stop, and when it was and had, in seconds."""

    pids: set[int]
    began: float
    ended: float


VERSIONS = ("1", "2")
"""Of the code that is deployed: every other pool runs the second."""


class WorkerPool:
    """A fixed number of pools of one process each, on one Redis: a pool is replaced before it is ended."""

    def __init__(self, url: str, folder: Path, ack: str = "memory") -> None:
        self._arguments = [url, str(folder / "traces"), LEASE, ack]
        self._log = (folder / "workers.log").open("ab")
        self._started: set[Process] = set()
        """All that were ever started."""
        self._processes: set[Process] = set()
        """Those that should keep running."""
        self._frozen: set[Process] = set()
        self._versions = itertools.cycle(VERSIONS)
        self.were_frozen: set[int] = set()
        """Process ids of all that were ever frozen."""
        self.were_killed: set[int] = set()
        self.drains: list[Drain] = []
        self.unexpected_exits: list[int] = []
        """Exit codes of those that should have kept running, or should have exited cleanly."""

    async def start(self, number: int = 1) -> None:
        await asyncio.gather(*(self._start_one() for _ in range(number)))

    async def _start_one(self) -> None:
        arguments = [*self._arguments, next(self._versions)]
        process = await _python("tests.soak.worker", *arguments, stderr=self._log, new_group=True)
        self._started.add(process)
        await _says(process, b"up")
        self._processes.add(process)

    async def kill(self, rng: random.Random) -> None:
        """kill -9 of a whole pool, as when a machine is lost."""
        victim = await self._leaves(rng)
        self.were_killed |= await members_of(victim.pid)
        _signal_group(victim.pid, signal.SIGKILL)
        await victim.wait()

    async def crash(self, rng: random.Random) -> None:
        """kill -9 of a process of a pool, which starts another one."""
        victim = await self._any(rng)
        for pid in await members_of(victim.pid) - {victim.pid}:
            self.were_killed.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def drain(self, rng: random.Random) -> None:
        victim = await self._leaves(rng)
        pids, began = await members_of(victim.pid), time.time()
        await self._end(victim)
        self.drains.append(Drain(pids, began, time.time()))

    async def freeze(self, rng: random.Random, seconds: float) -> None:
        victim = await self._any(rng)
        self._frozen.add(victim)
        self.were_frozen |= await members_of(victim.pid)
        _signal_group(victim.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        _signal_group(victim.pid, signal.SIGCONT)
        self._frozen.discard(victim)

    async def stop(self) -> None:
        """Drain all of them."""
        self._note_exits(self._processes)
        await asyncio.gather(*(self._end(victim) for victim in self._processes if victim.returncode is None))
        self._processes.clear()

    async def close(self) -> None:
        """Kill those that are left."""
        for process in self._started:
            _signal_group(process.pid, signal.SIGKILL)
            await process.wait()
        self._log.close()

    async def _any(self, rng: random.Random) -> Process:
        while not (awake := self._processes - self._frozen):
            await asyncio.sleep(0.05)
        return rng.choice(sorted(awake, key=lambda process: process.pid))

    async def _leaves(self, rng: random.Random) -> Process:
        await self.start()
        victim = await self._any(rng)
        self._processes.discard(victim)
        self._note_exits([victim])
        return victim

    def _note_exits(self, processes: Iterable[Process]) -> None:
        self.unexpected_exits += [process.returncode for process in processes if process.returncode is not None]

    async def _end(self, victim: Process) -> None:
        with suppress(ProcessLookupError):
            victim.terminate()
        if (code := await victim.wait()) != 0:
            self.unexpected_exits.append(code)


class Producers:
    """Processes that share the orders below `end`; see `producer`."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._processes: list[Process] = []
        self.histories: list[Path] = []

    async def begin(self, number: int, seed: int, first: int, end: int, seconds: float) -> None:
        with (self._folder / "producers.log").open("ab") as log:
            for place in range(number):
                history = self._folder / f"history-{first}-{place}"
                shared = [str(n) for n in (seed, first + place, number, end, seconds)]
                arguments = [self._url, str(history), *shared]
                self._processes.append(await _python("tests.soak.producer", *arguments, stderr=log))
                self.histories.append(history)

    async def have_sent(self) -> None:
        """Return when everything they send has been acknowledged; results may still be outstanding."""
        for process in self._processes:
            await _says(process, b"sent")

    async def have_ended(self) -> None:
        """Return when every result they wait for has arrived."""
        await asyncio.gather(*(process.wait() for process in self._processes))
        self._processes.clear()

    async def close(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _python(module: str, *arguments: str, stderr: BinaryIO, new_group: bool = False) -> Process:
    command = (sys.executable, "-m", module, *arguments)
    return await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=PIPE, stderr=stderr, start_new_session=new_group
    )


async def members_of(group: int) -> set[int]:
    """The process ids of a process group."""
    ps = await asyncio.create_subprocess_exec("ps", "-A", "-o", "pid=,pgid=", stdout=PIPE)
    listed, _ = await ps.communicate()
    pairs = (line.split() for line in listed.splitlines())
    return {int(pid) for pid, pgid in pairs if int(pgid) == group}


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


async def _says(process: Process, word: bytes) -> None:
    assert process.stdout
    if await process.stdout.readline() != word + b"\n":
        raise ChildProcessError(f"process {process.pid} ended before it printed {word.decode()!r}; see its log")
