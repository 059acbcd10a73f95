"""What commands print: one JSON document, or tables for people. Progress goes to stderr, and only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from zart_redis.client.scheduler import ExecutionPage, Stats
from zart_redis.durations import format_ms
from zart_redis.errors import RemoteError
from zart_redis.model import ExecutionRecord, ExecutionStatus, PauseRule

UNCUT = 10_000
"""A width that no line reaches."""

COLOURS = {
    ExecutionStatus.SCHEDULED: "blue",
    ExecutionStatus.RUNNING: "cyan",
    ExecutionStatus.WAITING: "yellow",
    ExecutionStatus.COMPLETED: "green",
    ExecutionStatus.FAILED: "red",
    ExecutionStatus.CANCELLED: "magenta",
}


def to_json(value: Any) -> str:
    """JSON with ISO datetimes, base64 bytes, and errors as their type, message and traceback."""
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, RemoteError):
        return {"type": value.type_name, "message": value.message, "traceback": value.traceback}
    return str(value)


def print_json(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(to_json(value), indent=2) + "\n")


def say(text: str) -> None:
    """A line for people."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def names(title: str) -> Column:
    """A column of ids or names: one that is too long goes on in the next line, so that all of it can be copied."""
    return Column(title, overflow="fold")


def tell(value: Any, text: str, as_json: bool) -> None:
    """What a command did: a document, or some lines for people."""
    if as_json:
        print_json(value)
    else:
        say(text)


def show(picture: RenderableType) -> None:
    """A table or a picture for people. What goes to a file or another program is not cut to a width."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNCUT
    console.print(picture)


@contextmanager
def spinner(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Shows that something is waited for, and for how long already."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        progress.add_task(escape(text), total=None)
        yield


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
    show(Panel(grid, title=escape(record.execution_id), expand=False))


def _rows(record: ExecutionRecord) -> Iterator[tuple[str, str]]:
    yield "task", escape(record.task_name)
    yield "status", coloured(record.status)
    for wait in record.waiting_for:
        yield "waits for", escape(wait)
    yield "run, attempt", f"{record.run}, {record.attempt}"
    yield "queue", escape(record.queue)
    yield "created", _when(record.created_at)
    if record.started_at is not None:
        yield "started", _when(record.started_at)
    if record.finished_at is not None:
        yield "finished", f"{_when(record.finished_at)}, after {_took(record)}"
    yield "input", escape(to_json(record.input))
    if record.status is ExecutionStatus.COMPLETED:
        yield "output", escape(to_json(record.output))
    if record.error is not None:
        yield "error", f"[red]{escape(str(record.error))}[/]"


def print_page(page: ExecutionPage, as_json: bool) -> None:
    """A page of executions, and how to get the next one."""
    if as_json:
        print_json({"executions": list(page), "cursor": page.cursor})
        return
    if not page:
        say("no executions")
        return
    columns = (names("id"), names("task"), "status", names("queue"), "created", "took")
    table = Table(*columns, box=None, header_style="bold")
    for record in page:
        table.add_row(
            escape(record.execution_id),
            escape(record.task_name),
            coloured(record.status),
            escape(record.queue),
            _ago(record.created_at),
            _took(record),
        )
    show(table)
    if page.cursor is not None:
        say(f"more: --cursor {page.cursor}")


def print_rules(rules: list[PauseRule], as_json: bool) -> None:
    """The pause rules."""
    if as_json:
        print_json(rules)
        return
    if not rules:
        say("nothing is paused")
        return
    columns = ("rule", names("execution"), names("task"), names("steps"), "deadlines", "since")
    table = Table(*columns, box=None, header_style="bold")
    for rule in rules:
        conditions = (rule.execution_id, rule.task_name, rule.step_pattern)
        deadlines = "stopped" if rule.extend_deadlines else "go on"
        table.add_row(rule.rule_id, *(escape(c or "all") for c in conditions), deadlines, _ago(rule.created_at))
    show(table)


def print_stats(stats: Stats, as_json: bool) -> None:
    """Counts by task and status, and the queues."""
    if as_json:
        print_json(stats)
    else:
        show(Group(*pictures(stats)))


def pictures(stats: Stats) -> Iterator[RenderableType]:
    """The counts as a table, and the queues as another."""
    statuses = list(ExecutionStatus)
    tasks = Table(names("task"), *(coloured(status) for status in statuses), box=None, header_style="bold")
    for name, counts in sorted(stats.by_task.items()):
        tasks.add_row(escape(name), *(str(counts.get(status, 0)) for status in statuses))
    tasks.add_row("[bold]all[/]", *(str(stats.by_status.get(status, 0)) for status in statuses))
    queues = Table(names("queue"), "queued", "held by workers", "oldest", box=None, header_style="bold")
    for name, depth in stats.queues.items():
        oldest = "" if depth.oldest_ms is None else format_ms(depth.oldest_ms)
        queues.add_row(escape(name), str(depth.queued), str(depth.held), oldest)
    yield from (tasks, "", queues)


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
    """By its two largest units."""
    return " ".join(format_ms(max(round(length.total_seconds() * 1000), 0)).split()[:2])
