"""The commands that show the history: runs, detail, watch."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live

from zart_redis.cli import output, timeline
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, ExecutionId
from zart_redis.cli.running import Code
from zart_redis.client.history import RunDetail
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.client.views import reasons, to_json
from zart_redis.model import ExecutionRecord, ExecutionStatus

REFRESH_SECONDS = 0.5
OTHER_LINES = 12
"""Lines above and below the steps of a watched timeline. A line beyond the terminal's height would be invisible."""


@client_command
async def runs(client: DurableScheduler, id: ExecutionId, as_json: AsJson = False) -> None:
    """Show every run of an execution, and who began it."""
    found = await client.runs(id)
    if as_json:
        output.print_json(found)
    else:
        output.render(timeline.of_runs(found))


@client_command
async def detail(
    client: DurableScheduler,
    id: ExecutionId,
    number: Annotated[int | None, typer.Option("--run", help="Number of the run. [default: the newest]")] = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the tracebacks of errors.")] = False,
    payloads: Annotated[bool, typer.Option(help="Show input, output, results and events.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of steps to show. [default: all]")] = None,
    steps_after: Annotated[
        str | None, typer.Option(help="Continue after a page: the step printed below it.", metavar="STEP")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a run as a timeline of its steps and attempts, with errors and times."""
    found = await client.detail(id, number, payloads=payloads, steps_after=steps_after, limit=limit)
    if as_json:
        output.print_json(found)
        return
    why = await _reasons(client, await client.status(id), found)
    output.render(timeline.of_detail(found, why, payloads=payloads, tracebacks=traceback))
    if found.has_more:
        output.echo_line(f"more: --steps-after {shlex.quote(found.steps[-1].name)}")


@client_command
async def export(
    client: DurableScheduler,
    id: ExecutionId,
    number: Annotated[int | None, typer.Option("--run", help="Number of the run. [default: the newest]")] = None,
    payloads: Annotated[bool, typer.Option(help="Include inputs, results, errors and events.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as it does anyway.")] = False,
) -> None:
    """Print the history of a run as JSON, for zart_redis.testing.replay. Without payloads it cannot be replayed."""
    output.print_json(await client.history(id, number, payloads=payloads))


@client_command
async def watch(
    client: DurableScheduler,
    id: ExecutionId,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON whenever something changes.")] = False,
) -> Code:
    """Follow an execution live until it has finished. Exits with 1 if it failed or was cancelled."""
    with nullcontext() if as_json else Live(console=Console(), auto_refresh=False) as live:
        printed = ""
        while True:
            record, found = await client.status(id), await client.detail(id)
            if live is not None:
                max_steps = max(live.console.height - OTHER_LINES, 1)
                content = timeline.of_detail(found, await _reasons(client, record, found), max_steps)
                if record.progress is not None:
                    content = Group(content, output.progress_bar(record.progress))
                live.update(content, refresh=True)
            elif (line := to_json(found)) != printed:
                print(line, flush=True)
                printed = line
            if record.status.is_final:
                return Code.DONE if record.status is ExecutionStatus.COMPLETED else Code.FAILED
            await asyncio.sleep(REFRESH_SECONDS)


async def _reasons(client: DurableScheduler, record: ExecutionRecord, run: RunDetail) -> list[str]:
    return reasons(record, run, await client.workers(), await client.list_pause_rules())
