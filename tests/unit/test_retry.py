"""Retry policies: their three forms, their delays, and the errors they give up on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_redis.errors import InvalidInput
from zart_redis.retry import RetryConfig


class CardDeclined(Exception):
    pass


def test_a_policy_is_written_as_text_or_made() -> None:
    assert RetryConfig.parse("fixed(3, 1s)") == RetryConfig.fixed(3, "1s")
    assert RetryConfig.parse(" exponential( 5 , 1m 30s ) ") == RetryConfig.exponential(5, 90)
    assert RetryConfig.parse(None) == RetryConfig.none()
    policy = RetryConfig.fixed(1, 0)
    assert RetryConfig.parse(policy) is policy


def test_none_retries_nothing() -> None:
    assert RetryConfig.none().retries == 0


def test_fixed_delays_are_all_alike() -> None:
    policy = RetryConfig.fixed(3, "1.5s")
    assert policy.retries == 3
    assert [policy.delay_ms(retry) for retry in (1, 2, 3)] == [1500, 1500, 1500]


def test_exponential_delays_double_up_to_the_longest() -> None:
    policy = RetryConfig.exponential(9, "2s", max_delay="10s", jitter=0)
    assert [policy.delay_ms(retry) for retry in (1, 2, 3, 4, 100_000)] == [2000, 4000, 8000, 10_000, 10_000]


def test_exponential_delays_are_jittered_unless_told_otherwise() -> None:
    policy = RetryConfig.exponential(5, "1000s")
    assert len({policy.delay_ms(1) for _ in range(50)}) > 10


@given(retry=st.integers(1, 10_000), base=st.integers(0, 100_000), jitter=st.floats(0, 1))
def test_jitter_shortens_a_delay_and_never_lengthens_it(retry: int, base: int, jitter: float) -> None:
    nominal = min(base * 1000 * 2 ** min(retry - 1, 40), 3_600_000)
    delay = RetryConfig.exponential(retry, base, jitter=jitter).delay_ms(retry)
    assert nominal * (1 - jitter) - 1 <= delay <= nominal


def test_some_errors_are_final_at_once() -> None:
    policy = RetryConfig.fixed(3, "1s", no_retry=(CardDeclined,))
    assert policy.retryable(ValueError())
    assert not policy.retryable(type("Stolen", (CardDeclined,), {})())


@pytest.mark.parametrize("text", ["", "fixed", "fixed(3)", "fixed(-1, 1s)", "fixed(1, 1s, 2s)", "linear(1, 1s)", 3])
def test_unreadable_text_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(InvalidInput, match=r"fixed\(3, 1s\)"):
        RetryConfig.parse(text)


@pytest.mark.parametrize("text", ["fixed(3, soon)", "exponential(3, 5)"])
def test_a_delay_in_text_is_a_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="'30s'"):
        RetryConfig.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        *({"retries": -1}, {"retries": 1.5}, {"retries": True}),
        *({"jitter": 1.5}, {"jitter": float("nan")}, {"jitter": "full"}),
        *({"no_retry": CardDeclined}, {"no_retry": ("CardDeclined",)}),
    ],
    ids=repr,
)
def test_senseless_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^retry: "):
        RetryConfig(**fields)
