"""Worker processes: started, watched from outside by /proc (so on Linux only), killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EXIT_TIMEOUT = 20.0


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, in steps of 10 ms."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@asynccontextmanager
async def worker_process(url: str, **settings: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a separate process, on uvloop, once it takes work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.worker", json.dumps({"log_level": "error", **settings})),
        env={**os.environ, "ZART_REDIS_URL": url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    async with ended(process):
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError("a worker process did not start")
        yield process


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """At the end of the block the process is asked to end, and killed if it does not."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(EXIT_TIMEOUT):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
