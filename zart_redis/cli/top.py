"""`zart top`: queues, rates and workers, live."""

from __future__ import annotations

import asyncio
import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from zart_redis.cli import output
from zart_redis.cli.options import AsJson, Namespace, RedisUrl
from zart_redis.cli.running import Code, run, scheduler
from zart_redis.client.scheduler import Stats
from zart_redis.durations import format_ms
from zart_redis.model import WorkerInfo

REFRESH_SECONDS = 1.0
MOST_SHOWN = 5


def top(redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show queues, rates, and the workers with what they run, live until Ctrl-C. With --json, once."""

    async def action() -> Code:
        async with client:
            if as_json:
                output.print_json({"stats": await client.stats(), "workers": await client.workers()})
                return Code.DONE
            before, ended = time.monotonic(), _ended(await client.stats())
            with Live(auto_refresh=False) as live:
                while True:
                    stats, now = await client.stats(), time.monotonic()
                    rate = (_ended(stats) - ended) / (now - before)
                    live.update(_picture(stats, await client.workers(), rate), refresh=True)
                    before, ended = now, _ended(stats)
                    await asyncio.sleep(REFRESH_SECONDS)

    client = scheduler(redis_url, namespace)
    run(action())


def _ended(stats: Stats) -> int:
    return sum(count for status, count in stats.by_status.items() if status.is_final)


def _picture(stats: Stats, workers: list[WorkerInfo], rate: float) -> RenderableType:
    table = Table("worker", "host", "pid", "queues", "heard of", "runs", "", box=None, header_style="bold")
    for worker in workers:
        shown = ", ".join(worker.running[:MOST_SHOWN])
        more = worker.running_count - len(worker.running[:MOST_SHOWN])
        table.add_row(
            worker.worker_id,
            escape(worker.host),
            str(worker.pid),
            escape(", ".join(worker.queues)),
            f"{format_ms(worker.heartbeat_age_ms)} ago",
            f"{worker.running_count}/{worker.concurrency}",
            escape(f"{shown} and {more} more" if more > 0 else shown),
        )
    line = f"{max(rate, 0):.1f} executions a second end"
    return Group(*output.pictures(stats), "", table if workers else "[red]no worker is alive[/]", "", line)
