"""The words that the floors share: what an execution is to its users, and what a worker is handed by a claim.

Nothing here talks to Redis or runs user code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from zart_redis import names
from zart_redis.errors import RemoteError


class ExecutionStatus(StrEnum):
    """Where an execution stands. The last three are final until a new run is begun."""

    SCHEDULED = "scheduled"
    """Not begun: queued, delayed, or no worker knows its task."""
    RUNNING = "running"
    """Queued to go on, or held by a worker."""
    WAITING = "waiting"
    """Parked: for a sleep, an event, scheduled steps, or the delay before a retry."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)


class EventDelivery(StrEnum):
    """What became of an offered event."""

    DELIVERED = "delivered"
    """The execution waited for it and goes on."""
    BUFFERED = "buffered"
    """Kept until the execution waits for it."""
    DUPLICATE = "duplicate"
    """One of this name came before, and stands."""


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """An execution as it stood when it was read. Times are aware datetimes in UTC."""

    execution_id: str
    task_name: str
    status: ExecutionStatus
    input: Any
    output: Any
    error: RemoteError | None
    run: int
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    waiting_for: tuple[str, ...] = ()
    """What a parked execution waits for, as "sleep settle", "event shipped", "step report-3"."""
    queue: str = "default"


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """What code that runs inside an execution can know about it; see `zart_redis.context`."""

    execution_id: str
    task_name: str
    current_attempt: int
    """Counted from 1. In a step it is the step's attempt, else the execution's."""
    max_retries: int
    idempotency_key: str
    """The same in every attempt, on whatever worker: hand it to outside services so that they act once."""
    step: str | None = None
    _load: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)

    @property
    def data(self) -> Any:
        """The execution's input."""
        return self._load()

    def is_retry(self) -> bool:
        """Whether an earlier attempt has failed."""
        return self.current_attempt > 1


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as its last heartbeat told of it."""

    worker_id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    lease_ms: int
    running: tuple[str, ...]
    """Some of what it runs: ids of executions, and of scheduled steps "<execution id> <step>"."""
    running_count: int
    heartbeat_age_ms: int = 0


@dataclass(frozen=True, slots=True)
class PauseRule:
    """Holds what it matches where the next step would begin; a condition that is None matches all."""

    rule_id: str
    execution_id: str | None
    task_name: str | None
    step_pattern: str | None
    extend_deadlines: bool
    created_at: datetime

    def matches(self, execution_id: str, task_name: str, step: str) -> bool:
        """Whether it holds this step of this execution."""
        return (
            self.execution_id in (None, execution_id)
            and self.task_name in (None, task_name)
            and (self.step_pattern is None or names.matches(self.step_pattern, step))
        )


class Fenced(Exception):
    """A transition was refused: another claim, a cancel or a deadline has moved the work on. Drop it."""


@dataclass(frozen=True, slots=True)
class BodyClaim:
    """A body handed to this worker, with all that a pass needs."""

    entry: str
    queue: str
    execution_id: str
    fence: str
    scope: str
    task: str
    attempt: int
    input: bytes
    created: int
    doom: str
    """Why it must fail before it runs: "deadline", "crashes" or ""."""
    failure: bytes
    records: dict[str, bytes]
    events: dict[str, bytes]
    children: set[str]
    has_deadline: bool
    now: int


@dataclass(frozen=True, slots=True)
class StepClaim:
    """A scheduled step handed to this worker."""

    entry: str
    queue: str
    execution_id: str
    fence: str
    scope: str
    task: str
    attempt: int
    input: bytes
    name: str
    failed_attempts: int
    deadline: int | None
    spec: bytes
    crashes: int
    now: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Work that cannot be read, in place of a claim. With an entry it is still to be set aside."""

    execution_id: str
    """"" if none is known."""
    reason: str
    queue: str = ""
    entry: str = ""


def idempotency_key(namespace: str, execution_id: str, scope: str) -> str:
    """The key of a body; a step's is this, a colon and its name. A scope is a run, and "f" behind it in its on_failure
    body: a step there is another one than that of the same name in the body."""
    return f"{namespace}:{execution_id}:{scope}"


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of a time in milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)
