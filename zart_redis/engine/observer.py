"""Observers: how the engine and the worker report what happens.

Logging and rehearsals are observers. Code that reports something calls one `Observer`; `combine` makes one of several.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from zart_redis.engine.emitting import Emitter
from zart_redis.errors import ZartError
from zart_redis.logs import get_logger
from zart_redis.model import BodyClaim, ExecutionInfo, ExecutionStatus, StepClaim, Unreadable, Unserved
from zart_redis.registry import Call

log = get_logger()

Claim = BodyClaim | StepClaim


class BodyPass(Protocol):
    """One pass of a body: from the claim, through a replay, until the body ends or leaves the worker."""

    @property
    def info(self) -> ExecutionInfo: ...

    @property
    def recorded_names(self) -> Collection[str]:
        """Names with a record, without timers and steps that the body has cancelled."""
        ...

    @property
    def called_names(self) -> Collection[str]:
        """Names that the body has used in this pass."""
        ...

    def replay(self) -> None:
        """End this pass once the steps that run in it are recorded, and return the body to its queue. In the next
        pass, on any worker, all that is recorded is replayed."""

    def replay_all(self) -> None:
        """This pass repeats an earlier one to its end: its log lines are not written again."""


class StepAttempt(msgspec.Struct, frozen=True):
    """One attempt of a step, in place or scheduled."""

    body: ExecutionInfo
    """The execution that the step belongs to."""
    call: Call[Any, Any]
    number: int
    """Counted from 1, unlike the attempt that the step's own code sees."""
    origin: BodyPass | None = None
    """The pass that runs the step in place; None if the step is scheduled."""
    emitter: Emitter | None = None
    """Takes what the step emits; None if nobody does, as in a replay of a history."""

    @property
    def info(self) -> ExecutionInfo:
        """The value of `zart.context()` in the step."""
        body, call = self.body, self.call
        return ExecutionInfo(
            body.execution_id,
            body.task_name,
            self.number - 1,
            call.definition.retry.retries,
            f"{body.idempotency_key}:{call.name}",
            call.name,
            body.run,
            body.version,
            body.tags,
            body.scheduled_for,
            body._load,
        )


class AttemptOutcome(StrEnum):
    """How an attempt of a step ended."""

    OK = "ok"
    ERROR = "error"
    """The step raised, or its result cannot be recorded."""
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """The attempt was cancelled, by the body or because the worker gave it up."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The body returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Continued:
    """The body has ended its run; `data` is the encoded input of the next one."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """The body raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class CodeMismatch:
    """The code of this worker does not fit what the body has recorded. Only a deploy can cause this: other code may
    continue the body."""

    error: ZartError


class PassInterrupted(StrEnum):
    """Why a pass ended before its body did."""

    PARKED = "parked"
    """The body waits, and no worker holds it."""
    DRAINED = "drained"
    """Nothing new may begin in this pass; the body goes back to its queue."""
    LOST = "lost"
    """The claim is lost."""
    ABORTED = "aborted"
    """The store failed, or the worker cancelled the pass."""


PassEnd = Returned | Continued | Raised | CodeMismatch | PassInterrupted


class ReleaseReason(StrEnum):
    """Why a worker returns claimed work to its queue."""

    UNKNOWN_TASK = "unknown task"
    UNKNOWN_STEP = "unknown step"
    NEWER_RECORD = "newer record"
    """A newer version has recorded something that this one does not know."""
    CODE_MISMATCH = "code mismatch"
    """What is recorded cannot be read by the code of this worker, or was recorded by another kind of call."""
    UNTRUSTED = "untrusted"
    """An ad-hoc step that no secret of this worker has signed."""
    ERROR = "error"
    """An unexpected error of the library or of the store."""
    STOPPING = "stopping"
    """The worker stops, or gave up the run."""
    REPLAY = "replay"
    """An observer asked for it: see `BodyPass.replay`."""


class Release(msgspec.Struct, frozen=True):
    """Why claimed work returns to its queue, and after which delay it can be claimed again; None is at once."""

    reason: ReleaseReason
    delay_ms: int | None = None
    detail: str = ""
    error: Exception | None = None

    @property
    def is_hold(self) -> bool:
        """Whether the work is held: it needs code that this worker does not have."""
        return self.reason in _HOLDS


_HOLDS = frozenset(
    (
        ReleaseReason.UNKNOWN_TASK,
        ReleaseReason.UNKNOWN_STEP,
        ReleaseReason.NEWER_RECORD,
        ReleaseReason.CODE_MISMATCH,
        ReleaseReason.UNTRUSTED,
    )
)


class Observer:
    """Override the methods for the events that you need; the others cost almost nothing.

    All are called on the event loop of the worker, in the order of the events, and must not block. Their exceptions
    are logged and otherwise ignored, but for three methods that may check a body while it can still be stopped: it
    fails with the `ZartError` that `step_called`, `body_blocked` or `body_returned` raises.
    """

    # ---- claims ----

    def claimed(self, claim: Claim) -> None:
        """Redis handed work to this worker at `claim.now`. `claim.entry` begins with the ms at which it was queued."""

    def released(self, claim: Claim, release: Release) -> None:
        """The work is about to return to its queue."""

    def release_failed(self, claim: Claim, error: BaseException) -> None:
        """The work could not be returned to its queue. This worker claims it again."""

    def fenced(self, claim: Claim) -> None:
        """The claim is lost: the work has moved on without this worker."""

    def retried(self, claim: BodyClaim, delay_ms: int, error: Exception) -> None:
        """The body failed, and the execution is tried again after a delay."""

    def ended(self, claim: BodyClaim, status: ExecutionStatus, duration_ms: int, error: Exception | None) -> None:
        """The execution has completed or failed, `duration_ms` after its start."""

    def left_unserved(self, work: Unserved) -> None:
        """This worker cannot run work that it found; the work waits for a worker that can."""

    def set_aside(self, work: Unreadable) -> None:
        """Stored work cannot be read and was moved out of the way."""

    def reclaimed(self, worker: str, entries: int) -> None:
        """The work of a dead worker was queued again."""

    # ---- passes ----

    def pass_begun(self, body: BodyPass) -> None:
        """The body starts from its beginning."""

    def step_called(self, body: BodyPass, call: Call[Any, Any]) -> None:
        """The body calls or schedules a step, recorded or not. The call raises what is raised here."""

    def step_replayed(self, body: BodyPass, call: Call[Any, Any]) -> None:
        """The outcome of a step comes from its record."""

    def captured(self, body: BodyPass, name: str) -> None:
        """A captured value is recorded."""

    def body_blocked(self, body: BodyPass) -> None:
        """All tasks of the body wait, and it may be parked. Checks the body."""

    def resumed(self, body: BodyPass, kind: str, name: str) -> None:
        """A completion is delivered to the body, recorded in this pass or before it."""

    def history_is_long(self, body: BodyPass, records: int) -> None:
        """The run has this many records, close to the limit. Called once in a run."""

    def body_returned(self, body: BodyPass, output: bytes) -> None:
        """The body has returned `output`, or continues in a new run with this input. It is not stored yet. Checks the
        body."""

    def records_unused(self, body: BodyPass, names: Sequence[str]) -> None:
        """The body has returned or raised without having asked for these recorded names: the sign of a renamed step."""

    def pass_ended(self, body: BodyPass, end: PassEnd) -> None:
        """The pass is over."""

    def unwind_timed_out(self, body: BodyPass) -> None:
        """A step still runs although the pass is over and the step was cancelled."""

    # ---- steps, in place and scheduled ----

    def step_begun(self, attempt: StepAttempt) -> None:
        """The step's function is about to be called."""

    def step_ended(
        self, attempt: StepAttempt, outcome: AttemptOutcome, duration_ms: int, error: BaseException | None
    ) -> None:
        """The attempt has ended, and is not recorded yet."""

    def thread_abandoned(self, attempt: StepAttempt) -> None:
        """A plain `def` step has timed out or was cancelled, and its function still runs. It keeps its place among the
        threads of the worker until it ends."""

    def step_recorded(self, attempt: StepAttempt) -> None:
        """The final result of the step is recorded; `attempt` is the last one."""

    def step_retried(self, attempt: StepAttempt, delay_ms: int) -> None:
        """The failed attempt is recorded, and another one follows after a delay."""


CHECKS = ("step_called", "body_blocked", "body_returned")
EVENTS = tuple(name for name in vars(Observer) if not name.startswith("_"))


def combine(observers: Sequence[Observer]) -> Observer:
    """One observer that calls all of these, in order."""
    combined = Observer()
    for event in EVENTS:
        methods = [getattr(one, event) for one in observers if _overrides(one, event)]
        if methods:
            setattr(combined, event, _call_all(methods) if event in CHECKS else _call_all([*map(_guarded, methods)]))
    return combined


def _overrides(observer: Observer, event: str) -> bool:
    return getattr(type(observer), event) is not getattr(Observer, event)


def _call_all(methods: Sequence[Callable[..., None]]) -> Callable[..., None]:
    if len(methods) == 1:
        return methods[0]

    def call(*arguments: object) -> None:
        for one in methods:
            one(*arguments)

    return call


def _guarded(one: Callable[..., None]) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        try:
            one(*arguments)
        except Exception:
            log.exception("an observer failed", observer=getattr(one, "__qualname__", repr(one)))

    return call
