"""The commands `zart recurring list`, `start`, `stop`, `pause`, `resume` and `trigger`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, read_json, read_tags
from zart_redis.cli.output import name_column, shown
from zart_redis.cli.running import Code, command_line
from zart_redis.client.recurring import RecurringRecord
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import format_ms
from zart_redis.errors import InvalidInput
from zart_redis.recurring import CatchUp, Overlap

RecurringId = Annotated[str, typer.Argument(metavar="ID", help="Id of the recurring execution.")]

app = command_line(name="recurring", no_args_is_help=True, help="Start executions by interval or cron line.")


@app.command("list")
@client_command
async def list_recurring(client: DurableScheduler, as_json: AsJson = False) -> None:
    """List the recurring executions, and when they start their next occurrences."""
    records = await client.list_recurring()
    if as_json:
        output.print_json(records)
    elif not records:
        output.echo_line("no recurring executions")
    else:
        output.render(_table(records))


@app.command("start")
@client_command
async def start_recurring(
    client: DurableScheduler,
    id: RecurringId,
    task: Annotated[str, typer.Argument(help="Name of the task.")],
    id_template: Annotated[str, typer.Option(help="Ids of the occurrences, with {occurrence} or {time}.")],
    every: Annotated[str | None, typer.Option(help="Interval: 30s, 5m, 1d.")] = None,
    cron: Annotated[str | None, typer.Option(help="Five fields, such as '0 3 * * *'.")] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the cron line.")] = "UTC",
    overlap: Annotated[Overlap, typer.Option(help="If one is live: skip, cancel it, or allow both.")] = "skip",
    catch_up: Annotated[CatchUp, typer.Option(help="Which missed ticks to start: none, latest or all.")] = "latest",
    data: Annotated[str | None, typer.Option(help="Input, as JSON.")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue to start on.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the occurrences, as NAME=VALUE; repeatable.")] = None,
    jitter: Annotated[str | None, typer.Option(help="Longest random delay of an occurrence.")] = None,
    start_at: Annotated[str | None, typer.Option(help="First tick, as 2030-01-31T08:00:00Z.")] = None,
    end_at: Annotated[str | None, typer.Option(help="No tick is later, as 2030-01-31T08:00:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start executions of TASK again and again, or replace the schedule of ID."""
    await client.start_recurring(
        id,
        task,
        id_template,
        every=every,
        cron=cron,
        timezone=timezone,
        overlap=overlap,
        catch_up=catch_up,
        data=read_json(data, "--data"),
        queue=queue,
        tags=read_tags(tag),
        jitter=jitter,
        start_at=_read_time(start_at, "--start-at"),
        end_at=_read_time(end_at, "--end-at"),
    )
    output.echo_result({"recurring_id": id}, f"set recurring execution {id}", as_json)


@app.command("stop")
@client_command
async def stop_recurring(client: DurableScheduler, id: RecurringId, as_json: AsJson = False) -> None:
    """Forget a recurring execution. Its occurrences continue."""
    await client.stop_recurring(id)
    output.echo_result({"recurring_id": id}, f"stopped recurring execution {id}", as_json)


@app.command("pause")
@client_command
async def pause_recurring(client: DurableScheduler, id: RecurringId, as_json: AsJson = False) -> None:
    """Start no occurrences until it is resumed; ticks meanwhile are not made up for."""
    await client.pause_recurring(id)
    output.echo_result({"recurring_id": id}, f"paused recurring execution {id}", as_json)


@app.command("resume")
@client_command
async def resume_recurring(client: DurableScheduler, id: RecurringId, as_json: AsJson = False) -> None:
    """Continue with the next tick."""
    await client.resume_recurring(id)
    output.echo_result({"recurring_id": id}, f"resumed recurring execution {id}", as_json)


@app.command("trigger")
@client_command
async def trigger_recurring(client: DurableScheduler, id: RecurringId, as_json: AsJson = False) -> Code:
    """Start an occurrence now. Exits with 5 if it is skipped, because one is live or its id is taken."""
    execution_id = await client.trigger_recurring(id)
    text = "skipped; `zart recurring list` says why" if execution_id is None else f"started {execution_id}"
    output.echo_result({"recurring_id": id, "execution_id": execution_id}, text, as_json)
    return Code.REFUSED if execution_id is None else Code.DONE


def _table(records: list[RecurringRecord]) -> Table:
    table = Table(
        name_column("id"), name_column("task"), "when", "next", "live", "skipped", box=None, header_style="bold"
    )
    for record in records:
        every = "" if record.every is None else f"every {format_ms(round(record.every * 1000))}"
        zone = "" if record.cron is None or record.timezone == "UTC" else f" {record.timezone}"
        following = f"{record.next_times[0]:%Y-%m-%d %H:%M:%S}Z" if record.next_times else ""
        table.add_row(
            shown(record.recurring_id),
            shown(record.handler),
            shown(every or f"{record.cron}{zone}"),
            "[yellow]paused[/]" if record.paused else following,
            str(len(record.live)),
            shown(record.last_skip_reason or ""),
        )
    return table


def _read_time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{option} takes a time such as 2030-01-31T08:00:00Z, not {text!r:.100}") from None
