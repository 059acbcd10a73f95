"""The history of one run as JSON: all that is recorded of it, for replays without Redis.

The format has its own version and outlives changes of the stored layout. Values are as they were encoded, in
base64. A reader ignores fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from zart_redis.client.views import bound_version
from zart_redis.engine import journal
from zart_redis.engine.history import History
from zart_redis.engine.journal import Stamp, stamped
from zart_redis.errors import InvalidInput
from zart_redis.layout import KEY_SEPARATOR, Delivered, Field, Record, Size, Trigger
from zart_redis.model import idempotency_key
from zart_redis.store.decoding import read_tags
from zart_redis.store.replies import RunRows

VERSION = 1

COMPACT_FIELDS, COMPACT_BYTES = 128, 64
"""Redis keeps the fields of a hash in the order in which they were written while there are no more, and none longer."""

_OUTCOMES: dict[Record, tuple[str, str]] = {
    Record.VALUE: (journal.STEP, "value"),
    Record.ERROR: (journal.STEP, "error"),
    Record.FAILURE: (journal.STEP, "failure"),
    Record.ATTEMPTS: (journal.STEP, "retrying"),
    Record.CANCELLED: (journal.STEP, "cancelled"),
    Record.CAPTURE: (journal.CAPTURE, "value"),
    Record.SLEEP: (journal.SLEEP, "pending"),
    Record.SLEPT: (journal.SLEEP, "over"),
    Record.WAIT: (journal.EVENT, "pending"),
    Record.TIMED_OUT: (journal.EVENT, "timed out"),
    Record.FIRED: (journal.TIMER, "over"),
    Record.RECEIVE: (journal.MESSAGE, "pending"),
    Record.MESSAGE: (journal.MESSAGE, "value"),
    Record.NO_MESSAGE: (journal.MESSAGE, "timed out"),
    Record.UNRECEIVED: (journal.MESSAGE, "cancelled"),
}
_LETTERS = {both: letter for letter, both in _OUTCOMES.items()}
_RESULTS = (Record.VALUE, Record.ERROR, Record.FAILURE, Record.CAPTURE)


class RecordedCall(msgspec.Struct, omit_defaults=True):
    """One durable call: its name, its kind, and how it ended."""

    name: str
    call: str
    outcome: str
    number: int = 0
    """Of its completion in the run; 0 if the body awaited nothing else, or if it has not ended."""
    at: int | None = None
    """When it ended, in ms."""
    step: str | int | None = None
    """What identifies the declared step, if that is not the name."""
    value: bytes | None = None
    """The encoded value or error. None if it was left out."""
    attempts: int = 0
    ms: int = 0
    worker: int = 0
    details: str = ""
    """Due times and the like, of what has no value."""


class RecordedEvent(msgspec.Struct, omit_defaults=True):
    name: str
    number: int
    at: int
    awaited: bool
    """Whether the execution was waiting for it when it came."""
    value: bytes | None = None


class BodyHistory(msgspec.Struct):
    """A body: that of the handler, or its on_failure."""

    clock_base: int
    """The time of its clock at the beginning, in ms."""
    in_order: bool
    """Whether `calls` are in the order in which they were first recorded."""
    calls: list[RecordedCall]
    scheduled: list[str]
    """Scheduled steps that have not ended."""


class RunHistory(msgspec.Struct, kw_only=True):
    """One run."""

    format: Literal["zart-history"] = "zart-history"
    format_version: int = VERSION
    execution_id: str
    task: str
    run: int
    version: int | None = None
    """That of the handler that the run is bound to. None if it has not begun, or if an earlier release exported it."""
    key: str
    """The idempotency key of the body."""
    status: str
    attempt: int
    completions: int
    has_payloads: bool
    input: bytes | None = None
    failure: bytes | None = None
    """What the on_failure body was given."""
    tags: dict[str, str] = {}
    events: list[RecordedEvent]
    body: BodyHistory
    on_failure: BodyHistory | None = None


def export_run(
    execution_id: str,
    namespace: str,
    x: Mapping[str, bytes],
    rows: tuple[Mapping[str, bytes], RunRows, RunRows],
    *,
    payloads: bool,
) -> RunHistory:
    """The history from the fields of a run and its rows: events, body, on_failure body."""
    events, body, on_failure = rows
    run = x[Field.RUN].decode()
    has_failed = Field.FAILURE in x
    times = [int(x.get(Field.STARTED, x[Field.CREATED])), int(x.get(Field.CLOCK_BASE, x.get(Field.STARTED, 0)) or 0)]
    is_copy = x.get(Field.TRIGGER) == Trigger.RERUN.encode()
    return RunHistory(
        execution_id=execution_id,
        task=x[Field.TASK].decode(),
        run=int(run),
        version=bound_version(x),
        key=idempotency_key(namespace, execution_id, int(x[Field.CREATED]), run),
        status=x[Field.STATUS].decode(),
        attempt=int(x[Field.ATTEMPT]),
        completions=int(x.get(Field.COMPLETIONS, 0)),
        has_payloads=payloads,
        input=x[Field.INPUT] if payloads else None,
        failure=x[Field.FAILURE] if payloads and has_failed else None,
        tags=read_tags(x.get(Field.TAGS, b"")),
        events=[_event(name, event, payloads) for name, event in events.items()],
        body=_body(body, times[0 if has_failed else -1] or times[0], payloads, is_copy),
        on_failure=_body(on_failure, times[-1] or times[0], payloads, False) if has_failed else None,
    )


def _body(rows: RunRows, clock_base: int, payloads: bool, is_copy: bool) -> BodyHistory:
    lengths = [len(text) for name, record in rows.records.items() for text in (name.encode(), record)]
    in_order = not is_copy and len(rows.records) <= COMPACT_FIELDS and max(lengths, default=0) <= COMPACT_BYTES
    calls = [_call(name, record, payloads) for name, record in rows.records.items()]
    return BodyHistory(clock_base, in_order, calls, sorted(rows.steps))


def _call(name: str, record: bytes, payloads: bool) -> RecordedCall:
    kind = journal.kind_of(record)
    letter = Record(journal.letter_of(record))
    made = RecordedCall(journal.shown_name(name).removeprefix("timer ") if kind == journal.TIMER else name, kind, "")
    _, made.outcome = _OUTCOMES[letter]
    if journal.is_completion(record):
        made.number, made.at = journal.stamp_of(record)
    if letter in _RESULTS:
        result = journal.decode_result(record)
        made.value = bytes(result.value) if payloads else None
        made.step, made.attempts, made.ms, made.worker = result.origin, result.attempts, result.ms, result.worker
    elif letter is Record.MESSAGE:
        head, payload = journal.split_message(record)
        made.value, made.details = payload if payloads else None, head.decode()
    elif letter is not Record.CANCELLED:
        made.details = (record[1 : -Size.STAMP.value] if made.at is not None else record[1:]).decode()
    return made


def _event(name: str, event: bytes, payloads: bool) -> RecordedEvent:
    number, at = journal.event_stamp(event)
    awaited = event[Size.NONCE : Size.NONCE + 1] == Delivered.AWAITED.encode()
    return RecordedEvent(name, number, at, awaited, journal.event_payload(event) if payloads else None)


def read_history(data: bytes | str) -> RunHistory:
    """A history from its JSON.

    Raises:
        InvalidInput: it is no history, or one of a newer format.
    """
    try:
        history = msgspec.json.decode(data, type=RunHistory)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"this is no history as `zart history` writes it: {error}") from None
    if history.format_version > VERSION:
        raise InvalidInput(f"the history has format {history.format_version}, this version reads up to {VERSION}")
    return history


def recorded_of(history: RunHistory, body: BodyHistory) -> History:
    """What a pass loads.

    Raises:
        InvalidInput: the history was exported without payloads, or holds a call of a newer kind.
    """
    if not history.has_payloads:
        raise InvalidInput("the history was exported without payloads, and cannot be replayed")
    events = {event.name: _stored_event(event) for event in history.events}
    records = dict(map(_stored, body.calls))
    numbers = [call.number for call in body.calls] + [event.number for event in history.events]
    return History(records, events, set(body.scheduled), {}, max(history.completions, *numbers, 0), body.clock_base)


def _stored(call: RecordedCall) -> tuple[str, bytes]:
    letter = _LETTERS.get((call.call, call.outcome))
    if letter is None:
        raise InvalidInput(f"{call.name!r} was recorded by a call that this version does not know: {call.call}")
    name = journal.timer_name(call.name) if call.call == journal.TIMER else call.name
    if letter is Record.CANCELLED:
        return name, journal.encode_cancelled(journal.worker_name(call.worker))
    if letter in _RESULTS:
        worker, value = journal.worker_name(call.worker), call.value or b""
        record = journal.encode_result(letter, value, call.step, call.attempts, call.ms, worker)
    else:
        record = letter.encode() + call.details.encode()
    if letter is Record.MESSAGE:
        record += KEY_SEPARATOR.encode() + (call.value or b"")
    return name, record if call.at is None else stamped(record, Stamp(call.number, call.at))


def _stored_event(event: RecordedEvent) -> bytes:
    letter = Delivered.AWAITED if event.awaited else Delivered.BUFFERED
    return stamped(bytes(Size.NONCE) + letter.encode(), Stamp(event.number, event.at)) + (event.value or b"")


def to_builtins(history: RunHistory) -> dict[str, Any]:
    """The history as what its JSON holds."""
    made: dict[str, Any] = msgspec.to_builtins(history)
    return made


def from_builtins(history: dict[str, Any]) -> RunHistory:
    """The reverse of `to_builtins`."""
    return msgspec.convert(history, RunHistory)
