"""The second part: an order whose payment fails twice, which sleeps, and which an event completes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from rich.table import Column, Table

from zart_redis.cli.demo.stage import Stage, recorded_steps
from zart_redis.cli.output import shown
from zart_redis.client.delivery import EventClient
from zart_redis.client.views import to_json
from zart_redis.durations import format_ms
from zart_redis.model import ExecutionRecord

ORDER = "order-1"
DATA = {"id": ORDER, "account": "ann", "items": {"lamp": 4900, "bulb": 350}, "outages": 2, "settle": "1s"}
LOOK_EVERY_SECONDS = 0.05


async def show_order(stage: Stage) -> None:
    """From `start` to the printed timeline."""
    stage.console.print(
        "[bold]2. An order.[/] The payment provider is down for two attempts; the money takes\n"
        "   a second to arrive; then the warehouse reports that the parcel has left. While\n"
        "   the order sleeps or waits, it occupies no process.\n"
    )
    await stage.scheduler.start(ORDER, "fulfil-order", DATA)
    with stage.console.status("the order is on its way"):
        await _until_it_waits_for(stage, "event shipped")
        settings = stage.scheduler.settings
        async with EventClient(settings.redis_url, namespace=settings.namespace) as warehouse:
            delivery = await warehouse.offer_event(ORDER, "shipped", {"tracking": "ZR-42"})
            delivered_at = datetime.now(UTC)
        record = await stage.scheduler.wait(ORDER, "30s")
    stage.console.print(await _timeline(stage, record, delivery, delivered_at))


async def _until_it_waits_for(stage: Stage, what: str) -> None:
    while what not in (await stage.scheduler.status(ORDER)).waiting_for:  # noqa: ASYNC110 a spectator has no event
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _timeline(stage: Stage, record: ExecutionRecord, delivery: str, delivered_at: datetime) -> Table:
    """From the records in Redis, by its clock; of the event, what this process saw."""
    steps = await recorded_steps(stage, ORDER)
    table = Table("after", "what", Column("how", overflow="fold"), box=None, header_style="bold")

    def row(at: datetime | None, what: str, how: str) -> None:
        ms = 0 if at is None else round((at - record.created_at).total_seconds() * 1000)
        table.add_row(format_ms(max(ms, 0)), what, how)

    row(record.created_at, "started", "")
    for name in ("validate-order", "charge-order"):
        step = steps[name]
        tries = step.attempt_count
        failed = f", of which {tries - 1} failed" if tries > 1 else ""
        by = step.attempts[-1].worker
        row(step.finished_at, f"step {name}", f"{tries} attempt{'s' if failed else ''}{failed}; worker {by}")
    row(steps["settle"].finished_at, "sleep settle", "over; it occupied no process")
    row(delivered_at, "event shipped", f"{delivery} by an EventClient")
    row(record.finished_at, record.status, shown(to_json(record.output)))
    return table
