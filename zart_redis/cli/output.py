"""Output of the commands: one JSON document, or tables for people. Progress is shown on stderr, on terminals only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress as LiveProgress
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Column, Table

from zart_redis.client.lists import ExecutionPage, Stats
from zart_redis.client.views import to_json, wait_text_until
from zart_redis.durations import format_ms
from zart_redis.emissions import Progress
from zart_redis.model import ExecutionRecord, ExecutionStatus, PauseRule, WorkerInfo
from zart_redis.printable import printable

UNLIMITED_WIDTH = 10_000
MAX_RUNNING_SHOWN = 5

COLOURS = {
    ExecutionStatus.SCHEDULED: "blue",
    ExecutionStatus.RUNNING: "cyan",
    ExecutionStatus.WAITING: "yellow",
    ExecutionStatus.COMPLETED: "green",
    ExecutionStatus.FAILED: "red",
    ExecutionStatus.CANCELLED: "magenta",
}


def shown(text: str) -> str:
    """Text from outside, for a table or a panel: it is no markup, and no control character of it reaches a terminal."""
    return escape(printable(text))


def print_json(value: Any) -> None:
    """One JSON document, indented."""
    sys.stdout.write(msgspec.json.format(to_json(value), indent=2) + "\n")


def echo_line(text: str) -> None:
    """Print a line for people."""
    Console(highlight=False, soft_wrap=True).print(printable(text), markup=False)


def name_column(title: str) -> Column:
    """A column of ids or names, which wraps long ones so that they can be copied whole."""
    return Column(title, overflow="fold")


def echo_result(value: Any, text: str | Sequence[str], as_json: bool) -> None:
    """The result of a command: a JSON document, or a line or lines for people."""
    if as_json:
        print_json(value)
        return
    for line in [text] if isinstance(text, str) else text:
        echo_line(line)


def render(content: RenderableType) -> None:
    """Print a table or a panel for people. Output to a file or a pipe is not truncated to a width."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNLIMITED_WIDTH
    console.print(content)


@contextmanager
def spinner(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show that the command is waiting, and for how long."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with LiveProgress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        progress.add_task(shown(text), total=None)
        yield


@contextmanager
def counter(text: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar, which moves when the block calls the function that it gets with how many are done."""
    console = Console(stderr=True)
    with LiveProgress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)


def print_record(record: ExecutionRecord, as_json: bool) -> None:
    """One execution."""
    if as_json:
        print_json(record)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in _rows(record):
        grid.add_row(name, value)
    render(Panel(grid, title=shown(record.execution_id), expand=False))


def _rows(record: ExecutionRecord) -> Iterator[tuple[str, str]]:
    yield "task", shown(record.task_name)
    yield "status", coloured(record.status)
    for wait in record.waits:
        yield "waits for", shown(wait_text_until(wait))
    yield "run, attempt", f"{record.run}, {record.attempt}"
    if record.progress is not None:
        yield "progress", shown(progress_text(record.progress))
    yield "queue", shown(record.queue)
    if record.tags:
        yield "tags", shown(", ".join(f"{tag}={value}" for tag, value in record.tags.items()))
    yield "created", _when(record.created_at)
    if record.started_at is not None:
        yield "started", _when(record.started_at)
    if record.finished_at is not None:
        yield "finished", f"{_when(record.finished_at)}, after {_took(record)}"
    yield "input", shown(to_json(record.input))
    if record.status is ExecutionStatus.COMPLETED:
        yield "output", shown(to_json(record.output))
    if record.reason is not None:
        yield "reason", shown(record.reason)
    if record.error is not None:
        yield "error", f"[red]{shown(str(record.error))}[/]"


def progress_text(progress: Progress) -> str:
    """How much is done, and the note."""
    of, percent = "", ""
    if progress.total is not None:
        of = f" of {progress.total:,}"
        percent = f" ({progress.done / progress.total:.0%})" if progress.total else ""
    return f"{progress.done:,}{of}{percent} {progress.note}".rstrip()


def progress_bar(progress: Progress) -> RenderableType:
    """A bar, if the total is known, and how much is done."""
    text = shown(progress_text(progress))
    if not progress.total:
        return text
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=progress.total, completed=min(progress.done, progress.total), width=40), text)
    return grid


def print_page(page: ExecutionPage, as_json: bool) -> None:
    """A page of executions, and the cursor of the next one."""
    if as_json:
        print_json({"executions": list(page), "cursor": page.cursor})
        return
    if not page and page.cursor is None:
        echo_line("no executions")
        return
    columns = (name_column("id"), name_column("task"), "status", name_column("queue"), "created", "took")
    table = Table(*columns, box=None, header_style="bold")
    for record in page:
        table.add_row(
            shown(record.execution_id),
            shown(record.task_name),
            coloured(record.status),
            shown(record.queue),
            _ago(record.created_at),
            _took(record),
        )
    render(table)
    if page.cursor is not None:
        echo_line(f"more: --cursor {page.cursor}")


def print_rules(rules: list[PauseRule], as_json: bool) -> None:
    """The pause rules."""
    if as_json:
        print_json(rules)
        return
    if not rules:
        echo_line("nothing is paused")
        return
    matched = map(name_column, ("execution", "task", "steps", "queue"))
    table = Table("rule", *matched, "deadlines", "since", box=None, header_style="bold")
    for rule in rules:
        conditions = (rule.execution_id, rule.task_name, rule.step_pattern, rule.queue)
        deadlines = "stopped" if rule.extend_deadlines else "running"
        table.add_row(shown(rule.rule_id), *(shown(c or "all") for c in conditions), deadlines, _ago(rule.created_at))
    render(table)


def print_stats(stats: Stats, as_json: bool) -> None:
    """Counts by task and status, and the queues."""
    if as_json:
        print_json(stats)
    else:
        render(Group(*stats_tables(stats)))


def stats_tables(stats: Stats) -> Iterator[RenderableType]:
    """A table of the counts, one of the queues, and one of the versions if there is more than the first."""
    statuses = list(ExecutionStatus)
    tasks = Table(name_column("task"), *(coloured(status) for status in statuses), box=None, header_style="bold")
    for name, counts in sorted(stats.by_task.items()):
        tasks.add_row(shown(name), *(str(counts.get(status, 0)) for status in statuses))
    tasks.add_row("[bold]all[/]", *(str(stats.by_status.get(status, 0)) for status in statuses))
    queues = Table(name_column("queue"), "queued", "held by workers", "oldest", box=None, header_style="bold")
    for name, depth in stats.queues.items():
        oldest = "" if depth.oldest_ms is None else format_ms(depth.oldest_ms)
        queues.add_row(shown(name), str(depth.queued), str(depth.held), oldest)
    yield from (tasks, "", queues)
    if any(version != 1 for counts in stats.by_version.values() for version in counts):
        versions = Table(name_column("task"), "version", "live runs", box=None, header_style="bold")
        for name, by_version in sorted(stats.by_version.items()):
            for version, count in sorted(by_version.items()):
                versions.add_row(shown(name), str(version), str(count))
        yield from ("", versions)
    if stats.held:
        yield from ("", f"[red]held: {stats.held}[/] need other code than that of the workers; `zart doctor` says why")


def workers_table(workers: Sequence[WorkerInfo]) -> RenderableType:
    if not workers:
        return "[red]no live worker[/]"
    table = Table("worker", "host", "pid", "queues", "heartbeat", "runs", "", box=None, header_style="bold")
    for worker in workers:
        names = ", ".join(worker.running[:MAX_RUNNING_SHOWN])
        more = worker.running_count - len(worker.running[:MAX_RUNNING_SHOWN])
        table.add_row(
            shown(worker.worker_id),
            shown(worker.host),
            str(worker.pid),
            shown(", ".join(worker.queues)),
            f"{format_ms(worker.heartbeat_age_ms)} ago",
            f"{worker.running_count}/{worker.concurrency}",
            shown(f"{names} and {more} more" if more > 0 else names),
        )
    return table


def coloured(status: ExecutionStatus) -> str:
    return f"[{COLOURS[status]}]{status}[/]"


def _took(record: ExecutionRecord) -> str:
    return "" if record.finished_at is None else span(record.finished_at - (record.started_at or record.created_at))


def _when(moment: datetime) -> str:
    return f"{_ago(moment)} ({moment.astimezone():%Y-%m-%d %H:%M:%S})"


def _ago(moment: datetime) -> str:
    age = datetime.now(UTC) - moment
    return "now" if age < timedelta(seconds=1) else f"{span(timedelta(seconds=round(age.total_seconds())))} ago"


def span(length: timedelta) -> str:
    """The length in its two largest units."""
    return " ".join(format_ms(max(round(length.total_seconds() * 1000), 0)).split()[:2])
