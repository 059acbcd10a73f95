"""A run as a timeline for the terminal: its steps in the order in which they finished, each with its attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from textwrap import indent

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from zart_redis.cli.output import coloured, name_column, shown, span
from zart_redis.client.history import AttemptDetail, RunDetail, RunSummary, StepDetail, StepStatus
from zart_redis.client.views import to_json
from zart_redis.errors import RemoteError
from zart_redis.printable import printable_lines

MAX_VALUE_LENGTH = 60
COLOURS = {
    StepStatus.COMPLETED: "green",
    StepStatus.FAILED: "red",
    StepStatus.TIMED_OUT: "red",
    StepStatus.RETRYING: "yellow",
    StepStatus.SCHEDULED: "cyan",
    StepStatus.WAITING: "yellow",
    StepStatus.CANCELLED: "magenta",
    StepStatus.BUFFERED: "cyan",
}


def of_runs(runs: Iterable[RunSummary]) -> RenderableType:
    table = Table("run", "status", "attempt", "begun by", "created", "took", "error", box=None, header_style="bold")
    for run in runs:
        begun = run.trigger + (f", {run.triggered_by}" if run.triggered_by else "")
        took = "" if run.finished_at is None else span(run.finished_at - run.created_at)
        created = f"{run.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
        cells = (str(run.run), coloured(run.status), str(run.attempt), shown(begun), created, took, _error(run.error))
        table.add_row(*cells)
    return table


def of_detail(
    detail: RunDetail,
    reasons: Sequence[str],
    max_steps: int | None = None,
    *,
    payloads: bool = True,
    tracebacks: bool = False,
) -> RenderableType:
    """`reasons` explain why the run is not progressing. Only the last `max_steps` steps are shown; the others are
    counted."""
    summary = detail.summary
    name, task = shown(detail.execution_id), shown(detail.task_name)
    head = f"[bold]{name}[/]  {task}  run {summary.run}  {coloured(summary.status)}"
    table = Table("at", name_column("step"), "status", "took", "worker", "", box=None, header_style="bold")
    began = summary.started_at or summary.created_at
    for attempt in detail.attempts:
        _add_attempt(table, began, f"attempt {attempt.number} of the body", attempt)
    omitted = 0 if max_steps is None else max(len(detail.steps) - max_steps, 0)
    for step in detail.steps[omitted:]:
        _add_step(table, began, step)
    lines: list[RenderableType] = [head]
    if payloads:
        lines.append(f"input {shown(_short(detail.input))}")
    if omitted:
        counts = Counter(step.status for step in detail.steps[:omitted])
        lines.append(f"{omitted} more steps: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    lines.append(table)
    lines += [f"[yellow]{shown(reason)}[/]" for reason in reasons]
    if detail.output is not None:
        lines.append(f"output {shown(_short(detail.output))}")
    if summary.error is not None:
        lines.append(f"[red]{shown(str(summary.error))}[/]")
    if tracebacks:
        lines += _tracebacks(detail)
    return Group(*lines)


def _tracebacks(detail: RunDetail) -> Iterator[RenderableType]:
    """The traceback of each error, behind what it is of."""
    failures = [(f"attempt {attempt.number} of the body", attempt.error) for attempt in detail.attempts]
    for step in detail.steps:
        failures += [(f"{step.name}, attempt {attempt.number}", attempt.error) for attempt in step.attempts]
    failures.append(("the run", detail.summary.error))
    for what, error in failures:
        if error is not None and error.traceback:
            yield f"\n[bold]{shown(what)}[/]"
            yield escape(indent(printable_lines(error.traceback.rstrip()), "    "))


def _add_step(table: Table, began: datetime, step: StepDetail) -> None:
    for attempt in step.attempts[:-1] if step.finished_at else step.attempts:
        _add_attempt(table, began, f"{step.name}, attempt {attempt.number}", attempt)
    last = step.attempts[-1] if step.attempts and step.finished_at else None
    name = shown(step.name if step.kind == "step" else f"{step.name} ({step.kind})")
    name += " [dim]in on_failure[/]" if step.in_on_failure else ""
    table.add_row(
        "" if step.finished_at is None else f"+{span(step.finished_at - began)}",
        name,
        f"[{COLOURS[step.status]}]{step.status}[/]",
        "" if last is None else span(last.finished_at - last.started_at),
        "" if last is None else shown(last.worker),
        _error(step.error) or _result(step),
    )


def _add_attempt(table: Table, began: datetime, name: str, attempt: AttemptDetail) -> None:
    at, took = span(attempt.finished_at - began), span(attempt.finished_at - attempt.started_at)
    table.add_row(f"+{at}", shown(name), "[yellow]failed[/]", took, shown(attempt.worker), _error(attempt.error))


def _result(step: StepDetail) -> str:
    """The result, or when an unfinished step is due."""
    if step.due_at is not None:
        return f"until {step.due_at.astimezone():%Y-%m-%d %H:%M:%S}"
    return "" if step.result is None else shown(_short(step.result))


def _error(error: RemoteError | None) -> str:
    return "" if error is None else f"[red]{shown(_truncated(f'{error.type_name}: {error.message}'))}[/]"


def _short(value: object) -> str:
    return _truncated(to_json(value))


def _truncated(text: str) -> str:
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"
