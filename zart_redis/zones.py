"""Times with their zone: msgpack knows only instants, so others travel in an extension type."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec.msgpack import Ext

_CODE: Final = 90
_TIMESTAMP: Final = re.compile(rb"\xd6\xff|\xd7\xff|\xc7\x0c\xff")
_MICROSECOND: Final = timedelta(microseconds=1)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode


class ZonedTime:
    """A time that is to be encoded with its zone."""

    __slots__ = ("ext",)

    def __init__(self, time: datetime) -> None:
        self.ext = Ext(_CODE, _encode([time.replace(tzinfo=None, fold=0).isoformat(), time.fold, *_zone(time.tzinfo)]))


def may_hold_times(data: bytes) -> bool:
    """Whether there may be an aware time in what msgpack has encoded."""
    return _TIMESTAMP.search(data) is not None


def may_hold_zones(data: bytes | msgspec.Raw) -> bool:
    """Whether there may be a time with its zone in these bytes."""
    return _CODE in bytes(data)


def with_zones(value: Any) -> Any:
    """Lists and dicts with each time that has another zone than UTC as a `ZonedTime`."""
    if type(value) is datetime:
        return value if value.tzinfo is None or value.tzinfo is UTC else ZonedTime(value)
    if isinstance(value, dict):
        return {with_zones(key): with_zones(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_zones(item) for item in value]
    return value


def read_ext(code: int, data: memoryview) -> Any:
    """What msgspec asks for an extension type."""
    if code != _CODE:
        return Ext(code, bytes(data))
    time, fold, zone, *name = _decode(data)
    return datetime.fromisoformat(time).replace(tzinfo=_read_zone(zone, *name), fold=fold)


def same_time(one: datetime, other: datetime) -> bool:
    """Whether two times have the same wall clock and the same zone, and in a zone of the database the same fold."""
    if one.replace(tzinfo=None) != other.replace(tzinfo=None):
        return False
    if one.tzinfo is None or other.tzinfo is None:
        return one.tzinfo is other.tzinfo
    if isinstance(one.tzinfo, ZoneInfo) or isinstance(other.tzinfo, ZoneInfo):
        return one.fold == other.fold and getattr(one.tzinfo, "key", None) == getattr(other.tzinfo, "key", None)
    return one.utcoffset() == other.utcoffset()


def _zone(zone: tzinfo | None) -> tuple[str] | tuple[int, str | None]:
    """A zone of the database by its key, a fixed offset by its microseconds and its name."""
    if isinstance(zone, ZoneInfo):
        if zone.key is None:
            raise ValueError("a ZoneInfo without a key cannot be found again")
        return (zone.key,)
    offset = zone.utcoffset(None) if zone is not None else None
    if offset is None:
        raise ValueError(f"the time zone {zone!r} cannot be found again: use zoneinfo.ZoneInfo")
    name = zone.tzname(None) if zone is not None else None
    return offset // _MICROSECOND, None if name == timezone(offset).tzname(None) else name


def _read_zone(zone: str | int, name: str | None = None) -> tzinfo:
    if isinstance(zone, str):
        return ZoneInfo(zone)
    offset = timedelta(microseconds=zone)
    if name is not None:
        return timezone(offset, name)
    return timezone(offset) if offset else UTC
