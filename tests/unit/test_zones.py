"""Aware times come back with their zone, wall clock and fold, wherever they are."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_redis.codec import codec_for
from zart_redis.error_codec import ErrorCodec
from zart_redis.errors import SerializationError

SYDNEY = ZoneInfo("Australia/Sydney")
TIMES = {
    "utc": datetime(2027, 7, 1, 8, 30, tzinfo=UTC),
    "the zone UTC": datetime(2027, 7, 1, 8, 30, tzinfo=ZoneInfo("UTC")),
    "winter": datetime(2027, 7, 1, 8, 30, tzinfo=SYDNEY),
    "microseconds": datetime(2027, 7, 1, 8, 30, 0, 7, tzinfo=SYDNEY),
    "the first of a doubled hour": datetime(2027, 4, 4, 2, 30, tzinfo=SYDNEY),
    "the second of a doubled hour": datetime(2027, 4, 4, 2, 30, tzinfo=SYDNEY, fold=1),
    "an hour that is left out": datetime(2027, 10, 3, 2, 30, tzinfo=SYDNEY),
    "a fixed offset": datetime(2027, 7, 1, 8, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    "a fixed offset with a name": datetime(2027, 7, 1, 8, 30, tzinfo=timezone(timedelta(hours=-3), "BRT")),
    "long ago": datetime(1, 1, 2, tzinfo=SYDNEY),
}


def told(when: datetime) -> str:
    later = when + timedelta(days=180)
    zone = when.tzinfo.key if isinstance(when.tzinfo, ZoneInfo) else when.tzinfo
    return f"{when.isoformat()} fold={when.fold} {zone} {when.tzname()} {later.isoformat()}"


@dataclass(frozen=True)
class AsDataclass:
    when: datetime
    others: dict[str, list[datetime]]


class AsStruct(msgspec.Struct, rename="camel", tag=True, frozen=True):
    when_it_is: datetime
    any_other: Any


class AsArray(msgspec.Struct, array_like=True):
    when: datetime


@attrs.define
class AsAttrs:
    when: datetime


class AsModel(pydantic.BaseModel):
    when: datetime
    others: list[datetime | None] = []
    inner: AsDataclass | None = None


@pytest.mark.parametrize("when", TIMES.values(), ids=TIMES)
def test_a_time_comes_back_with_its_zone_wherever_it_is(when: datetime) -> None:
    inner = AsDataclass(when, {"a": [when]})
    for type_, value in (
        (datetime, when),
        (Any, when),
        (datetime | None, when),
        (list[datetime], [when]),
        (dict[str, Any], {"a": {"b": [when]}}),
        (dict[datetime, int], {when: 1}),
        (set[datetime], {when}),
        (tuple[int, datetime], (1, when)),
        (AsDataclass, inner),
        (AsStruct, AsStruct(when, {"a": when})),
        (AsArray, AsArray(when)),
        (list[AsAttrs], [AsAttrs(when)]),
        (AsModel, AsModel(when=when, others=[when, None], inner=inner)),
        (AsModel | AsDataclass, AsModel(when=when)),
    ):
        codec = codec_for(type_)
        data, once = codec.round_trip(value)
        assert repr(codec.decode(data)) == repr(once) == repr(value), type_
    assert told(codec_for(datetime).round_trip(when)[1]) == told(when)


OFFSETS = st.builds(timezone, st.timedeltas(-timedelta(hours=23), timedelta(hours=23)))


@given(st.datetimes(timezones=st.timezones() | st.just(UTC) | OFFSETS), st.integers(0, 1))
def test_every_time_comes_back(when: datetime, fold: int) -> None:
    when = when.replace(fold=fold if isinstance(when.tzinfo, ZoneInfo) else 0)
    assert told(codec_for(datetime).round_trip(when)[1]) == told(when)
    assert told(codec_for(Any).round_trip(when)[1]) == told(when)


class Late(Exception):
    def __init__(self, when: datetime) -> None:
        super().__init__(when)
        self.when = when


def test_a_declared_error_keeps_the_zone_too() -> None:
    codec, error = ErrorCodec((Late,)), Late(TIMES["winter"])
    back = codec.decode(codec.encode(error))
    assert isinstance(back, Late)
    assert told(back.when) == told(back.args[0]) == told(error.when)


class Odd(tzinfo):
    def tzname(self, dt: datetime | None) -> str:
        return "odd"

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else timedelta(hours=1)

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize(
    "value", [datetime(2027, 1, 1, tzinfo=Odd()), [time(8, 30, tzinfo=SYDNEY)]], ids=["unknown zone", "time of a zone"]
)
def test_a_zone_that_cannot_be_found_again_is_refused(value: Any) -> None:
    with pytest.raises(SerializationError):
        codec_for(Any if isinstance(value, datetime) else list[time]).round_trip(value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Any, {"a": b"\xd6\xff\x00\x00\x00\x00Z"}),
        (tuple[bytes, date], (b"\xd7\xffZ", date(2027, 1, 1))),
        (list[str], ["Z" * 90]),
    ],
)
def test_what_only_looks_like_a_time_is_no_harm(type_: Any, value: Any) -> None:
    assert codec_for(type_).round_trip(value)[1] == value
