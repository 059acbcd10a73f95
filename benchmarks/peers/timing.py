"""What the programs of peers share. Python alone is needed, whatever environment they run in."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

ALONE, TOGETHER = (int(os.environ.get(f"PEER_{word}", "100")) for word in ("ALONE", "TOGETHER"))
"""How many no-ops one at a time, and how many at once."""
URL = os.environ.get("PEER_URL", "redis://localhost:6379")
FOLDER = Path(os.environ.get("PEER_FOLDER", "."))
LONGEST = 120.0

_counted = 0


def count(number: int) -> None:
    """In the worker: a task has run. The last one of those that are measured leaves a mark."""
    global _counted
    _counted += number >= 0
    if _counted == ALONE + TOGETHER:
        (FOLDER / "done").touch()


async def no_ops(run_one: Callable[[int], Awaitable[int]], enqueue: Callable[[int], Awaitable[object]]) -> None:
    """Measure and print: `run_one` awaits a result, `enqueue` only enqueues so many tasks."""
    async with asyncio.timeout(LONGEST):
        await _warm_up(run_one)
        latencies = [await timed(run_one, number) for number in range(ALONE)]
        began = time.perf_counter()
        await enqueue(TOGETHER)
        while not (FOLDER / "done").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.001)
        tell({**percentiles(latencies), "per_second": TOGETHER / (time.perf_counter() - began)})


async def _warm_up(run_one: Callable[[int], Awaitable[int]]) -> None:
    """Some libraries lose what is enqueued before the first worker has started."""
    while True:
        try:
            async with asyncio.timeout(2):
                await run_one(-1)
                return
        except TimeoutError:
            pass


async def timed(run_one: Callable[[int], Awaitable[int]], number: int) -> float:
    """The milliseconds until the result is there, which must be the number."""
    began = time.perf_counter()
    if await run_one(number) != number:
        raise SystemExit(f"no-op {number} has another result")
    return (time.perf_counter() - began) * 1000


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)]}


def tell(figures: dict[str, float]) -> None:
    """What the report reads."""
    print(json.dumps(figures))


def versions(*packages: str) -> None:
    """What the report asks first; ends the program if this is what it was started for."""
    if sys.argv[1:] == ["--version"]:
        print(", ".join(f"{package} {version(package)}" for package in packages))
        sys.exit()


@asynccontextmanager
async def worker(*arguments: str) -> AsyncIterator[None]:
    """A worker process, `python -m ARGUMENTS`, for the length of a block."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
