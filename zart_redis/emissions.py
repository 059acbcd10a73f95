"""What an execution emits, as clients see it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from zart_redis.errors import InvalidInput, SerializationError

T = TypeVar("T")

MAX_NOTE_BYTES = 512


@dataclass(frozen=True, slots=True)
class StreamItem(Generic[T]):
    """An item of a stream."""

    value: T
    cursor: str
    """Where it is in the stream: `follow(..., after=cursor)` resumes behind it."""
    run: int
    step: str | None
    """The step that emitted it; None if the body did."""
    attempt: int
    """The attempt that emitted it, counted from 0."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Restarted:
    """Another attempt of a step has begun: what the attempts before it emitted is void."""

    step: str
    attempt: int
    """Counted from 0. The same number again if a worker has died, since this is no failure of the step."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """Items that followed the cursor are no longer kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What an execution has last reported."""

    done: float
    total: float | None = None
    note: str = ""


def encode_progress(done: float, total: float | None, note: str) -> bytes:
    """Raises InvalidInput for what is no progress."""
    for what, number in (("done", done), ("total", total)):
        if number is None and what == "total":
            continue
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number < 0:
            raise InvalidInput(f"{what} must be a number, at least 0, not {number!r:.100}")
    if not isinstance(note, str):
        raise InvalidInput(f"the note must be text, not {type(note).__name__}")
    try:
        size = len(note.encode())
        if size <= MAX_NOTE_BYTES:
            return msgspec.msgpack.encode([done, total, note])
    except (UnicodeEncodeError, OverflowError) as error:
        raise InvalidInput(f"this progress cannot be stored: {error}") from None
    raise InvalidInput(f"the note is {size} bytes long; at most {MAX_NOTE_BYTES} are allowed")


def read_progress(packed: bytes) -> Progress:
    try:
        return Progress(*msgspec.msgpack.decode(packed, type=tuple[int | float, int | float | None, str]))
    except msgspec.MsgspecError as error:
        raise SerializationError(f"the progress cannot be read: {error}") from None


def is_cursor(text: Any) -> bool:
    """Whether this can be the cursor of an item."""
    ms, dash, number = text.partition("-") if isinstance(text, str) else ("", "", "")
    return bool(dash) and all(part.isascii() and part.isdigit() and int(part) < 2**64 for part in (ms, number))
