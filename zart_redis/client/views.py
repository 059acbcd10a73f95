"""Presentation: stored state as people read it, in the terminal and elsewhere. It prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from zart_redis import registry
from zart_redis.client.history import AttemptDetail, RunDetail, RunSummary, StepDetail, StepStatus
from zart_redis.codec import Codec, codec_for
from zart_redis.emissions import read_progress
from zart_redis.engine import journal
from zart_redis.error_codec import recorded_summary, summary
from zart_redis.errors import Cancelled, ExecutionAlreadyExists, RemoteError
from zart_redis.layout import ChildOutcome, Field, Record, Wait
from zart_redis.limits import limit_in_words
from zart_redis.model import ExecutionRecord, ExecutionStatus, PauseRule, WaitDetail, WaitKind, WorkerInfo, from_ms
from zart_redis.printable import printable_json
from zart_redis.store.decoding import read_blame, read_tags
from zart_redis.store.replies import Described, RunRows

_ANY: Codec[Any] = codec_for(Any)

Decode = Callable[[Any, str], Any]

_WAIT_KINDS: dict[str, WaitKind] = {
    Wait.SLEEP: WaitKind.SLEEP,
    Wait.EVENT: WaitKind.EVENT,
    Wait.MESSAGE: WaitKind.MESSAGE,
    Wait.TIMER: WaitKind.TIMER,
    Wait.RETRY: WaitKind.RETRY,
    Wait.DELAY: WaitKind.DELAY,
    Wait.UNKNOWN_TASK: WaitKind.TASK,
    Wait.HELD: WaitKind.HELD,
    Wait.PAUSE: WaitKind.PAUSE,
}

MAX_NAMED = 5
"""Names listed when several steps are in the same state."""


def execution_record(
    execution_id: str,
    x: Mapping[str, bytes],
    waits: tuple[WaitDetail, ...] = (),
    next_due: datetime | None = None,
) -> ExecutionRecord:
    """An execution from its fields."""
    status = ExecutionStatus(x[Field.STATUS].decode())
    output = x.get(Field.OUTPUT) if status is ExecutionStatus.COMPLETED else None
    error = x.get(Field.ERROR) if status in (ExecutionStatus.FAILED, ExecutionStatus.CANCELLED) else None
    return ExecutionRecord(
        execution_id=execution_id,
        task_name=x[Field.TASK].decode(),
        status=status,
        input=_ANY.decode(x[Field.INPUT], "the input"),
        output=None if output is None else _ANY.decode(output, "the output"),
        error=None if error is None else recorded_summary(error),
        run=int(x[Field.RUN]),
        attempt=int(x[Field.ATTEMPT]),
        created_at=from_ms(int(x[Field.CREATED])),
        started_at=_time(x.get(Field.STARTED)),
        finished_at=_time(x.get(Field.FINISHED)),
        waiting_for=tuple(map(wait_text, waits)),
        waits=waits,
        queue=x[Field.QUEUE].decode(),
        version=bound_version(x),
        progress=read_progress(x[Field.PROGRESS]) if Field.PROGRESS in x else None,
        reason=x[Field.REASON].decode() if Field.REASON in x else None,
        next_due=next_due,
        tags=read_tags(x.get(Field.TAGS, b"")),
    )


def bound_version(x: Mapping[str, bytes]) -> int | None:
    """The version of the handler that a run is bound to. None if it has not begun."""
    if Field.VERSION in x:
        return int(x[Field.VERSION])
    return 1 if Field.STARTED in x else None


def _time(value: bytes | None) -> datetime | None:
    return None if value is None else from_ms(int(value))


def waits_of(described: Described) -> tuple[WaitDetail, ...]:
    """What ends the wait of an execution."""
    x, waits, awaited, counter, place = described
    if (Wait.HELD, "") in waits:
        reason = x.get(Field.HELD, b"").decode(errors="replace")
        return (WaitDetail(WaitKind.HELD, reason, _due_at(waits[Wait.HELD, ""])),)
    task = x[Field.TASK].decode()
    version = x.get(Field.UNSERVED, b"0").decode()
    if version != "0":
        return (WaitDetail(WaitKind.VERSION, f"{version} of task {task}"),)
    in_order = sorted(waits.items(), key=lambda item: item[0][::-1])
    found = [_registered_wait(letter, name, due, task) for (letter, name), due in in_order if letter != Wait.EXPIRY]
    for name, unrunnable in sorted(awaited.items()):
        held = WaitDetail(WaitKind.HELD, f"step {name}: {unrunnable}")
        found.append(held if unrunnable else WaitDetail(WaitKind.STEP, name))
    if (blame := read_blame(x.get(Field.BLAME, b""))).suspect and x[Field.FENCE].endswith(b"@"):
        found.append(WaitDetail(WaitKind.QUARANTINE, str(blame)))
    if counter:
        found.append(WaitDetail(WaitKind.LIMIT, limit_in_words(counter), place=place))
    if Field.PAUSED_BY in x:
        found.append(WaitDetail(WaitKind.PAUSE, x[Field.PAUSED_BY].decode()))
    if x.get(Field.PENDING_RETENTION):
        found.append(WaitDetail(WaitKind.UNAWAITED_STEPS))
    return tuple(found)


def next_due_of(described: Described) -> datetime | None:
    """When the first of the waits of an execution is due."""
    return _due_at(min((due for due in described.waits.values() if due is not None), default=None))


def _registered_wait(letter: str, name: str, due: int | None, task: str) -> WaitDetail:
    kind = _WAIT_KINDS.get(letter, WaitKind.UNKNOWN)
    if kind in (WaitKind.PAUSE, WaitKind.UNKNOWN):
        return WaitDetail(kind, name)
    if kind is WaitKind.TASK:
        return WaitDetail(kind, task)
    return WaitDetail(kind, name, _due_at(due))


def _due_at(ms: bytes | int | None) -> datetime | None:
    """None if nothing ends the wait by itself. The doctor reports a time that cannot be read."""
    try:
        return from_ms(int(ms)) if ms else None
    except (ValueError, OverflowError, OSError):
        return None


def wait_text(wait: WaitDetail) -> str:
    """A wait in words, as `ExecutionRecord.waiting_for` has it."""
    match wait.kind:
        case WaitKind.HELD:
            return f"held: {wait.name}"
        case WaitKind.RETRY:
            return f"retry of step {wait.name}" if wait.name else "retry of the execution"
        case WaitKind.DELAY:
            return "delayed start"
        case WaitKind.TASK:
            return f"a worker that knows task {wait.name!r}"
        case WaitKind.VERSION:
            return f"a worker for version {wait.name}"
        case WaitKind.PAUSE:
            return f"the end of pause rule {wait.name}"
        case WaitKind.UNAWAITED_STEPS:
            return "scheduled steps that were not waited for"
        case WaitKind.QUARANTINE:
            return f"a quarantine process, since its worker died: {wait.name}"
        case WaitKind.UNKNOWN:
            return f"something that this version does not know: {wait.name}"
        case _:
            return f"{wait.kind} {wait.name}"


def wait_text_until(wait: WaitDetail) -> str:
    """A wait in words, with its due time."""
    if wait.place is not None:
        return f"{wait_text(wait)}, {_ordinal(wait.place)} in line"
    if wait.due_at is None:
        return wait_text(wait)
    until = "; next try at" if wait.kind is WaitKind.HELD else " until"
    return f"{wait_text(wait)}{until} {wait.due_at:%Y-%m-%dT%H:%M:%SZ}"


def _ordinal(number: int) -> str:
    is_teen = 11 <= number % 100 <= 13
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def reasons(
    record: ExecutionRecord, run: RunDetail, workers: Sequence[WorkerInfo], rules: Sequence[PauseRule]
) -> list[str]:
    """Why a live run is not progressing: what it waits for, who runs its work, what holds it, what no worker takes."""
    if record.status.is_final or record.run != run.summary.run:
        return []
    scheduled = [step.name for step in run.steps if step.status is StepStatus.SCHEDULED]
    found = _shortened([_waits_text(wait) for wait in record.waits])
    running = {worker.worker_id: _running(worker, record.execution_id, scheduled) for worker in workers}
    for worker in workers:
        if work := running[worker.worker_id]:
            who = f"worker {worker.worker_id} (pid {worker.pid} on {worker.host})"
            found.append(f"{who} runs {', '.join(_shortened(work))}")
    idle = [name for name in scheduled if not any(f"step {name}" in work for work in running.values())]
    for rule in rules:
        if held := [name for name in idle if rule.matches(record.execution_id, record.task_name, record.queue, name)]:
            found.append(f"pause rule {rule.rule_id} holds step {', '.join(_shortened(held))}")
    put_off: dict[str, list[str]] = {}
    for step in run.steps:
        if step.put_off:
            put_off.setdefault(step.put_off, []).append(step.name)
    found += [f"a worker has postponed step {', '.join(_shortened(names))}: {why}" for why, names in put_off.items()]
    is_queued = bool(idle) or not record.waits
    if is_queued and not any(record.queue in worker.queues for worker in workers):
        found.append(f"no worker takes work from queue {record.queue!r}")
    return found


def _waits_text(wait: WaitDetail) -> str:
    return wait_text_until(wait) if wait.kind is WaitKind.HELD else f"waits for {wait_text_until(wait)}"


def _running(worker: WorkerInfo, execution_id: str, scheduled: Sequence[str]) -> list[str]:
    """What a worker runs of an execution: its body ("it"), and steps."""
    body = ["it"] if execution_id in worker.running else []
    return body + [f"step {name}" for name in scheduled if f"{execution_id} {name}" in worker.running]


def _shortened(names: list[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(names) - MAX_NAMED
    return names if more <= 0 else [*names[:MAX_NAMED], f"and {more} more"]


def _nothing(data: object, what: str) -> None:
    """In place of a payload that is not asked for."""


def run_detail(
    execution_id: str,
    x: Mapping[str, bytes],
    events: Mapping[str, bytes],
    body: RunRows,
    on_failure: RunRows,
    *,
    payloads: bool = True,
) -> RunDetail:
    """Without `payloads`, input, output and results are None."""
    decode = _ANY.decode if payloads else _nothing
    steps = [
        *_steps(body, events, decode, in_on_failure=False),
        *_steps(on_failure, events, decode, in_on_failure=True),
    ]
    summary = run_summary(x)
    output = x.get(Field.OUTPUT) if summary.status is ExecutionStatus.COMPLETED else None
    return RunDetail(
        execution_id,
        x[Field.TASK].decode(),
        summary,
        decode(x[Field.INPUT], "the input"),
        None if output is None else decode(output, "the output"),
        tuple(_attempts(body).get("", ())),
        int(x.get(Field.FAILED_ATTEMPTS, 0)),
        tuple(sorted(steps, key=_order)),
    )


def _order(step: StepDetail) -> tuple[bool, bool, float, str]:
    """In the order in which they finished; unfinished steps come last."""
    ended = step.finished_at
    return step.in_on_failure, ended is None, ended.timestamp() if ended else 0.0, step.name


def run_summary(x: Mapping[str, bytes]) -> RunSummary:
    status = ExecutionStatus(x[Field.STATUS].decode())
    error = x.get(Field.ERROR) if status is ExecutionStatus.FAILED else None
    by = x.get(Field.TRIGGERED_BY, b"").decode()
    return RunSummary(
        int(x[Field.RUN]),
        status,
        int(x[Field.ATTEMPT]),
        x.get(Field.TRIGGER, b"start").decode(),
        by or None,
        from_ms(int(x[Field.CREATED])),
        _time(x.get(Field.STARTED)),
        _time(x.get(Field.FINISHED)),
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
    finished = journal.stamp_of(stamped).at
    return AttemptDetail(number, journal.worker_name(worker), from_ms(finished - ms), from_ms(finished), error)


def _steps(rows: RunRows, events: Mapping[str, bytes], decode: Decode, *, in_on_failure: bool) -> list[StepDetail]:
    earlier = _attempts(rows)
    steps = []
    early = {} if in_on_failure else dict.fromkeys(events, Record.WAIT.encode())  # they came before a wait for them
    for name, record in {**early, **rows.records}.items():
        step = _step(name, record, events.get(name), earlier.get(name, []), decode, in_on_failure)
        is_buffered = name in early and name not in rows.records
        steps.append(replace(step, status=StepStatus.BUFFERED) if is_buffered else step)
    for name, (failed, why, child) in rows.steps.items():
        kind, child_id = ("child", child.decode()) if child else (journal.STEP, None)
        logged, put_off = tuple(earlier.get(name, ())), why.decode() or None
        status = StepStatus.SCHEDULED
        steps.append(
            StepDetail(
                name,
                name,
                kind,
                status,
                in_on_failure,
                None,
                None,
                failed,
                logged,
                None,
                put_off,
                child_id=child_id,
            )
        )
    return steps


def _step(
    name: str,
    record: bytes,
    event: bytes | None,
    earlier: Sequence[AttemptDetail],
    decode: Decode,
    in_on_failure: bool,
) -> StepDetail:
    kind, waiting = journal.kind_of(record), StepStatus.WAITING
    shown = journal.shown_name(name)
    step = StepDetail(shown, shown, kind, waiting, in_on_failure, None, None, 0, tuple(earlier), None)
    match journal.letter_of(record):
        case Record.CHILD:
            return _ended_child(step, record, decode)
        case Record.VALUE | Record.CAPTURE | Record.ERROR | Record.FAILURE:
            return _finished_step(step, record, decode)
        case Record.ATTEMPTS:
            made = journal.read_attempts(record)
            return replace(step, status=StepStatus.RETRYING, attempt_count=made.failed, due_at=from_ms(made.next_try))
        case Record.SLEPT | Record.FIRED:
            return replace(step, status=StepStatus.COMPLETED, finished_at=from_ms(journal.stamp_of(record).at))
        case Record.TIMED_OUT | Record.NO_MESSAGE:
            return replace(step, status=StepStatus.TIMED_OUT, finished_at=from_ms(journal.stamp_of(record).at))
        case Record.CANCELLED | Record.UNRECEIVED:
            return replace(step, status=StepStatus.CANCELLED)
        case Record.WAIT if event is not None:
            payload = decode(journal.event_payload(event), f"event {name!r}")
            delivered = from_ms(journal.event_stamp(event).at)
            return replace(step, status=StepStatus.COMPLETED, result=payload, finished_at=delivered)
        case Record.MESSAGE:
            payload = decode(journal.split_message(record)[1], f"message {name!r}")
            received = from_ms(journal.stamp_of(record).at)
            return replace(step, status=StepStatus.COMPLETED, result=payload, finished_at=received)
        case Record.RECEIVE:
            return replace(step, due_at=_due_at(journal.receive_due(record)))
        case _:
            return replace(step, due_at=_due_at(record[1:]))


def _ended_child(step: StepDetail, record: bytes, decode: Decode) -> StepDetail:
    end = journal.read_child(record)
    finished_at = from_ms(journal.stamp_of(record).at)
    step = replace(step, kind="child", finished_at=finished_at, child_id=end.execution_id)
    match end.outcome:
        case ChildOutcome.COMPLETED:
            output = decode(end.payload, f"the output of {end.execution_id!r}")
            return replace(step, status=StepStatus.COMPLETED, result=output)
        case ChildOutcome.FAILED:
            return replace(step, status=StepStatus.FAILED, error=recorded_summary(end.payload))
        case ChildOutcome.CANCELLED:
            return replace(step, status=StepStatus.CANCELLED)
        case ChildOutcome.REFUSED:
            error = summary(ExecutionAlreadyExists(end.execution_id, end.payload.decode()))
            return replace(step, status=StepStatus.FAILED, error=error)


def _finished_step(step: StepDetail, record: bytes, decode: Decode) -> StepDetail:
    """With the result or the error of a final record."""
    entry = journal.decode_result(record)
    failed = journal.letter_of(record) in (Record.ERROR, Record.FAILURE)
    error = recorded_summary(entry.value) if failed else None
    is_cancelled = error is not None and error.type_name == Cancelled.__name__ and not entry.attempts
    last = _attempt(entry.attempts, entry.worker, record, entry.ms, error)
    return replace(
        step,
        declared_name=registry.declared_name(step.name, entry.origin) or step.name,
        status=StepStatus.CANCELLED if is_cancelled else StepStatus.FAILED if failed else StepStatus.COMPLETED,
        result=None if failed else decode(entry.value, f"the result of {step.name!r}"),
        error=error,
        attempt_count=entry.attempts,
        attempts=(*step.attempts, last),
        finished_at=last.finished_at,
    )


def to_json(value: Any) -> str:
    """JSON with ISO datetimes, base64 bytes, and errors as their type, message and traceback."""
    return printable_json(msgspec.json.encode(value, enc_hook=_to_builtins).decode())


def _to_builtins(value: Any) -> Any:
    if isinstance(value, RemoteError):
        return {"type": value.type_name, "message": value.message, "traceback": value.traceback}
    return str(value)
