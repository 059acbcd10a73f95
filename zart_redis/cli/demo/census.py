"""The first part: a census of the standard library, during which a worker process is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sysconfig
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from zart_redis.cli.demo.ledger import Ledger
from zart_redis.cli.demo.stage import Stage, recorded_steps
from zart_redis.worker.app import load

CENSUS = "census-of-the-standard-library"
LOOK_EVERY_SECONDS = 0.05
MOST_PACKAGES = 10


@dataclass(frozen=True, slots=True)
class Kill:
    pid: int
    worker: str
    at: datetime


async def show_census(stage: Stage) -> bool:
    """Returns True if the durable census equals the plain one."""
    module, root = load("workers.census"), sysconfig.get_path("stdlib")
    files = len(module.find_files.fn(root))
    stage.console.print(
        f"[bold]1. A census[/] of the {files} Python files of the standard library.\n"
        f"   Each is parsed in its own step, shared among {len(stage.pool.workers)} worker processes.\n"
        "   A third of the way through, one of them is killed with SIGKILL.\n"
        "   For comparison, this process computes the same without durable execution.\n"
    )
    ledger = Ledger(stage.folder / "ledger")
    await stage.scheduler.start(CENSUS, "census", {"root": root, "ledger": str(ledger.path)})
    totals, plain, kill = await _watch(stage, module, root, files, ledger)
    _print_totals(stage, totals)
    await _print_recovery(stage, ledger, kill)
    is_equal = bool(totals == plain)
    verdict = "[green]equal[/]" if is_equal else "[red]NOT EQUAL[/]"
    stage.console.print(f"   The census that lost a worker and the plain one are [bold]{verdict}[/].\n")
    return is_equal


async def _watch(stage: Stage, module: Any, root: str, files: int, ledger: Ledger) -> tuple[Any, Any, Kill | None]:
    """Run both censuses side by side, and kill a process on the way. Returns the result of the durable one, that of the
    plain one, and the kill."""
    kill = None
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=stage.console) as progress:
        durable_bar = progress.add_task("   durable, on the pool   ", total=files)
        plain_bar = progress.add_task("   plain, in this process ", total=files)
        plain = asyncio.create_task(asyncio.to_thread(module.take, root, lambda: progress.advance(plain_bar)))
        durable = asyncio.create_task(stage.scheduler.wait_completion(CENSUS, "5m", type=module.Totals))
        while not durable.done():
            ledger.read()
            progress.update(durable_bar, completed=len(ledger.ended))
            if kill is None and len(ledger.ended) >= files / 3 and (kill := _kill_one(stage, ledger)):
                progress.console.print(f"   [red]killed[/] worker process {kill.pid} after {len(ledger.ended)} files")
            await asyncio.wait([durable], timeout=LOOK_EVERY_SECONDS)
        ledger.read()
        progress.update(durable_bar, completed=len(ledger.ended))
        return await durable, await plain, kill


def _kill_one(stage: Stage, ledger: Ledger) -> Kill | None:
    """Kill a process that is running a step. It is stopped to find out, and continued if it runs none."""
    pid, worker = next(iter(stage.pool.workers.items()))
    os.kill(pid, signal.SIGSTOP)
    ledger.read()
    if not ledger.begun.get(pid, set()) - ledger.ended:
        os.kill(pid, signal.SIGCONT)
        return None
    os.kill(pid, signal.SIGKILL)
    return Kill(pid, worker, datetime.now(UTC))


def _print_totals(stage: Stage, totals: Any) -> None:
    table = Table("package", "files", "lines", "functions", "classes", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    largest = sorted(totals.packages.items(), key=lambda item: -item[1].lines)[:MOST_PACKAGES]
    for name, count in [*largest, ("[bold]all[/]", totals.total)]:
        table.add_row(name, *(f"{n:,}" for n in (count.files, count.lines, count.functions, count.classes)))
    console = stage.console
    console.print()
    console.print(table)
    console.print("\nlongest functions:")
    for function in totals.longest:
        console.print(f"  {function.lines:>6,} lines  {function.name}", markup=False)
    console.print("most imported: " + ", ".join(f"{name} ({n})" for name, n in totals.imports.items()))
    console.print(f"no valid Python: {len(totals.unreadable)} files, mostly tests of the parser\n")


async def _print_recovery(stage: Stage, ledger: Ledger, kill: Kill | None) -> None:
    """From the records in Redis: what the dead process had begun, and which process finished it."""
    if kill is None:
        stage.console.print("   [red]The census was over before a process could be killed.[/]")
        return
    steps = await recorded_steps(stage, CENSUS)
    begun = (steps[f"parse {path}"] for path in ledger.begun.get(kill.pid, ()))
    last = (step.attempts[-1] for step in begun)
    rescued = sorted(attempt.finished_at for attempt in last if attempt.worker != kill.worker)
    print_line = stage.console.print
    print_line(f"   The killed process was running {_steps(len(rescued))}.")
    if rescued:
        seconds = (rescued[0] - kill.at).total_seconds()
        print_line(f"   The first of them was recorded by another process {seconds:.2f} s after the kill.")
    print_line(f"   Of {_steps(len(ledger.ended))}, {ledger.run_again()} ran more than once; no result was lost.")


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
