"""The commands `zart queue list`, `pause` and `resume`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson
from zart_redis.cli.output import name_column, shown
from zart_redis.cli.running import Code, command_line
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import format_ms

Name = Annotated[str, typer.Argument(help="Name of the queue.")]

app = command_line(name="queue", no_args_is_help=True, help="Show, pause and resume queues.")


@app.command("list")
@client_command
async def list_queues(client: DurableScheduler, as_json: AsJson = False) -> None:
    """List the queues with their depth, their workers, and whether they are paused."""
    records = await client.queues()
    if as_json:
        output.print_json(records)
        return
    table = Table(name_column("queue"), "queued", "held", "oldest", "workers", "", box=None, header_style="bold")
    for record in records:
        oldest = "" if record.oldest_seconds is None else format_ms(round(record.oldest_seconds * 1000))
        state = "[red]no worker[/]" if record.depth and not record.workers else ""
        if record.paused:
            state = "[yellow]paused[/]"
        table.add_row(shown(record.name), str(record.depth), str(record.held), oldest, str(record.workers), state)
    output.render(table)


@app.command("pause")
@client_command
async def pause_queue(client: DurableScheduler, name: Name, as_json: AsJson = False) -> None:
    """Hold the executions of a queue before their next step. Running steps may finish; nothing is lost."""
    rule = await client.pause(queue=name)
    output.echo_result(rule, f"paused queue {name}", as_json)


@app.command("resume")
@client_command
async def resume_queue(client: DurableScheduler, name: Name, as_json: AsJson = False) -> Code:
    """Resume a queue that was paused."""
    found = await client.resume(queue=name)
    output.echo_result({"resumed": found}, f"resumed queue {name}" if found else f"queue {name} is not paused", as_json)
    return Code.DONE if found else Code.NOT_FOUND
