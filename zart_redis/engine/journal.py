"""The records of an execution: how each is encoded, and which kind of call may read it.

A record is a letter (see `layout.Record`), a body, and a stamp if it is final. The body of a step's result or error,
and of a captured value, is a packed `Result`. Redis keeps a hash compact while its values are at most 64 bytes; the
`Result` of a small value stays below that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from zart_redis.errors import (
    Cancelled,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ReplayMismatch,
    SerializationError,
    ZartStepError,
)
from zart_redis.layout import KEY_SEPARATOR, TIMER_PREFIX, ChildOutcome, Record, Size, Wait
from zart_redis.outcomes import BusinessErr, Ok, ZartErr
from zart_redis.registry import Call, Origin, declared_name

Outcome = Ok[Any] | BusinessErr[Any] | ZartErr

STEP, CAPTURE, SLEEP, EVENT, TIMER, MESSAGE = "step", "capture", "sleep", "event", "timer", "message"
RETRY, GROUP, PAUSE = "retry", "group", "pause"

KINDS_OF_WAITS = {
    Wait.SLEEP: SLEEP,
    Wait.EVENT: EVENT,
    Wait.TIMER: TIMER,
    Wait.MESSAGE: MESSAGE,
    Wait.RETRY: RETRY,
    Wait.PAUSE: PAUSE,
}
"""What a body can register, by its letter in the store."""

_KINDS: dict[str, str] = {
    Record.VALUE: STEP,
    Record.ERROR: STEP,
    Record.FAILURE: STEP,
    Record.ATTEMPTS: STEP,
    Record.CANCELLED: STEP,
    Record.CHILD: STEP,
    Record.CAPTURE: CAPTURE,
    Record.SLEEP: SLEEP,
    Record.SLEPT: SLEEP,
    Record.WAIT: EVENT,
    Record.TIMED_OUT: EVENT,
    Record.FIRED: TIMER,
    Record.RECEIVE: MESSAGE,
    Record.MESSAGE: MESSAGE,
    Record.NO_MESSAGE: MESSAGE,
    Record.UNRECEIVED: MESSAGE,
}
_COMPLETIONS = frozenset(
    kind.encode()
    for kind in (
        Record.VALUE,
        Record.ERROR,
        Record.FAILURE,
        Record.CHILD,
        Record.CAPTURE,
        Record.SLEPT,
        Record.TIMED_OUT,
        Record.FIRED,
        Record.MESSAGE,
        Record.NO_MESSAGE,
    )
)
_NUMBER_BYTES, _STAMP_BYTES, _EVENT_HEADER = Size.NUMBER.value, Size.STAMP.value, Size.EVENT_HEADER.value


class Stamp(NamedTuple):
    """When a completion was recorded: its number in the run, 0 if it needs none, and the time in ms."""

    number: int
    at: int


class Result(msgspec.Struct, array_like=True, frozen=True):
    """The result of a step or a capture: its encoded value or error, and its attempts."""

    value: msgspec.Raw
    origin: Origin
    attempts: int
    ms: int
    worker: int


class Note(msgspec.Struct, array_like=True, frozen=True):
    """An attempt that failed and was followed by another, for the log; the store sets a stamp behind it."""

    step: str
    """"" for an attempt of the body."""
    number: int
    error: msgspec.Raw
    ms: int
    worker: int


_encode = msgspec.msgpack.Encoder().encode
_decode_note = msgspec.msgpack.Decoder(Note).decode
_decode = msgspec.msgpack.Decoder(Result).decode


def encode_result(kind: Record, value: bytes, origin: Origin, attempts: int, ms: int, worker: str) -> bytes:
    return kind.encode() + _encode(Result(msgspec.Raw(value), origin, attempts, ms, int(worker, 16)))


def decode_result(record: bytes, *, stamped: bool = True) -> Result:
    body = record[1:-_STAMP_BYTES] if stamped else record[1:]
    try:
        return _decode(body)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"a record cannot be read: {error}") from None


def encode_note(step: str, number: int, error: bytes, ms: int, worker: str) -> bytes:
    return _encode(Note(step, number, msgspec.Raw(error), ms, int(worker, 16)))


def read_note(note: bytes) -> Note:
    try:
        return _decode_note(note[:-_STAMP_BYTES])
    except msgspec.MsgspecError as error:
        raise SerializationError(f"an entry of the attempt log cannot be read: {error}") from None


def worker_name(worker: int) -> str:
    """The id of the worker that a record or a note names by its number."""
    return f"{worker:08x}"


def stamp_of(record: bytes) -> Stamp:
    """When the store wrote a completion or a note."""
    return read_stamp(record[-_STAMP_BYTES:])


def read_stamp(data: bytes) -> Stamp:
    return Stamp(int.from_bytes(data[:_NUMBER_BYTES], "big"), int.from_bytes(data[_NUMBER_BYTES:], "big"))


def stamped(record: bytes, stamp: Stamp) -> bytes:
    """A record as the store keeps it."""
    time_bytes = _STAMP_BYTES - _NUMBER_BYTES
    return record + stamp.number.to_bytes(_NUMBER_BYTES, "big") + stamp.at.to_bytes(time_bytes, "big")


def is_completion(record: bytes) -> bool:
    """Whether a record is final."""
    return record[:1] in _COMPLETIONS


def timer_name(name: str) -> str:
    """The name under which a timer of asyncio is recorded."""
    return TIMER_PREFIX + name


def is_timer_name(name: str) -> bool:
    return name.startswith(TIMER_PREFIX)


def shown_name(name: str) -> str:
    """The name of a record for people."""
    return f"timer {name.removeprefix(TIMER_PREFIX)}" if is_timer_name(name) else name


def timer_due(record: bytes) -> int:
    """When a timer that has fired was due, in ms."""
    try:
        return int(record[1:-_STAMP_BYTES])
    except ValueError as error:
        raise SerializationError(f"a record of a timer cannot be read: {error}") from None


def encode_cancelled(worker: str) -> bytes:
    """A step in place that its body cancelled while it ran."""
    return Record.CANCELLED.encode() + _encode(int(worker, 16))


def letter_of(record: bytes) -> str:
    return chr(record[0]) if record else ""


def is_final_step(record: bytes) -> bool:
    return letter_of(record) in (Record.VALUE, Record.ERROR, Record.FAILURE, Record.CHILD)


def kind_of(record: bytes) -> str:
    """The kind of call that made a record. Raises SerializationError if its letter is unknown."""
    kind = _KINDS.get(letter_of(record))
    if kind is None:
        raise SerializationError(f"unknown kind of record: {letter_of(record)!r}")
    return kind


def expect(name: str, record: bytes, kind: str) -> str:
    """The letter of a record that a call of this kind may read.

    Raises:
        ReplayMismatch: another kind of call recorded this name.
        SerializationError: the letter is unknown.
    """
    recorded = kind_of(record)
    if recorded != kind:
        raise ReplayMismatch(name, recorded, kind)
    return letter_of(record)


def read_outcome(call: Call[Any, Any], record: bytes, *, stamped: bool = True) -> Outcome:
    """The outcome of a step from its final record.

    Raises:
        ReplayMismatch: it was recorded by another kind of call, or by another declared step.
    """
    name, step = call.name, call.definition
    letter = expect(name, record, STEP)
    if letter == Record.CHILD:
        return _child_outcome(call, read_child(record))
    result = decode_result(record, stamped=stamped)
    if result.origin != call.origin:
        declared = declared_name(name, result.origin)
        recorded = f"step {declared!r}" if declared else "a step that is not declared here"
        raise ReplayMismatch(name, recorded, f"step {step.name!r}")
    what = f"the result of step {name!r}"
    if letter == Record.VALUE:
        return Ok(step.returns.decode(result.value, what))
    error = step.errors.decode(result.value)
    if letter == Record.ERROR:
        return BusinessErr(error)
    if letter == Record.FAILURE and isinstance(error, ZartStepError):
        return ZartErr(error)
    raise SerializationError(f"{what} cannot be read: its record is not final")


class ChildEnd(NamedTuple):
    """How a child has ended, and what `ChildOutcome` says of its payload."""

    outcome: ChildOutcome
    execution_id: str
    payload: bytes


def read_child(record: bytes) -> ChildEnd:
    head, _, payload = record[1:-_STAMP_BYTES].partition(KEY_SEPARATOR.encode())
    try:
        return ChildEnd(ChildOutcome(head[:1].decode()), head[1:].decode(), payload)
    except ValueError:
        raise SerializationError("a record of a child cannot be read") from None


def encode_refused_child(execution_id: str, status: str) -> bytes:
    """The id of a child is used by another execution."""
    return f"{Record.CHILD}{ChildOutcome.REFUSED}{execution_id}{KEY_SEPARATOR}{status}".encode()


def _child_outcome(call: Call[Any, Any], end: ChildEnd) -> Outcome:
    if call.definition.child is None:
        raise ReplayMismatch(call.name, f"child {end.execution_id!r}", f"step {call.definition.name!r}")
    match end.outcome:
        case ChildOutcome.COMPLETED:
            what = f"the output of execution {end.execution_id!r}"
            return Ok(call.definition.returns.decode(end.payload, what))
        case ChildOutcome.FAILED:
            return BusinessErr(ExecutionFailed(end.execution_id, call.definition.errors.decode(end.payload)))
        case ChildOutcome.CANCELLED:
            return BusinessErr(Cancelled())
        case ChildOutcome.REFUSED:
            return BusinessErr(ExecutionAlreadyExists(end.execution_id, end.payload.decode()))


class Attempts(NamedTuple):
    """What the attempts of a step in place share; times in ms of Redis's clock."""

    failed: int
    deadline: int | None
    next_try: int


def attempts_of(record: bytes | None) -> Attempts:
    """Those of a step in place that has no final record."""
    if record is None or letter_of(record) != Record.ATTEMPTS:
        return Attempts(0, None, 0)
    return read_attempts(record)


def read_attempts(record: bytes) -> Attempts:
    try:
        failed, deadline, next_try = record[1:].split(b",")
        return Attempts(int(failed), int(deadline) if deadline else None, int(next_try))
    except ValueError as error:
        raise SerializationError(f"a record of attempts cannot be read: {error}") from None


def event_stamp(event: bytes) -> Stamp:
    """When an event was delivered."""
    return read_stamp(event[_EVENT_HEADER - _STAMP_BYTES : _EVENT_HEADER])


def event_payload(event: bytes) -> bytes:
    return event[_EVENT_HEADER:]


def receive_argument(timeout_ms: int | None, channel: str) -> str:
    """What is registered for a message; see `WaitRequest`."""
    return f"{'' if timeout_ms is None else timeout_ms}{KEY_SEPARATOR}{channel}"


def receive_due(record: bytes) -> int | None:
    """When a wait for a message times out, in ms; None if never."""
    try:
        due = record[1 : record.index(b",")]
        return int(due) if due else None
    except ValueError as error:
        raise SerializationError(f"a record of a wait for a message cannot be read: {error}") from None


def split_message(record: bytes) -> tuple[bytes, bytes]:
    """The number and the channel, and the payload, of a message that was received."""
    head, separator, payload = record[1:-_STAMP_BYTES].partition(KEY_SEPARATOR.encode())
    if not separator:
        raise SerializationError("a record of a message cannot be read: it has no payload")
    return head, payload
