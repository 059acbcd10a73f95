"""The processes of a run: a pool of workers that stays complete, and the producers."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LEASE = "2s"
LEASE_SECONDS = 2.0


class WorkerPool:
    """A fixed number of workers on one Redis: a worker is replaced before it is ended."""

    def __init__(self, url: str, folder: Path, ack: str = "memory") -> None:
        self._arguments = [url, str(folder / "traces"), LEASE, ack]
        self._log = (folder / "workers.log").open("ab")
        self._started: set[Process] = set()
        """All that were ever started."""
        self._processes: set[Process] = set()
        """Those that should keep running."""
        self._frozen: set[Process] = set()
        self.were_frozen: set[int] = set()
        """Process ids of all that were ever frozen."""
        self.unexpected_exits: list[int] = []
        """Exit codes of those that should have kept running, or should have exited cleanly."""

    async def start(self, number: int = 1) -> None:
        await asyncio.gather(*(self._start_one() for _ in range(number)))

    async def _start_one(self) -> None:
        process = await _python("tests.soak.worker", *self._arguments, stderr=self._log)
        self._started.add(process)
        await _says(process, b"up")
        self._processes.add(process)

    async def kill(self, rng: random.Random) -> None:
        """kill -9: no code of it runs any more."""
        victim = await self._leaves(rng)
        with suppress(ProcessLookupError):
            victim.kill()
        await victim.wait()

    async def drain(self, rng: random.Random) -> None:
        victim = await self._leaves(rng)
        await self._end(victim)

    async def freeze(self, rng: random.Random, seconds: float) -> None:
        victim = await self._any(rng)
        self.were_frozen.add(victim.pid)
        self._frozen.add(victim)
        victim.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        with suppress(ProcessLookupError):
            victim.send_signal(signal.SIGCONT)
        self._frozen.discard(victim)

    async def stop(self) -> None:
        """Drain all of them."""
        self._note_exits(self._processes)
        await asyncio.gather(*(self._end(victim) for victim in self._processes if victim.returncode is None))
        self._processes.clear()

    async def close(self) -> None:
        """Kill those that are left."""
        for process in self._started:
            with suppress(ProcessLookupError):
                process.kill()
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


async def _python(module: str, *arguments: str, stderr: BinaryIO) -> Process:
    command = (sys.executable, "-m", module, *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=stderr)


async def _says(process: Process, word: bytes) -> None:
    assert process.stdout
    if await process.stdout.readline() != word + b"\n":
        raise ChildProcessError(f"process {process.pid} ended before it printed {word.decode()!r}; see its log")
