"""The command: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console

from benchmarks.peers import report as peers
from benchmarks.scene import Scene, machine
from benchmarks.server import running_server, temporary_server
from benchmarks.table import as_json, as_table
from benchmarks.workloads import WORKLOADS

NAMES = [*WORKLOADS, "peers"]


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"What to run: {', '.join(NAMES)}. All but peers.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each; a table shows their median.")] = 5,
    short: Annotated[bool, typer.Option("--short", help="Small sizes: a second or two each, and rough.")] = False,
    redis_url: Annotated[str | None, typer.Option(help="A Redis to measure, with nothing else on it.")] = None,
    redis_server: Annotated[Path | None, typer.Option(help="Another redis-server than the embedded one.")] = None,
    sleepers: Annotated[
        int | None, typer.Option(min=1, help="How many executions sleep, or are listed, at once.")
    ] = None,
    python: Annotated[list[Path] | None, typer.Option(help="Interpreters to look for peers in.")] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
) -> None:
    """Measure, and print a table for each workload: medians over rounds, beside a baseline of the same round."""
    chosen = names or list(WORKLOADS)
    if unknown := set(chosen) - set(NAMES):
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    console = Console(stderr=as_json_)
    about = machine()
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), highlight=False)
    found: dict[str, Any] = {"about": about}
    for name in chosen:
        if name == "peers":
            newest = redis_server or (Path(on_path) if (on_path := shutil.which("redis-server")) else None)
            with running_server(redis_url) if redis_url else temporary_server(newest, by_tcp=True) as server:
                found[name] = peers.report(Scene(server, rounds, short), python or [], console)
        else:
            with running_server(redis_url) if redis_url else temporary_server(redis_server) as server:
                scene = Scene(server, rounds, short, sleepers)
                measured = uvloop.run(WORKLOADS[name].measure(scene))
                console.print(as_table(WORKLOADS[name], measured, scene))
                found[name] = as_json(WORKLOADS[name], measured)
    if as_json_:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
