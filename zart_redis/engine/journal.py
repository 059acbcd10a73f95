"""The records of an execution: how each looks as bytes, and which kind of call may read it.

A record is a letter, a body, and (where the store stamps it) six bytes of milliseconds:

    v b z   a step's value, its own error, or the framework's error about it: a packed `Result`
    c       a captured value, likewise
    a       a step between attempts: "<failed>,<deadline>,<next try>"
    s S     a sleep: "<due>", or over
    w T     a wait for an event: "<deadline>" (may be empty), or timed out
    E       an event, in an answer of the store: nonce (8), letter, stamp (6), payload

Redis keeps a hash compact while its values are at most 64 bytes; the `Result` of a small value stays below that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from zart_redis.errors import ReplayMismatch, SerializationError, ZartStepError
from zart_redis.outcomes import BusinessErr, Ok, ZartErr
from zart_redis.registry import Call, Origin, declared_name

Outcome = Ok[Any] | BusinessErr[Any] | ZartErr

STEP, CAPTURE, SLEEP, EVENT = "step", "capture", "sleep", "event"
RETRY, GROUP, PAUSE = "retry", "group", "pause"

_KINDS = {
    "v": STEP,
    "b": STEP,
    "z": STEP,
    "a": STEP,
    "c": CAPTURE,
    "s": SLEEP,
    "S": SLEEP,
    "w": EVENT,
    "T": EVENT,
}
_STAMP_BYTES = 6
_EVENT_HEADER = 8 + 1 + _STAMP_BYTES


class Result(msgspec.Struct, array_like=True, frozen=True):
    """What a step or a capture left: its encoded value or error, and how it came about."""

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


def encode_result(letter: str, value: bytes, origin: Origin, attempts: int, ms: int, worker: str) -> bytes:
    return letter.encode() + _encode(Result(msgspec.Raw(value), origin, attempts, ms, int(worker, 16)))


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


def stamp_of(record: bytes) -> int:
    """When the store wrote a final record or a note, in ms."""
    return int.from_bytes(record[-_STAMP_BYTES:], "big")


def letter_of(record: bytes) -> str:
    return chr(record[0]) if record else ""


def is_final_step(record: bytes) -> bool:
    return letter_of(record) in ("v", "b", "z")


def kind_of(record: bytes) -> str:
    """The kind of call that made a record. Raises SerializationError if its letter is unknown."""
    kind = _KINDS.get(letter_of(record))
    if kind is None:
        raise SerializationError(f"a record is of an unknown kind {letter_of(record)!r}")
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
    result = decode_result(record, stamped=stamped)
    if result.origin != call.origin:
        declared = declared_name(name, result.origin)
        recorded = f"step {declared!r}" if declared else "a step that is not declared here"
        raise ReplayMismatch(name, recorded, f"step {step.name!r}")
    what = f"the result of step {name!r}"
    if letter == "v":
        return Ok(step.returns.decode(result.value, what))
    error = step.errors.decode(result.value)
    if letter == "b":
        return BusinessErr(error)
    if letter == "z" and isinstance(error, ZartStepError):
        return ZartErr(error)
    raise SerializationError(f"{what} cannot be read: its record is not final")


class Attempts(NamedTuple):
    """What the attempts of a step in place share; times in ms of Redis's clock."""

    failed: int
    deadline: int | None
    next_try: int


def read_attempts(record: bytes) -> Attempts:
    try:
        failed, deadline, next_try = record[1:].split(b",")
        return Attempts(int(failed), int(deadline) if deadline else None, int(next_try))
    except ValueError as error:
        raise SerializationError(f"a record of attempts cannot be read: {error}") from None


def event_in_time(event: bytes, wait: bytes) -> bool:
    """Whether a buffered event came before the deadline of the wait that was recorded for it."""
    try:
        return len(wait) == 1 or event_time(event) < int(wait[1:])
    except ValueError as error:
        raise SerializationError(f"a record of a wait cannot be read: {error}") from None


def event_time(event: bytes) -> int:
    """When an event was delivered, in ms."""
    return int.from_bytes(event[9:_EVENT_HEADER], "big")


def event_payload(event: bytes) -> bytes:
    return event[_EVENT_HEADER:]
