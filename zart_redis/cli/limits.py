"""The commands `zart limits list`, `set` and `reset`."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson
from zart_redis.cli.running import Code, command_line
from zart_redis.client.limits import LimitRecord
from zart_redis.client.scheduler import DurableScheduler

Name = Annotated[str, typer.Argument(help="Name of the limit.")]
Key = Annotated[str | None, typer.Option(help="Only this key of the limit. [default: all keys without a number]")]

app = command_line(name="limits", no_args_is_help=True, help="Show and set the limits on concurrency and rates.")


@app.command("list")
@client_command
async def list_limits(client: DurableScheduler, as_json: AsJson = False) -> None:
    """List the limits, and those of their keys that are in use or an operator has set numbers for."""
    records = await client.limits()
    lines = [_line(record) for record in records] or ["no limits"]
    output.echo_result(records, lines, as_json)


@app.command("set")
@client_command
async def set_limit(
    client: DurableScheduler,
    name: Name,
    key: Key = None,
    concurrency: Annotated[int | None, typer.Option(help="How many may run at a time; 0 stops.")] = None,
    rate: Annotated[str | None, typer.Option(help="How many may begin in a time: 500/1m.")] = None,
    burst: Annotated[int | None, typer.Option(help="How many of them may begin at once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Override the declared numbers of a limit, until they are reset."""
    await client.set_limit(name, key=key, concurrency=concurrency, rate=rate, burst=burst)
    output.echo_result({"name": name, "key": key}, f"set limit {_shown(name, key)}", as_json)


@app.command("reset")
@client_command
async def reset_limit(client: DurableScheduler, name: Name, key: Key = None, as_json: AsJson = False) -> Code:
    """Return a limit to its declared numbers."""
    found = await client.reset_limit(name, key=key)
    text = f"reset limit {_shown(name, key)}" if found else f"nothing is set for limit {_shown(name, key)}"
    output.echo_result({"reset": found}, text, as_json)
    return Code.DONE if found else Code.NOT_FOUND


def _shown(name: str, key: str | None) -> str:
    return name if key is None else f"{name} {key}"


def _line(record: LimitRecord) -> str:
    numbers = [f"concurrency {record.concurrency}"] if record.concurrency is not None else []
    numbers += [f"rate {record.rate}"] if record.rate else []
    return f"{_shown(record.name, record.key)}: {record.held} held, {record.waiting} waiting ({', '.join(numbers)})"
