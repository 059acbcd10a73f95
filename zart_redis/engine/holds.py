"""Held work: it needs code that its worker does not have. It neither fails nor runs its on_failure body, but is tried
again after growing delays, and when a worker with other code starts."""

from __future__ import annotations

from zart_redis.engine.observer import Claim, Release, ReleaseReason
from zart_redis.errors import ReplayMismatch, SerializationError, ZartError

DELAYS_MS = (1_000, 60_000)
"""The first delay before held work is tried again, which doubles each time, and the longest."""

MISMATCHES = (SerializationError, ReplayMismatch)
"""Errors of reading a record that does not fit the code."""

MAX_REASON_CHARS = 500


def delay_of(claim: Claim) -> int:
    """The delay in ms before this work is tried again."""
    shortest, longest = DELAYS_MS
    return min(shortest << min(claim.holds, 16), longest)


def hold_for(claim: Claim, reason: ReleaseReason, error: ZartError) -> Release:
    """How to release work that could not run because of this error."""
    return Release(reason, delay_of(claim), reason_text(error), error)


def reason_text(error: ZartError) -> str:
    """Explains in one line, for operators, why a worker cannot run the work."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_REASON_CHARS else f"{text[:MAX_REASON_CHARS]}..."
