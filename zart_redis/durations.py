"""Durations as users write them, and the whole milliseconds that everything else counts in."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from zart_redis.errors import InvalidInput

Duration: TypeAlias = str | int | float | timedelta
"""Text such as ``"250ms"``, ``"1.5h"`` or ``"1h 30m"``, a number of seconds, or a ``timedelta``."""

_UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)\s*")
_MAX_TEXT: Final = 60
_MAX_MS: Final = 36_500 * _UNITS["d"]  # a century: beyond it, a wrong unit is likelier than a wish


def to_ms(duration: Duration, *, what: str = "duration") -> int:
    """A duration in milliseconds, rounded to the nearest, but never from more than nothing to nothing.

    >>> to_ms("1h 30m"), to_ms(2.5), to_ms(timedelta(days=1)), to_ms("0.1ms")
    (5400000, 2500, 86400000, 1)

    Raises ``InvalidInput``, naming ``what``, if it is negative, endless, over a century or unreadable.
    """
    ms = _exact_ms(duration)
    if ms is None or not 0 <= ms <= _MAX_MS:  # false for NaN too
        raise InvalidInput(
            f"{what}: {_shortened(duration)} is not a duration. Use text such as '250ms', '30s', '5m', '2h', "
            "'3d' or '1h 30m', a number of seconds, or a timedelta, from zero to a hundred years"
        )
    return max(round(ms), 1) if ms > 0 else 0


def format_ms(ms: int) -> str:
    """Milliseconds as people read them, and as ``to_ms`` reads back without loss.

    >>> format_ms(1500), format_ms(7_500_000), format_ms(250)
    ('1.5s', '2h 5m', '250ms')
    """
    if 0 < ms < 1000:
        return f"{ms}ms"
    parts = []
    for unit in ("d", "h", "m"):
        count, ms = divmod(ms, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if ms or not parts:
        seconds, rest = divmod(ms, 1000)
        parts.append(f"{seconds}.{rest:03}".rstrip("0").rstrip(".") + "s")
    return " ".join(parts)


def _exact_ms(duration: object) -> float | Decimal | None:
    """The milliseconds, not yet checked or rounded; None if this is no duration at all."""
    if isinstance(duration, str):
        return _parse(duration.strip())
    if isinstance(duration, timedelta):
        return duration / timedelta(milliseconds=1)
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        try:
            return float(duration) * 1000
        except OverflowError:
            return None
    return None


def _parse(text: str) -> Decimal | None:
    parts = _PART.findall(text[:_MAX_TEXT])
    if not parts or len(text) > _MAX_TEXT or _PART.sub("", text):
        return None
    return sum((Decimal(number) * _UNITS[unit] for number, unit in parts), Decimal(0))


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
