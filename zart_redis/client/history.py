"""What has happened: the runs of an execution, and of a run each step and each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from zart_redis import names, registry
from zart_redis.client.connection import Client, reading
from zart_redis.codec import Codec, codec_for
from zart_redis.engine import journal
from zart_redis.error_codec import recorded_summary
from zart_redis.errors import ExecutionNotFound, InvalidInput, RemoteError
from zart_redis.model import ExecutionStatus, from_ms
from zart_redis.store.transitions import RunRows

_ANY: Codec[Any] = codec_for(Any)


class StepStatus(StrEnum):
    """Where a step, or another durable call, stands."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    """A wait for an event whose time is over."""
    RETRYING = "retrying"
    """Between two attempts."""
    SCHEDULED = "scheduled"
    """Queued, running on some worker, or put off."""
    WAITING = "waiting"
    """A sleep, or a wait for an event."""


@dataclass(frozen=True, slots=True)
class AttemptDetail:
    """One attempt. `error` is None for one that succeeded, and for a worker's death in the middle."""

    number: int
    worker: str
    started_at: datetime
    finished_at: datetime
    error: RemoteError | None


@dataclass(frozen=True, slots=True)
class StepDetail:
    """One durable call of a run. `attempts` holds the newest that are kept; `attempt_count` is right all the same."""

    name: str
    declared_name: str
    """That of the call, where a template made it that this process has not declared."""
    kind: str
    """"step", "capture", "sleep" or "event"."""
    status: StepStatus
    in_on_failure: bool
    result: Any
    error: RemoteError | None
    attempt_count: int
    attempts: tuple[AttemptDetail, ...]
    finished_at: datetime | None
    put_off: str | None = None
    """Why the worker that had this scheduled step last could not run it."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run of an execution."""

    run: int
    status: ExecutionStatus
    attempt: int
    trigger: str
    """What began it: "start", "restart", "rerun"; "retry_step" if it was taken up again."""
    triggered_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: RemoteError | None


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run with all that is recorded of it. `attempts` are those of the body that failed before the present one."""

    execution_id: str
    task_name: str
    summary: RunSummary
    input: Any
    output: Any
    attempts: tuple[AttemptDetail, ...]
    failed_attempts: int
    """Attempts of the body and of steps that failed and were followed by another, those no longer kept included."""
    steps: tuple[StepDetail, ...]


class History(Client):
    async def runs(self, execution_id: str) -> list[RunSummary]:
        """The runs of an execution, the oldest first.

        Raises:
            ExecutionNotFound: there is no such execution.
        """
        names.check_name(execution_id, "an execution id")
        partition = (await self._open()).partition(execution_id)
        runs = await partition.transitions.runs(execution_id)
        if not runs:
            raise ExecutionNotFound(execution_id)
        with reading(execution_id):
            return [_summary(x) for _, x in sorted(runs.items())]

    async def detail(self, execution_id: str, run: int | None = None) -> RunDetail:
        """One run, the newest by default: each step and each attempt with its error and times.

        Raises:
            ExecutionNotFound: there is no such execution.
            InvalidInput: it has no such run.
        """
        names.check_name(execution_id, "an execution id")
        partition = (await self._open()).partition(execution_id)
        runs = await partition.transitions.runs(execution_id)
        if not runs:
            raise ExecutionNotFound(execution_id)
        number = max(runs) if run is None else run
        if type(number) is not int:
            raise InvalidInput(f"a run is a whole number, not {number!r:.100}")
        if number not in runs:
            raise InvalidInput(
                f"execution {execution_id!r} has no run {number}; it has {', '.join(map(str, sorted(runs)))}"
            )
        x = runs[number]
        events, body, on_failure = await partition.transitions.rows(execution_id, number)
        with reading(execution_id):
            return _detail(execution_id, x, events, body, on_failure)


def _detail(
    execution_id: str, x: Mapping[str, bytes], events: Mapping[str, bytes], body: RunRows, on_failure: RunRows
) -> RunDetail:
    steps = [*_steps(body, events, in_on_failure=False), *_steps(on_failure, events, in_on_failure=True)]
    summary = _summary(x)
    output = x.get("output") if summary.status is ExecutionStatus.COMPLETED else None
    return RunDetail(
        execution_id,
        x["task"].decode(),
        summary,
        _ANY.decode(x["input"], "the input"),
        None if output is None else _ANY.decode(output, "the output"),
        tuple(_attempts(body).get("", ())),
        int(x.get("failures", 0)),
        tuple(sorted(steps, key=_order)),
    )


def _order(step: StepDetail) -> tuple[bool, bool, float, str]:
    """In the order in which they ended, what has not ended last."""
    ended = step.finished_at
    return step.in_on_failure, ended is None, ended.timestamp() if ended else 0.0, step.name


def _summary(x: Mapping[str, bytes]) -> RunSummary:
    status = ExecutionStatus(x["status"].decode())
    error = x.get("error") if status is ExecutionStatus.FAILED else None
    started, finished = x.get("started"), x.get("finished")
    by = x.get("by", b"").decode()
    return RunSummary(
        int(x["run"]),
        status,
        int(x["attempt"]),
        x.get("trigger", b"start").decode(),
        by or None,
        from_ms(int(x["created"])),
        None if started is None else from_ms(int(started)),
        None if finished is None else from_ms(int(finished)),
        None if error is None else recorded_summary(error),
    )


def _attempts(rows: RunRows) -> dict[str, list[AttemptDetail]]:
    """The logged attempts by step; "" for those of the body."""
    found: dict[str, list[AttemptDetail]] = {}
    for logged in rows.log:
        note = journal.read_note(logged)
        error = recorded_summary(bytes(note.error))
        found.setdefault(note.step, []).append(_attempt(note.number, note.worker, logged, note.ms, error))
    return found


def _attempt(number: int, worker: int, stamped: bytes, ms: int, error: RemoteError | None) -> AttemptDetail:
    finished = journal.stamp_of(stamped)
    return AttemptDetail(number, journal.worker_name(worker), from_ms(finished - ms), from_ms(finished), error)


def _steps(rows: RunRows, events: Mapping[str, bytes], *, in_on_failure: bool) -> list[StepDetail]:
    earlier = _attempts(rows)
    steps = []
    for name, record in rows.records.items():
        steps.append(_step(name, record, events.get(name), earlier.get(name, []), in_on_failure))
    for name, (failed, why) in rows.children.items():
        logged, put_off = tuple(earlier.get(name, ())), why.decode() or None
        status = StepStatus.SCHEDULED
        steps.append(
            StepDetail(name, name, journal.STEP, status, in_on_failure, None, None, failed, logged, None, put_off)
        )
    return steps


def _step(
    name: str, record: bytes, event: bytes | None, earlier: list[AttemptDetail], in_on_failure: bool
) -> StepDetail:
    letter = journal.letter_of(record)
    kind = journal.kind_of(record)
    result: Any = None
    error: RemoteError | None = None
    finished: datetime | None = None
    declared, count, attempts = name, 0, list(earlier)
    match letter:
        case "v" | "c" | "b" | "z":
            entry = journal.decode_result(record)
            declared, count = registry.declared_name(name, entry.origin) or name, entry.attempts
            if letter in ("v", "c"):
                result = _ANY.decode(entry.value, f"the result of {name!r}")
            else:
                error = recorded_summary(entry.value)
            attempts.append(_attempt(entry.attempts, entry.worker, record, entry.ms, error))
            finished = attempts[-1].finished_at
            status = StepStatus.COMPLETED if error is None else StepStatus.FAILED
        case "a":
            count, status = journal.read_attempts(record).failed, StepStatus.RETRYING
        case "S" | "T":
            finished = from_ms(journal.stamp_of(record))
            status = StepStatus.COMPLETED if letter == "S" else StepStatus.TIMED_OUT
        case "w" if event is not None:
            result, status = _ANY.decode(journal.event_payload(event), f"event {name!r}"), StepStatus.COMPLETED
            finished = from_ms(journal.event_time(event))
        case _:
            status = StepStatus.WAITING
    return StepDetail(name, declared, kind, status, in_on_failure, result, error, count, tuple(attempts), finished)
