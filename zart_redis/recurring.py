"""When a recurring execution starts its occurrences, and under which ids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from zart_redis.errors import InvalidInput
from zart_redis.model import from_ms

Overlap = Literal["skip", "cancel", "allow"]
CatchUp = Literal["none", "latest", "all"]

LATE_MS = 5000
"""A tick that is handled later than this is missed."""
MAX_MISSED = 1000
"""Missed ticks that `catch_up="all"` makes up for, the newest."""

_PLACEHOLDERS = re.compile(r"\{([^{}]*)\}")


class RecurringSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a recurring execution; times in ms."""

    task: str
    id_template: str
    data: bytes
    queue: str
    every: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    jitter: int = 0
    start_at: int | None = None
    end_at: int | None = None
    timeout: int | None = None
    tags: dict[str, str] = {}
    limits: str = ""

    def execution_id(self, occurrence: int, tick: int) -> str:
        time = from_ms(tick).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.id_template.replace("{occurrence}", str(occurrence)).replace("{time}", time)


def encode(spec: RecurringSpec) -> bytes:
    """Equal specs are encoded equally."""
    return _encode(spec)


def decode(data: bytes) -> RecurringSpec:
    return _decode(data)


_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decode = msgspec.msgpack.Decoder(RecurringSpec).decode


def check_template(template: str) -> None:
    """Raises InvalidInput unless occurrences get different ids."""
    found = _PLACEHOLDERS.findall(template)
    if unknown := set(found) - {"occurrence", "time"}:
        raise InvalidInput(f"id_template has no placeholder {{{min(unknown)}}}: it takes {{occurrence}} and {{time}}")
    if not found:
        raise InvalidInput("id_template needs {occurrence} or {time}, so that each occurrence has its own id")


def check_cron(line: str, zone: ZoneInfo) -> None:
    """Raises InvalidInput for a line that is not one of five fields, or that never matches."""
    if len(line.split()) != 5:
        raise InvalidInput(f"cron takes five fields (minute, hour, day, month, weekday), not {line!r:.100}")
    try:
        next(CronSim(line, datetime.now(zone)))
    except CronSimError as error:
        raise InvalidInput(f"cron line {line!r:.100} is invalid: {error}") from None
    except StopIteration:
        raise InvalidInput(f"cron line {line!r:.100} never matches") from None


class Ticks:
    """The nominal times of a spec, in ms.

    Args:
        anchor: when the interval began, if the spec does not say.
    """

    def __init__(self, spec: RecurringSpec, anchor: int) -> None:
        self._spec = spec
        self._anchor = anchor

    def first(self, now: int) -> int | None:
        """The first one from now on."""
        return self.after(now - 1)

    def after(self, moment: int) -> int | None:
        """The first one after a moment, or None if it was the last."""
        spec = self._spec
        tick = self._interval_after(moment) if spec.every is not None else self._cron_after(moment)
        return None if tick is None or (spec.end_at is not None and tick > spec.end_at) else tick

    def upcoming(self, moment: int | None, most: int) -> Iterator[int]:
        """The one at a moment, and those that follow."""
        while moment is not None and most > 0:
            yield moment
            moment, most = self.after(moment), most - 1

    def latest(self, due: int, now: int, back: int = 1) -> int:
        """The latest one by now, or of so many the earliest, but none before `due`, which is one."""
        if self._spec.end_at is not None:
            now = min(now, self._spec.end_at)
        if self._spec.every is not None:
            return max(due, due + ((now - due) // self._spec.every - back + 1) * self._spec.every)
        tick = due
        for moment, _ in zip(
            CronSim(self._line, self._zoned(now + 60_000), reverse=True), range(back + 1), strict=False
        ):
            at = _ms(moment)
            if at <= due:
                return due
            if at <= now:
                tick, back = at, back - 1
                if back == 0:
                    break
        return tick

    def _interval_after(self, moment: int) -> int:
        every = self._spec.every or 1
        start = self._spec.start_at
        base, first = (self._anchor, 1) if start is None else (start, 0)
        return base + max((moment - base) // every + 1, first) * every

    def _cron_after(self, moment: int) -> int | None:
        if self._spec.start_at is not None:
            moment = max(moment, self._spec.start_at - 1)
        for tick in CronSim(self._line, self._zoned(moment - 60_000)):
            if _ms(tick) > moment:
                return _ms(tick)
        return None

    @property
    def _line(self) -> str:
        return self._spec.cron or ""

    def _zoned(self, moment: int) -> datetime:
        return datetime.fromtimestamp(moment / 1000, ZoneInfo(self._spec.timezone))


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)
