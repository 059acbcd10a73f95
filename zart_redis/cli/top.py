"""`zart top`: queues, rates and workers, live."""

from __future__ import annotations

import asyncio
import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson
from zart_redis.cli.output import shown
from zart_redis.client.lists import Stats
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import format_ms
from zart_redis.model import WorkerInfo

REFRESH_SECONDS = 1.0
MAX_RUNNING_SHOWN = 5


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
    table = Table("worker", "host", "pid", "queues", "heartbeat", "runs", "", box=None, header_style="bold")
    for worker in workers:
        names = ", ".join(worker.running[:MAX_RUNNING_SHOWN])
        more = worker.running_count - len(worker.running[:MAX_RUNNING_SHOWN])
        table.add_row(
            shown(worker.worker_id),
            shown(worker.host),
            str(worker.pid),
            shown(", ".join(worker.queues)),
            f"{format_ms(worker.heartbeat_age_ms)} ago",
            f"{worker.running_count}/{worker.concurrency}",
            shown(f"{names} and {more} more" if more > 0 else names),
        )
    line = f"{max(rate, 0):.1f} executions finish per second"
    return Group(*output.stats_tables(stats), "", table if workers else "[red]no live worker[/]", "", line)
