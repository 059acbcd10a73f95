"""The commands: `python -m tests.soak chaos`, `durability` and `failover`."""

from __future__ import annotations

import random
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from tests.soak.durability import as_table as as_loss_table
from tests.soak.durability import measure
from tests.soak.failover import Topology, soak_failover
from tests.soak.failover import as_table as as_stall_table
from tests.soak.run import Setting, soak, usual_faults
from tests.soak.verdict import as_table, examples
from tests.support.servers import installed_servers
from zart_redis import log_config

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _commands() -> None:
    """Soak zart_redis."""


console = Console(width=max(120, shutil.get_terminal_size().columns))


class Fsync(StrEnum):
    ALWAYS = "always"
    EVERYSEC = "everysec"


ServerOption = Annotated[Path | None, typer.Option(help="A redis-server; by default the newest one at hand.")]


@app.command()
def chaos(
    executions: Annotated[int, typer.Option(min=1)] = 20_000,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes at any time.")] = 3,
    producers: Annotated[int, typer.Option(min=1)] = 3,
    seconds_of_chaos: Annotated[float, typer.Option(min=1, help="The load is spread over them.")] = 120,
    appendfsync: Fsync = Fsync.ALWAYS,
    seed: Annotated[int | None, typer.Option(help="Repeats orders and faults, as far as processes allow.")] = None,
    redis_server: ServerOption = None,
) -> None:
    """Load while workers and Redis die, and a verdict on what is left. Exit code 1 if anything is wrong."""
    seed = random.randrange(1_000_000) if seed is None else seed
    binary = redis_server or _newest()
    faults = usual_faults(seconds_of_chaos, appendfsync)
    setting = Setting(executions, workers, producers, seconds_of_chaos, appendfsync, seed, binary, faults)
    console.print(f"seed {seed}, appendfsync {appendfsync}, {binary}", highlight=False)
    report = uvloop.run(soak(setting, lambda line: console.print(line, highlight=False)))
    done = ", ".join(f"{count} x {fault}" for fault, count in report.faults.items())
    for line in (*report.notes, done):
        console.print(line, highlight=False)
    console.print(as_table(report.checks, f"seed {seed}, appendfsync {appendfsync}"))
    for line in examples(report.checks):
        console.print(line, highlight=False, markup=False)
    sys.exit(0 if report.passed else 1)


@app.command()
def durability(
    rounds: Annotated[int, typer.Option(min=1, help="How often Redis dies in each case.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of load before each death.")] = 4,
    redis_server: ServerOption = None,
) -> None:
    """What each level of `ack` costs, and what is lost of what it has acknowledged when Redis dies."""
    log_config.configure("error")  # that Redis is away is no news here
    binary = redis_server or _newest()
    found = uvloop.run(measure(binary, rounds, seconds, lambda line: console.print(line, highlight=False)))
    console.print(as_loss_table(found, f"{rounds} deaths each, {binary}"))


@app.command()
def failover(
    topology: Topology,
    deaths: Annotated[int, typer.Option(min=1, help="How often a master dies.")] = 5,
    ack: Annotated[str, typer.Option(help="memory or replicas:1.")] = "replicas:1",
    redis_server: ServerOption = None,
) -> None:
    """Load while masters die and replicas take over by themselves. Exit code 1 if anything is wrong."""
    log_config.configure("error")  # that Redis is away is no news here
    binary = redis_server or _newest()
    title = f"{topology}, ack {ack}, {binary}"
    report = uvloop.run(soak_failover(topology, binary, deaths, ack, random.Random()))
    console.print(as_stall_table(report.stalls, title))
    console.print(as_table(report.checks, title))
    for line in examples(report.checks):
        console.print(line, highlight=False, markup=False)
    sys.exit(0 if report.passed else 1)


def _newest() -> Path:
    return list(installed_servers().values())[-1]


if __name__ == "__main__":
    app()
