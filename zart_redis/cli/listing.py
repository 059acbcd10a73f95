"""The commands about many executions: list, stats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from zart_redis.cli import output
from zart_redis.cli.options import AsJson, Namespace, RedisUrl
from zart_redis.cli.running import Code, run, scheduler
from zart_redis.durations import to_ms
from zart_redis.model import ExecutionStatus


def list_executions(
    status: Annotated[ExecutionStatus | None, typer.Option(help="Only those in this status.")] = None,
    task: Annotated[str | None, typer.Option(help="Only those of this task.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only those of this queue.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only ids that begin so; then in the order of ids.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those started within this time: 1h, 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    order: Annotated[Literal["newest", "oldest"], typer.Option(help="Which come first.")] = "newest",
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """List executions by the time they were started."""

    async def action() -> Code:
        async with client:
            page = await client.list_executions(
                status=status,
                task_name=task,
                queue=queue,
                id_prefix=prefix,
                created_after=None if since is None else datetime.now(UTC) - timedelta(milliseconds=to_ms(since)),
                limit=limit,
                cursor=cursor,
                order=order,
            )
        output.print_page(page, as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def stats(redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Count executions by status and task, and show how deep the queues are."""

    async def action() -> Code:
        async with client:
            output.print_stats(await client.stats(), as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())
