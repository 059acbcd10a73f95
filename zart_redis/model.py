"""The words that the floors share: what an execution is to its users, and what a worker is handed by a claim.

Nothing here talks to Redis or runs user code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from zart_redis import names
from zart_redis.emissions import Progress
from zart_redis.errors import RemoteError
from zart_redis.layout import LAYOUT


class ExecutionStatus(StrEnum):
    """The state of an execution. The last three are final until a new run begins."""

    SCHEDULED = "scheduled"
    """Not begun: queued, delayed, or no worker knows its task."""
    RUNNING = "running"
    """Held by a worker, or queued to resume."""
    WAITING = "waiting"
    """Parked: for a sleep, an event, scheduled steps, or the delay before a retry."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)


class StartedRun(int):
    """The number of a run."""

    started: bool
    """False if the run was there, and was left as it is."""

    def __new__(cls, run: int, started: bool) -> Self:
        self = super().__new__(cls, run)
        self.started = started
        return self


class EventDelivery(StrEnum):
    """The outcome of offering an event."""

    DELIVERED = "delivered"
    """The execution was waiting for it and resumes."""
    BUFFERED = "buffered"
    """Kept until the execution waits for it."""
    DUPLICATE = "duplicate"
    """An event of this name was delivered before; the first one counts."""


class WaitKind(StrEnum):
    """What a parked execution can wait for."""

    HELD = "held"
    """Other code: that of the last worker could not continue it. The wait is named by the reason."""

    SLEEP = "sleep"
    EVENT = "event"
    MESSAGE = "message"
    """A message; the wait is named by the call that receives it."""
    TIMER = "timer"
    """A timer of asyncio."""
    RETRY = "retry"
    """The next attempt of a step, or of the body if the wait has no name."""
    DELAY = "delay"
    """The start of an execution that was started with a delay."""
    TASK = "task"
    """A worker that knows the task."""
    VERSION = "version"
    """A worker for the version of the task that the run is bound to; named "<version> of task <task>"."""
    STEP = "step"
    """A scheduled step that the body waits for."""
    UNAWAITED_STEPS = "unawaited steps"
    """The body has returned, but scheduled steps that it did not wait for have not finished."""
    LIMIT = "limit"
    """A slot of a limit; named by the limit, and its key."""
    PAUSE = "pause"
    """The removal of a pause rule; the wait is named by the rule's id."""
    QUARANTINE = "quarantine"
    """A process that runs suspects alone; the wait is named by the deaths of the workers that held it."""
    UNKNOWN = "unknown"
    """A kind of wait that this version does not know."""


@dataclass(frozen=True, slots=True)
class WaitDetail:
    """One thing that an execution waits for."""

    kind: WaitKind
    name: str = ""
    due_at: datetime | None = None
    """When it ends by itself: a sleep or a delay ends, an event times out, the next attempt begins."""
    place: int | None = None
    """Its place in the line of a limit, from 1."""


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """The state of an execution when it was read. Times are aware datetimes in UTC."""

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
    """What a parked execution waits for, in words: "sleep settle", "event shipped", "step report-3"."""
    queue: str = "default"
    waits: tuple[WaitDetail, ...] = ()
    """The same, with due times."""
    version: int | None = None
    """The version of the handler that the run is bound to; None before it has begun."""
    progress: Progress | None = None
    """What the run last reported by `zart.progress`."""
    reason: str | None = None
    """Why it was cancelled: what `cancel` was given, or "expired"."""
    next_due: datetime | None = None
    """When the first of its waits ends by itself, or the run expires."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """What code that runs inside an execution can know about it; see `zart_redis.context`."""

    execution_id: str
    task_name: str
    current_attempt: int
    """Counted from 0. In a step it is the step's attempt, else the execution's."""
    max_retries: int
    idempotency_key: str
    """The same in every attempt, on whatever worker: hand it to outside services so that they act once."""
    step: str | None = None
    run: int = 1
    """Counted from 1, for each id."""
    version: int = 1
    """The version of the handler that the run is bound to: that of the handler that first claimed it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    scheduled_for: datetime | None = None
    """The nominal time, in UTC, at which a recurring execution was to begin this occurrence; None for any other run."""
    _load: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)
    _replaying: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    @property
    def data(self) -> Any:
        """The execution's input."""
        return self._load()

    @property
    def is_replaying(self) -> bool:
        """Whether the body is doing again what it did before it was parked, or before its worker died. Always False in
        a step. For logging and the like: a body must do the same whether it replays or not."""
        return self._replaying()

    def is_retry(self) -> bool:
        """Whether an earlier attempt has failed."""
        return self.current_attempt > 0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as of its last heartbeat."""

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
    layout: str = LAYOUT
    """The version of the stored layout that it works with."""


@dataclass(frozen=True, slots=True)
class PauseRule:
    """Holds what it matches where the next step would begin; a condition that is None matches all."""

    rule_id: str
    execution_id: str | None
    task_name: str | None
    step_pattern: str | None
    queue: str | None
    extend_deadlines: bool
    created_at: datetime

    def matches(self, execution_id: str, task_name: str, queue: str, step: str) -> bool:
        """Whether it holds this step of this execution."""
        return (
            self.execution_id in (None, execution_id)
            and self.task_name in (None, task_name)
            and self.queue in (None, queue)
            and (self.step_pattern is None or names.matches(self.step_pattern, step))
        )


Clock = Callable[[], int | None]
"""The time in ms that a test harness supplies, or None for Redis's own clock."""


def server_clock() -> None:
    """The clock of production: scripts read the time from Redis."""


class Fenced(Exception):
    """A transition was refused: another claim, a cancel or a deadline has moved the work on. Drop it."""


@dataclass(frozen=True, slots=True)
class Death:
    """The death of a worker, or the lapse of its lease, as it is held against a body or a step."""

    what: str
    worker: str
    pid: int = 0
    host: str = ""
    at: int = 0
    counts: bool = False

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return f"{self.what} (pid {self.pid}{where})" if self.pid else self.what


@dataclass(frozen=True, slots=True)
class Blame:
    """The deaths of workers that held a body or a step, without progress in between."""

    suspect: bool = False
    """Only a quarantine process may run it."""
    counted: int = 0
    """How many deaths count against it."""
    convicted: bool = False
    """It is failed instead of run."""
    ran: int = 0
    """The longest time in ms that it had run when its worker died."""
    deaths: tuple[Death, ...] = ()
    """The newest of them, in order."""

    def __str__(self) -> str:
        """The deaths in words, equal ones once."""
        shown = [death for death in self.deaths if death.counts] or self.deaths
        words = Counter(str(death) for death in shown)
        return ", ".join(word if number == 1 else f"{word} {number} times" for word, number in words.items())


@dataclass(frozen=True, slots=True)
class BodyClaim:
    """A body handed to this worker, with all that a pass needs."""

    entry: str
    queue: str
    execution_id: str
    fence: str
    scope: str
    task: str
    version: int
    """The version of the handler that the run is bound to."""
    attempt: int
    input: bytes
    created: int
    fail_reason: str
    """A `layout.FailReason` if the body must be failed instead of run, else ""."""
    failure: bytes
    has_begun: bool
    """Whether other code has decoded the input: an earlier pass of the run, or the run that it continues."""
    holds: int
    """How often in a row the body has been held."""
    held_since: int | None
    records: dict[str, bytes]
    events: dict[str, bytes]
    steps: set[str]
    """Names of scheduled steps that have not ended."""
    deadline: int | None
    waits: dict[tuple[str, str], int | None]
    """What the store ends for the body, by kind and name, and when it is due."""
    completions: int
    """The number of the newest completion."""
    clock_base: int
    """The time of the body's clock at its beginning, in ms."""
    parked_at: int | None
    """The number of the newest completion when the body was last parked."""
    emitted: int
    """How many emissions of the body are stored."""
    kept_at: str
    """The fence at which this worker parked the body, if nobody has held it since; then there are only news."""
    news: list[tuple[str, str, bytes]]
    """What has completed since then: letter of `layout.News`, name, record."""
    blame: Blame
    limits: str
    """The limits that the run has begun under, as they are stored."""
    tags: dict[str, str]
    scheduled_for: int | None
    reason: str
    """Why the execution was cancelled."""
    compensates: bool
    """It was cancelled, and ends when its on_failure body has ended."""
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
    version: int
    attempt: int
    input: bytes
    created: int
    """When the run of its execution was created, in ms."""
    name: str
    failed_attempts: int
    deadline: int | None
    spec: bytes
    holds: int
    """How often in a row the step has been held."""
    blame: Blame
    tags: dict[str, str]
    scheduled_for: int | None
    now: int


@dataclass(frozen=True, slots=True)
class Unserved:
    """Work that this worker cannot run, in place of a claim: it waits for a worker that can."""

    execution_id: str
    task: str
    version: int | None
    """None if the task is unknown, and the run is bound to no version yet."""
    has_begun: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Work that cannot be read, in place of a claim. With an entry it is still to be set aside."""

    execution_id: str
    """"" if none is known."""
    reason: str
    queue: str = ""
    entry: str = ""


def idempotency_key(namespace: str, execution_id: str, created: int, scope: str) -> str:
    """The key of a body; a step's is this, a colon and its name.

    Args:
        created: when the run was created, in ms: runs are numbered from 1 again when an id is used after a purge.
        scope: the run, and "f" behind it in its on_failure body: a step there is another one than that of the same name
            in the body.
    """
    return f"{namespace}:{execution_id}:{created}:{scope}"


def run_of(scope: str) -> int:
    """The number of the run that a scope belongs to."""
    return int(scope.rstrip("f"))


def optional_time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def from_ms(ms: int) -> datetime:
    """The aware UTC datetime of a time in milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)
