"""Real commands in real processes: an app in a folder of its own, `zart` run in it, and pools of `zart-worker`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from tests.support.servers import RedisProcess
from tests.support.waiting import block_until
from zart_redis.cli.app import app

BIN = Path(sys.executable).parent
APP = """
import asyncio, logging, os, time
import structlog
import zart_redis as zart

@zart.zart_step("nap-{name}")
async def nap(name: str, seconds: float) -> int:
    logging.getLogger("library").info("napping, says a library")
    await asyncio.sleep(seconds)
    return os.getpid()

@zart.zart_step("block")
def block(seconds: float) -> int:
    structlog.get_logger("thread").info("blocking, says a thread")
    time.sleep(seconds)
    return os.getpid()

@zart.zart_durable("cli-naps")
async def naps(seconds: float) -> list[int]:
    structlog.get_logger("body").info("begun, says a body")
    return [await nap("first", seconds), await nap("second", 0.01)]

@zart.zart_durable
async def blocks(seconds: float) -> int:
    return await block(seconds)

@zart.zart_durable("cli-fan")
async def fan(seconds: float) -> list[int]:
    return [r.unwrap() for r in await zart.wait([zart.schedule(nap(str(i), seconds)) for i in range(8)])]

@zart.zart_durable
async def fails(text: str) -> None:
    raise ValueError(text)

@zart.zart_step("[/undo]")
async def undo() -> None: ...

async def on_failure(data: object, failure: zart.Failure) -> None:
    await undo()

@zart.zart_durable("odd-names", on_failure=on_failure)
async def odd_names() -> None:
    raise ValueError("[/oops]")

@zart.zart_durable
async def waits() -> str:
    return await zart.wait_for_event("go", type=str)
"""
OTHER_MODULE = """
import zart_redis as zart

@zart.zart_durable
async def elsewhere() -> str:
    return "from another module"
"""


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """One server: the commands know nothing of its version."""
    with RedisProcess() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app in it."""
    package = tmp_path / "workers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tasks.py").write_text(APP)
    (package / "others.py").write_text(OTHER_MODULE)
    return tmp_path


@pytest.fixture
def environment(redis_url: str, namespace: str) -> dict[str, str]:
    return {**os.environ, "ZART_REDIS_URL": redis_url, "ZART_NAMESPACE": namespace, "COLUMNS": "100"}


class Outcome(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Zart = Callable[..., Outcome]


@pytest.fixture
def zart(folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Zart:
    """Runs `zart` with arguments, in this process, which is faster than in one of its own."""
    monkeypatch.chdir(folder)

    def run(*arguments: str, **variables: str) -> Outcome:
        result = CliRunner().invoke(app, arguments, env={**environment, **variables})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


Command = Callable[..., Outcome]


@pytest.fixture
def command(folder: Path, environment: dict[str, str]) -> Command:
    """Runs a console script to its end, in a process of its own."""

    def run(name: str, *arguments: str, **variables: str) -> Outcome:
        done = subprocess.run(
            [str(BIN / name), *arguments],
            cwd=folder,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


class RunningPool:
    """A `zart-worker` process and what it logs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.first: list[int] = []
        """The worker processes that it began with; those of a killed pool may be left."""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def said(self, event: str) -> int:
        """How often."""
        return sum(1 for line in self.lines() if line["event"] == event)

    def children(self) -> list[int]:
        """The ids of its worker processes."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


Pools = Callable[..., RunningPool]


@pytest.fixture
def pools(folder: Path, environment: dict[str, str]) -> Iterator[Pools]:
    """Starts pools, and returns when all their processes take work."""
    started: list[RunningPool] = []

    def start(*arguments: str, processes: int = 1) -> RunningPool:
        log = folder / f"pool-{len(started)}.log"
        command = [str(BIN / "zart-worker"), "--processes", str(processes), "--log-format", "json", *arguments]
        with log.open("wb") as stderr:
            process = subprocess.Popen(command, cwd=folder, env=environment, stderr=stderr)
        pool = RunningPool(process, log)
        started.append(pool)
        block_until(lambda: pool.said("worker started") == processes)
        pool.first = pool.children()
        return pool

    yield start
    for pool in started:
        is_running = pool.process.poll() is None
        pids = [*pool.children(), pool.process.pid] if is_running else list(filter(is_worker, pool.first))
        for pid in pids:
            kill(pid)
        pool.process.wait()


def kill(pid: int) -> None:
    """Without a word, as for lack of memory."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """A zombie that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def is_worker(pid: int) -> bool:
    """Whether this is still a worker process: ids are given anew."""
    return is_alive(pid) and b"zart_redis.worker.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
