"""`zart top`: queues, rates and workers, live."""

from __future__ import annotations

import asyncio
import time

from rich.console import Group, RenderableType
from rich.live import Live

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson
from zart_redis.client.lists import Stats
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.model import WorkerInfo

REFRESH_SECONDS = 1.0


@client_command
async def top(client: DurableScheduler, as_json: AsJson = False) -> None:
    """Show queues, rates and workers live, until Ctrl-C. With --json, print them once."""
    if as_json:
        output.print_json({"stats": await client.stats(), "workers": await client.workers()})
        return
    before, ended = time.monotonic(), _ended(await client.stats())
    with Live(auto_refresh=False) as live:
        while True:
            stats, now = await client.stats(), time.monotonic()
            rate = (_ended(stats) - ended) / (now - before)
            live.update(_picture(stats, await client.workers(), rate), refresh=True)
            before, ended = now, _ended(stats)
            await asyncio.sleep(REFRESH_SECONDS)


def _ended(stats: Stats) -> int:
    return sum(count for status, count in stats.by_status.items() if status.is_final)


def _picture(stats: Stats, workers: list[WorkerInfo], rate: float) -> RenderableType:
    line = f"{max(rate, 0):.1f} executions finish per second"
    return Group(*output.stats_tables(stats), "", output.workers_table(workers), "", line)
