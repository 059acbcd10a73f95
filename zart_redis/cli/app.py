"""`zart`: all its commands, put together."""

from __future__ import annotations

from collections.abc import Callable

from zart_redis.cli import (
    bulk,
    executions,
    history,
    limits,
    listing,
    pauses,
    queues,
    recurring,
    repair,
    streams,
    tokens,
)
from zart_redis.cli.check_replay import check_replay
from zart_redis.cli.demo.command import demo
from zart_redis.cli.dev import dev
from zart_redis.cli.running import command_line, run_command_line
from zart_redis.cli.serve import serve
from zart_redis.cli.top import top

COMMANDS: tuple[Callable[..., None], ...] = (
    executions.start, executions.status, executions.wait, executions.cancel, executions.event, executions.send,
    listing.list_executions, listing.stats, listing.workers, top,
    history.runs, history.detail, history.export, history.watch, streams.follow, check_replay,
    repair.retry_step, repair.restart, repair.rerun, repair.purge, repair.doctor,
    bulk.bulk, pauses.pause, pauses.resume, pauses.pause_list,
    serve, dev, demo,
)  # fmt: skip

app = command_line(
    name="zart", no_args_is_help=True, help="Start, follow and manage durable executions.", completion=True
)
for command in COMMANDS:
    app.command({"list_executions": "list", "export": "history"}.get(command.__name__))(command)
app.add_typer(limits.app)
app.add_typer(queues.app)
app.add_typer(recurring.app)
app.add_typer(tokens.app)


def main() -> None:
    """The console script."""
    run_command_line(app)
