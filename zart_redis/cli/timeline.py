"""A run as a timeline for the terminal: its steps in the order in which they ended, each with its attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from zart_redis.cli.output import coloured, names, span, to_json
from zart_redis.client.history import AttemptDetail, RunDetail, RunSummary, StepDetail, StepStatus
from zart_redis.errors import RemoteError

LONGEST_VALUE = 60
COLOURS = {
    StepStatus.COMPLETED: "green",
    StepStatus.FAILED: "red",
    StepStatus.TIMED_OUT: "red",
    StepStatus.RETRYING: "yellow",
    StepStatus.SCHEDULED: "cyan",
    StepStatus.WAITING: "yellow",
}


def of_runs(runs: Iterable[RunSummary]) -> RenderableType:
    table = Table("run", "status", "attempt", "begun by", "created", "took", "error", box=None, header_style="bold")
    for run in runs:
        begun = run.trigger + (f", {run.triggered_by}" if run.triggered_by else "")
        took = "" if run.finished_at is None else span(run.finished_at - run.created_at)
        created = f"{run.created_at.astimezone():%Y-%m-%d %H:%M:%S}"
        cells = (str(run.run), coloured(run.status), str(run.attempt), escape(begun), created, took, _error(run.error))
        table.add_row(*cells)
    return table


def of_detail(detail: RunDetail, reasons: Sequence[str], most_steps: int | None = None) -> RenderableType:
    """`reasons` tell why the run is no further; that is why it is stuck, if it is. Of more than `most_steps` steps the
    last ones are shown, and the others counted."""
    summary = detail.summary
    name, task = escape(detail.execution_id), escape(detail.task_name)
    head = f"[bold]{name}[/]  {task}  run {summary.run}  {coloured(summary.status)}"
    table = Table("at", names("step"), "status", "took", "worker", "", box=None, header_style="bold")
    began = summary.started_at or summary.created_at
    for attempt in detail.attempts:
        _add_attempt(table, began, f"attempt {attempt.number} of the body", attempt)
    left_out = 0 if most_steps is None else max(len(detail.steps) - most_steps, 0)
    for step in detail.steps[left_out:]:
        _add_step(table, began, step)
    lines: list[RenderableType] = [head, f"input {escape(_short(detail.input))}"]
    if left_out:
        counts = Counter(step.status for step in detail.steps[:left_out])
        lines.append(f"{left_out} more steps: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    lines.append(table)
    lines += [f"[yellow]{escape(reason)}[/]" for reason in reasons]
    if detail.output is not None:
        lines.append(f"output {escape(_short(detail.output))}")
    if summary.error is not None:
        lines.append(f"[red]{escape(str(summary.error))}[/]")
    return Group(*lines)


def _add_step(table: Table, began: datetime, step: StepDetail) -> None:
    for attempt in step.attempts[:-1] if step.finished_at else step.attempts:
        _add_attempt(table, began, f"{step.name}, attempt {attempt.number}", attempt)
    last = step.attempts[-1] if step.attempts and step.finished_at else None
    name = escape(step.name if step.kind == "step" else f"{step.name} ({step.kind})")
    name += " [dim]in on_failure[/]" if step.in_on_failure else ""
    table.add_row(
        "" if step.finished_at is None else f"+{span(step.finished_at - began)}",
        name,
        f"[{COLOURS[step.status]}]{step.status}[/]",
        "" if last is None else span(last.finished_at - last.started_at),
        "" if last is None else last.worker,
        _error(step.error) or ("" if step.result is None else escape(_short(step.result))),
    )


def _add_attempt(table: Table, began: datetime, name: str, attempt: AttemptDetail) -> None:
    at, took = span(attempt.finished_at - began), span(attempt.finished_at - attempt.started_at)
    table.add_row(f"+{at}", escape(name), "[yellow]failed[/]", took, attempt.worker, _error(attempt.error))


def _error(error: RemoteError | None) -> str:
    return "" if error is None else f"[red]{escape(_cut(f'{error.type_name}: {error.message}'))}[/]"


def _short(value: object) -> str:
    return _cut(to_json(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
