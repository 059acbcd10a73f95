"""Worker processes that a test may kill, freeze and start again, and the traces that they leave."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import zart_redis as zart


class Traces:
    """What the steps of `app` noted, in order, and the gate that holds them."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self._effects = folder / "effects"
        self._gate = folder / "gate"

    def words(self) -> list[str]:
        return [word for word, _ in self._lines()]

    def by(self, pid: int) -> list[str]:
        return [word for word, by in self._lines() if by == str(pid)]

    def open_gate(self) -> None:
        self._gate.touch()

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self._effects.read_text().splitlines()] if self._effects.exists() else []


class WorkerProcess:
    def __init__(
        self, url: str, namespace: str, lease: str = "500ms", max_deliveries: int = 5, clock_shift: float = 0
    ) -> None:
        command = [sys.executable, "-m", "tests.crash.process", url, namespace]
        command += [lease, str(max_deliveries), str(clock_shift)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self._process.pid

    def is_dead(self) -> bool:
        return self._process.poll() is not None

    def kill9(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def unfreeze(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)


Start = Callable[..., WorkerProcess]


@pytest.fixture
def traces(tmp_path: Path) -> Traces:
    return Traces(tmp_path)


@pytest.fixture
def process(redis_url: str, namespace: str, scheduler: zart.DurableScheduler) -> Iterator[Start]:
    """Starts worker processes; they are killed when the test ends."""
    started: list[WorkerProcess] = []

    def start(lease: str = "500ms", max_deliveries: int = 5, clock_shift: float = 0) -> WorkerProcess:
        started.append(WorkerProcess(redis_url, namespace, lease, max_deliveries, clock_shift))
        return started[-1]

    yield start
    for worker in started:
        worker.unfreeze()
        worker.kill9()
