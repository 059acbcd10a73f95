"""`zart follow`: what an execution emits."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, ExecutionId
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.client.views import to_json
from zart_redis.emissions import Restarted, StreamItem, Truncated
from zart_redis.printable import printable


@client_command
async def follow(
    client: DurableScheduler,
    id: ExecutionId,
    stream: Annotated[str, typer.Option(help="Name of the stream.")] = "default",
    after: Annotated[str | None, typer.Option(help="Begin behind this cursor. [default: with the first item]")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the items of a stream as they come, until the execution has finished: one value a line, as JSON.

    With --json each line is an object that has the value, cursor, run, step, attempt and time, or says that a step has
    restarted or that items are missing.
    """
    async for item in client.follow(id, stream, after=after):
        match item:
            case StreamItem():
                print(to_json(item if as_json else item.value), flush=True)
            case _ if as_json:
                print(to_json({"event": type(item).__name__.lower()} | asdict(item)), flush=True)
            case Restarted():
                sys.stderr.write(f"step {printable(item.step)} begins again (attempt {item.attempt})\n")
            case Truncated():
                sys.stderr.write("earlier items are no longer kept\n")
