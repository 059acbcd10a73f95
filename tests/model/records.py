"""Records as the model reads and writes them; the letters are those of `zart_redis.engine.journal`."""

from collections.abc import Sequence

from tests.model.state import Event
from zart_redis import names

FAILURES = "bzT"
"""The letters of failures: of a step, and of a wait that timed out."""


def stamp(now: int) -> bytes:
    return now.to_bytes(6, "big")


def stamp_of(record: bytes) -> int:
    return int.from_bytes(record[-6:], "big")


def is_failure(record: bytes | None) -> bool:
    return record is not None and chr(record[0]) in FAILURES


def failed_at(record: bytes) -> int | None:
    return stamp_of(record) if is_failure(record) else None


def success_at(record: bytes, event: Event | None) -> int | None:
    """When a recorded success was recorded; None for what is none."""
    if record.startswith(b"w") and event and (record == b"w" or event.at < int(record[1:])):
        return event.at
    return stamp_of(record) if chr(record[0]) in "vcS" else None


def matches_any(patterns: Sequence[str], name: str) -> bool:
    return any(names.matches(pattern, name) for pattern in patterns)
