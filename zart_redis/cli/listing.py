"""The commands that count and list: list, stats, workers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, Tags, read_tags
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import to_ms
from zart_redis.model import ExecutionStatus


@client_command
async def list_executions(
    client: DurableScheduler,
    status: Annotated[ExecutionStatus | None, typer.Option(help="Show only executions with this status.")] = None,
    task: Annotated[str | None, typer.Option(help="Show only executions of this task.")] = None,
    queue: Annotated[str | None, typer.Option(help="Show only executions of this queue.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Show only ids with this prefix, ordered by id.")] = None,
    tag: Tags = None,
    parent: Annotated[str | None, typer.Option(help="Show only the children of the execution with this id.")] = None,
    since: Annotated[str | None, typer.Option(help="Show only executions created within this time: 1h, 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number to show.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Continue after a page: the cursor printed below it.")] = None,
    order: Annotated[Literal["newest", "oldest"], typer.Option(help="Which to show first.")] = "newest",
    as_json: AsJson = False,
) -> None:
    """List executions by time of creation, or by id with --prefix alone."""
    page = await client.list_executions(
        status=status,
        task_name=task,
        queue=queue,
        id_prefix=prefix,
        tags=read_tags(tag),
        parent=parent,
        created_after=_time_before_now(since),
        limit=limit,
        cursor=cursor,
        order=order,
    )
    output.print_page(page, as_json)


@client_command
async def stats(client: DurableScheduler, as_json: AsJson = False) -> None:
    """Count executions by status and task, and show the depth of each queue."""
    output.print_stats(await client.stats(), as_json)


@client_command
async def workers(client: DurableScheduler, as_json: AsJson = False) -> None:
    """List the live workers and what they run."""
    found = await client.workers()
    if as_json:
        output.print_json({"workers": found})
    else:
        output.render(output.workers_table(found))


def _time_before_now(since: str | None) -> datetime | None:
    return None if since is None else datetime.now(UTC) - timedelta(milliseconds=to_ms(since, what="--since"))
