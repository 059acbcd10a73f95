"""How durations are written, and what is refused."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_redis.durations import format_ms, to_ms
from zart_redis.errors import InvalidInput

DAY = 86_400_000


@pytest.mark.parametrize(
    ("duration", "ms"),
    [
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("3d", 3 * DAY),
        ("1.5s", 1500),
        ("1h30m", 5_400_000),
        (" 1h 30m ", 5_400_000),
        (2, 2000),
        (0.25, 250),
        (0.1 + 0.2, 300),
        (timedelta(minutes=1, microseconds=1), 60_000),
        (0, 0),
        ("0s", 0),
    ],
)
def test_text_seconds_and_timedeltas_become_milliseconds(duration: Any, ms: int) -> None:
    assert to_ms(duration) == ms


@pytest.mark.parametrize("duration", ["0.001ms", 0.000_000_1, timedelta(microseconds=1)])
def test_a_little_is_never_rounded_to_nothing(duration: Any) -> None:
    assert to_ms(duration) == 1


@pytest.mark.parametrize(
    "duration",
    [
        *(-1, -0.001, timedelta(seconds=-1), "-1s"),
        *(float("nan"), float("inf"), 1e300, 10**400, "100000d", timedelta.max),
        *("", "s", "5", "5 m", "5mx3s", "1.5.5s", "1e3s", "٣s", "5M", "9" * 100_000, "1s" * 60),
        *(True, None, b"5s", [5], 3j),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_duration_is_refused_with_examples(duration: Any) -> None:
    with pytest.raises(InvalidInput, match=r"timeout: .*'30s'") as refused:
        to_ms(duration, what="timeout")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (250, "250ms"),
        (1500, "1.5s"),
        (1001, "1.001s"),
        (7_500_000, "2h 5m"),
        (DAY + 90_000, "1d 1m 30s"),
    ],
)
def test_milliseconds_are_shown_as_people_write_them(ms: int, text: str) -> None:
    assert format_ms(ms) == text


@given(st.integers(0, 36_500 * DAY))
def test_what_is_shown_can_be_read_back(ms: int) -> None:
    assert to_ms(format_ms(ms)) == ms


@given(st.text(alphabet="0123456789.smhd -"))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with suppress(InvalidInput):
        assert 0 <= to_ms(text) <= 36_500 * DAY
