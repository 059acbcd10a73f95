"""`zart demo`: starts a Redis and a pool in a temporary folder, then runs both parts of the demo."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from zart_redis import log_config
from zart_redis.cli.demo.census import show_census
from zart_redis.cli.demo.order import show_order
from zart_redis.cli.demo.stage import Stage
from zart_redis.cli.running import Code, end, run
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.errors import ConfigurationError
from zart_redis.store.embedded import embedded_server
from zart_redis.worker.app import load
from zart_redis.worker.pool import Pool

PROCESSES = 2
CONCURRENCY = 2
"""Steps at once per process: they are CPU-bound, so more would only wait for each other."""


def demo() -> None:
    """Run a census with a worker killed half way, and an order with a failing payment. Takes under a minute."""
    try:
        load("workers.census")
        load("workers.orders")
    except ConfigurationError as error:
        why = f"the demo runs the workers of this project; start it in the project's folder: {error}"
        end(why, Code.UNAVAILABLE, error.code)
    log_config.configure("error")
    run(_play(Console(highlight=False)))


async def _play(console: Console) -> Code:
    console.print(
        "[bold]Durable execution[/]: each step of a program is recorded in Redis before the\n"
        "next one begins. Kill any process that runs it, and another one resumes where\n"
        "it stopped. Here it is, on real work.\n"
    )
    async with _stage(console) as stage:
        is_equal = await show_census(stage)
        await show_order(stage)
    console.print("\nNext: read [bold]workers/[/], run [bold]zart dev[/], and start your own.")
    return Code.DONE if is_equal else Code.FAILED


async def _ready(pool: Pool, running: asyncio.Task[bool], console: Console) -> None:
    """Return when every process of the pool takes work; raise if the pool cannot start."""
    with console.status("starting Redis and two worker processes"):
        while len(pool.workers) < PROCESSES and not running.done():
            await asyncio.wait([running], timeout=0.05)
    if running.done():
        await running


@asynccontextmanager
async def _stage(console: Console) -> AsyncIterator[Stage]:
    """A temporary Redis, pool and client; the `.zart` folder of the project is not touched."""
    with tempfile.TemporaryDirectory(prefix="zart-demo-", ignore_cleanup_errors=True) as folder:
        async with embedded_server(Path(folder)) as server:
            common = {"redis_url": server.url, "namespace": "demo", "log_level": "error"}
            pool = Pool(
                {**common, "app": "workers", "queues": ["default"], "concurrency": CONCURRENCY}, processes=PROCESSES
            )
            running = asyncio.create_task(pool.run())
            try:
                async with DurableScheduler(server.url, namespace="demo") as scheduler:
                    await _ready(pool, running, console)
                    yield Stage(console, Path(folder), scheduler, pool)
            finally:
                pool.stop()
                await running
