"""The commands that show what has happened: runs, detail, watch."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.live import Live

from zart_redis.cli import output, timeline
from zart_redis.cli.options import AsJson, ExecutionId, Namespace, RedisUrl
from zart_redis.cli.running import Code, run, scheduler

REFRESH_SECONDS = 0.5


def runs(id: ExecutionId, redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show every run of an execution, and who began it."""

    async def action() -> Code:
        async with client:
            found = await client.runs(id)
        if as_json:
            output.print_json(found)
        else:
            output.show(timeline.of_runs(found))
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def detail(
    id: ExecutionId,
    number: Annotated[int | None, typer.Option("--run", help="Which run; else the newest.")] = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show a run as a timeline of its steps and attempts, with errors and times."""

    async def action() -> Code:
        async with client:
            found = await client.detail(id, number)
            status = await client.status(id)
        if as_json:
            output.print_json(found)
        else:
            output.show(timeline.of_detail(found, status.waiting_for if found.summary.run == status.run else ()))
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def watch(id: ExecutionId, redis_url: RedisUrl = None, namespace: Namespace = None) -> None:
    """Follow an execution live, until it has ended. Exits with 1 if it failed or was cancelled."""

    async def action() -> Code:
        async with client:
            with Live(auto_refresh=False) as live:
                while True:
                    record, found = await client.status(id), await client.detail(id)
                    live.update(timeline.of_detail(found, record.waiting_for), refresh=True)
                    if record.status.is_final:
                        return Code.DONE if record.status == "completed" else Code.FAILED
                    await asyncio.sleep(REFRESH_SECONDS)

    client = scheduler(redis_url, namespace)
    run(action())
