"""Starts the programs of peers, each in an environment that has its library, and sets ours beside them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.figures import quantile
from benchmarks.peers import postgres
from benchmarks.scene import Scene
from benchmarks.table import readable
from benchmarks.workloads import chain, fan_out, no_op, throughput, wake

Figures = dict[str, float]

COLUMNS = {
    "p50": "no-op p50 ms",
    "p99": "p99 ms",
    "per_second": "no-ops /s",
    "step": "chain ms/step",
    "steps_per_second": "steps /s",
    "fan_out": "fan-out 1,000 ms",
    "wake": "event p50 ms",
}
"""The figures that programs print, in the order of the table's columns. A queue has only the first ones."""
MORE_IS_BETTER = {"per_second", "steps_per_second"}
PEER_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    module: str
    package: str
    server: str | None = None
    """The program that must be on PATH, besides ours."""


PEERS = (
    Peer("streaq", "streaq_peer", "streaq"),
    Peer("docket", "docket_peer", "pydocket"),
    Peer("taskiq-redis", "taskiq_peer", "taskiq-redis"),
    Peer("arq", "arq_peer", "arq"),
    Peer("DBOS on SQLite", "dbos_peer", "dbos"),
    Peer("DBOS on Postgres", "dbos_peer", "dbos", "postgres"),
    Peer("Restate", "restate_peer", "restate-sdk[client] hypercorn", "restate-server"),
)


class PeerFailed(Exception):
    """The program of a peer has ended with an error."""


@dataclass(slots=True)
class Measured:
    name: str
    version: str
    run: Callable[[], Figures]
    rounds: list[Figures] = field(default_factory=list)

    def median(self, figure: str) -> float | None:
        values = [each[figure] for each in self.rounds if figure in each]
        return median(values) if values else None


def report(scene: Scene, pythons: Sequence[Path], console: Console) -> dict[str, Any]:
    """Measure ours and every peer that is found, round by round, and print how they compare."""
    candidates = [Path(sys.executable), *pythons]
    with postgres.temporary_postgres() if postgres.SERVER else nullcontext() as database:
        ours = Measured("zart_redis", "", lambda: uvloop.run(_ours(scene)))
        measured = [ours]
        for peer in PEERS:
            found = _find(peer, candidates)
            if peer.server and shutil.which(peer.server) is None:
                console.print(f"{peer.name} is left out: there is no {peer.server} on PATH")
            elif found is None:
                console.print(
                    f"{peer.name} is left out: make a venv, `pip install {peer.package}`, and pass its --python"
                )
            else:
                url = database if peer.server == "postgres" else None
                run = functools.partial(_run, scene, peer, found[0], url)
                measured.append(Measured(peer.name, found[1], run))
        for _ in range(scene.rounds):
            for each in list(measured):
                try:
                    each.rounds.append(each.run())
                except PeerFailed as error:
                    measured.remove(each)
                    console.print(f"{each.name} is left out: {error}", highlight=False)
    console.print(_table(measured))
    return {each.name: {"version": each.version, "rounds": each.rounds} for each in measured}


def _find(peer: Peer, pythons: Sequence[Path]) -> tuple[Path, str] | None:
    """The first interpreter that has the library, and the versions it has."""
    for python in pythons:
        asked = subprocess.run(
            [python, "-m", f"benchmarks.peers.{peer.module}", "--version"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            return python, asked.stdout.strip()
    return None


def _run(scene: Scene, peer: Peer, python: Path, database: str | None) -> Figures:
    """What one program prints at its end."""
    with tempfile.TemporaryDirectory(prefix="zart-bench-") as folder:
        environment = {
            **os.environ,
            "PEER_URL": scene.server.url,
            "PEER_FOLDER": folder,
            "PEER_ALONE": "100",
            "PEER_TOGETHER": "1000",
            **({"PEER_DATABASE": database} if database else {}),
        }
        ran = subprocess.run(
            [python, "-m", f"benchmarks.peers.{peer.module}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PEER_TIMEOUT,
            check=False,
        )
    if ran.returncode:
        lines = ran.stderr.strip(" -+|\n").splitlines() or ["no reason given"]
        raise PeerFailed(f"it has failed: {lines[-1].strip(' |')}")
    figures: Figures = json.loads(ran.stdout.splitlines()[-1])
    return figures


async def _ours(scene: Scene) -> Figures:
    async with scene.stage() as stage:
        await no_op.latencies(stage, 10)
        alone = await no_op.latencies(stage, 100)
        return {
            "p50": quantile(alone, 0.5) * 1000,
            "p99": quantile(alone, 0.99) * 1000,
            "per_second": await no_op.executions_per_second(stage, scene.size(10_000, 1000)),
            "step": await chain.seconds_per_step(stage, 300) * 1000,
            "steps_per_second": await throughput.steps_per_second(stage, scene.size(1000, 100)),
            "fan_out": await fan_out.seconds(stage, 1000) * 1000,
            "wake": quantile(await wake.event_latencies(stage, 30), 0.5) * 1000,
        }


def _table(measured: Sequence[Measured]) -> Table:
    """A row a library; in brackets how many times as good ours is in the same rounds."""
    table = Table(title="peers: medians, and how many times as good ours are", title_justify="left")
    table.add_column("library")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    ours = measured[0]
    for each in measured:
        cells = []
        for figure in COLUMNS:
            theirs, own = each.median(figure), ours.median(figure)
            if theirs is None or own is None:
                cells.append("")
            elif each is ours:
                cells.append(readable(own))
            else:
                better = own / theirs if figure in MORE_IS_BETTER else theirs / own
                cells.append(f"{readable(theirs)} ({readable(better)}x)")
        table.add_row(f"{each.name}\n[dim]{each.version}[/]" if each.version else each.name, *cells)
    return table
