"""Records as the model reads and writes them; the letters are those of `zart_redis.engine.journal`."""

from collections.abc import Sequence

from tests.model.state import Event
from zart_redis import names

FAILURES = "bzTN"
"""The letters of failures: of a step, and of waits that timed out."""


TIMER_PREFIX = SEPARATOR = "\x1f"


def stamp(now: int, number: int = 0) -> bytes:
    return number.to_bytes(3, "big") + now.to_bytes(6, "big")


def time_of(record: bytes) -> int:
    return int.from_bytes(record[-6:], "big")


def is_final(record: bytes | None) -> bool:
    return record is not None and chr(record[0]) in "vbzcSTFMN"


def is_failure(record: bytes | None) -> bool:
    return record is not None and chr(record[0]) in FAILURES


def failed_at(record: bytes) -> int | None:
    return time_of(record) if is_failure(record) else None


def success_at(record: bytes, event: Event | None) -> int | None:
    """When a success was recorded; None if the record is not one."""
    if record.startswith(b"w") and event:
        return event.at
    return time_of(record) if chr(record[0]) in "vcSM" else None


def matches_any(patterns: Sequence[str], name: str) -> bool:
    return any(names.matches(pattern, name) for pattern in patterns)


def without_nonce(record: bytes) -> bytes:
    """An event's own nonce is not what the model knows."""
    return b"E" + record[19:] if record.startswith(b"E") else record
