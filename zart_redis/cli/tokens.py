"""The commands `zart token add`, `list` and `remove`."""

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
from zart_redis.client.tokens import Scope, Tokens

Name = Annotated[str, typer.Argument(help="Name of the token, such as that of its user or service.")]

app = command_line(name="token", no_args_is_help=True, help="Make, list and remove tokens of the HTTP API.")


@app.command("add")
@client_command
async def add_token(
    client: DurableScheduler,
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="What it allows; repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it: it cannot be shown again, as only its hash is kept."""
    added = await Tokens(client).add(name, scope)
    if as_json:
        output.print_json(added)
    else:
        output.echo_line(added.token)


@app.command("list")
@client_command
async def list_tokens(client: DurableScheduler, as_json: AsJson = False) -> None:
    """List the tokens and what they allow."""
    tokens = await Tokens(client).list()
    if as_json:
        output.print_json(tokens)
    elif not tokens:
        output.echo_line("no tokens")
    else:
        table = Table(name_column("token"), "scopes", "made", box=None, header_style="bold")
        for token in tokens:
            table.add_row(shown(token.name), ", ".join(token.scopes), f"{token.created_at:%Y-%m-%d %H:%M:%S}Z")
        output.render(table)


@app.command("remove")
@client_command
async def remove_token(client: DurableScheduler, name: Name, as_json: AsJson = False) -> Code:
    """Remove a token, which ends its sessions. Its streams end within a minute."""
    found = await Tokens(client).remove(name)
    output.echo_result({"removed": found}, f"removed {name}" if found else f"there is no token {name}", as_json)
    return Code.DONE if found else Code.NOT_FOUND
