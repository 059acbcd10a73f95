"""What a client returns about the runs of an execution, their steps and attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from zart_redis.errors import RemoteError
from zart_redis.model import ExecutionStatus


class StepStatus(StrEnum):
    """The state of a step or another durable call."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    """A wait for an event that timed out."""
    RETRYING = "retrying"
    """Between two attempts."""
    SCHEDULED = "scheduled"
    """Queued, running on a worker, or postponed."""
    WAITING = "waiting"
    """A sleep, or a wait for an event."""
    CANCELLED = "cancelled"
    """The body cancelled it while it ran."""
    BUFFERED = "buffered"
    """An event that has come, and that the body has not waited for yet."""


@dataclass(frozen=True, slots=True)
class AttemptDetail:
    """One attempt. `error` is None if it succeeded, or if its worker died."""

    number: int
    worker: str
    started_at: datetime
    finished_at: datetime
    error: RemoteError | None


@dataclass(frozen=True, slots=True)
class StepDetail:
    """One durable call of a run. Only the newest attempts are kept; `attempt_count` counts all of them."""

    name: str
    declared_name: str
    """The same as `name` if a template made it that this process has not declared."""
    kind: str
    """"step", "child", "capture", "sleep", "event", "message" or "timer"."""
    status: StepStatus
    in_on_failure: bool
    result: Any
    error: RemoteError | None
    attempt_count: int
    attempts: tuple[AttemptDetail, ...]
    finished_at: datetime | None
    put_off: str | None = None
    """Why the last worker that claimed this scheduled step could not run it."""
    due_at: datetime | None = None
    """When a sleep ends, a wait times out, or the next attempt of a step in place begins."""
    child_id: str | None = None
    """The id of the execution, if it is a child."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run of an execution."""

    run: int
    status: ExecutionStatus
    attempt: int
    trigger: str
    """What began it: "start", "restart", "rerun" or "continue_as_new"; "retry_step" if it was resumed."""
    triggered_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: RemoteError | None


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run with all of its records. `attempts` are the failed attempts of the body."""

    execution_id: str
    task_name: str
    summary: RunSummary
    input: Any
    output: Any
    attempts: tuple[AttemptDetail, ...]
    failed_attempts: int
    """Failed attempts of the body and of steps that were retried, including those no longer kept."""
    steps: tuple[StepDetail, ...]
    """In the order in which they finished; unfinished ones come last."""
    has_more: bool = False
    """Whether there are more steps behind these: ask with the name of the last one as `steps_after`."""
