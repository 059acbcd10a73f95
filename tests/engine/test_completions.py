"""The order in which a body learns of completions."""

import random

from hypothesis import given
from hypothesis import strategies as st

from zart_redis.engine.completions import Completions


def delivered(completions: Completions[str]) -> list[str]:
    """All that can be delivered now, in order."""
    found = []
    while (key := completions.next()) is not None:
        found.append(key)
    return found


def test_they_are_delivered_by_number_and_not_by_when_they_are_learned() -> None:
    completions: Completions[str] = Completions(seen=3)
    for key, number in [("third", 3), ("first", 1), ("second", 2)]:
        completions.expect(key)
        completions.add(key, number)
    assert delivered(completions) == ["first", "second", "third"]


def test_what_is_not_awaited_is_not_delivered_until_it_is() -> None:
    completions: Completions[str] = Completions(seen=2)
    completions.add("a", 1)
    completions.add("b", 2)
    completions.expect("b")
    assert delivered(completions) == ["b"]
    completions.expect("a")
    assert delivered(completions) == ["a"]


def test_nothing_is_delivered_beyond_a_gap() -> None:
    completions: Completions[str] = Completions()
    completions.expect("mine")
    completions.see(2)
    completions.add("mine", 2)
    assert completions.has_gap
    assert delivered(completions) == []
    completions.expect("theirs")
    completions.see(1)
    completions.add("theirs", 1)
    assert not completions.has_gap
    assert delivered(completions) == ["theirs", "mine"]


def test_a_gap_closes_when_all_below_a_number_is_known() -> None:
    completions: Completions[str] = Completions()
    for number in (5, 3):
        completions.see(number)
    completions.see_all(2)
    assert (completions.seen, completions.has_gap) == (3, True)
    completions.see_all(4)
    assert (completions.seen, completions.has_gap) == (5, False)
    completions.see_all(1)
    assert completions.seen == 5


def test_a_completion_without_a_number_needs_to_wait_for_none() -> None:
    completions: Completions[str] = Completions()
    completions.see(2)
    completions.expect("lone")
    completions.add("lone", 0)
    completions.see(0)
    assert delivered(completions) == ["lone"]


def test_a_number_beyond_the_last_one_seen_is_a_gap() -> None:
    completions: Completions[str] = Completions(seen=3)
    completions.expect("early")
    completions.add("early", 9)
    assert completions.next() is None
    assert (completions.has_gap, completions.next_number) == (True, 9)


def test_each_is_delivered_once() -> None:
    completions: Completions[str] = Completions(seen=1)
    completions.expect("a")
    completions.add("a", 1)
    completions.add("a", 1)
    assert delivered(completions) == ["a"]


def test_what_is_forgotten_is_not_delivered_and_may_be_awaited_again() -> None:
    completions: Completions[str] = Completions(seen=2)
    completions.expect("a")
    completions.expect("b")
    completions.add("a", 1)
    completions.add("b", 2)
    completions.forget("a")
    assert delivered(completions) == ["b"]
    completions.expect("a")
    assert delivered(completions) == ["a"]


def test_of_two_completions_of_one_call_the_earlier_one_stands() -> None:
    completions: Completions[str] = Completions(seen=4)
    for key in ("event", "between"):
        completions.expect(key)
    completions.add("event", 4)
    completions.add("between", 3)
    completions.add("event", 2)
    assert delivered(completions) == ["event", "between"]


@given(st.integers(1, 12), st.randoms())
def test_whatever_the_order_of_the_news_the_order_of_delivery_is_the_same(count: int, rng: random.Random) -> None:
    completions: Completions[int] = Completions()
    for number in range(1, count + 1):
        completions.expect(number)
    found = []
    for number in rng.sample(range(1, count + 1), count):
        completions.see(number)
        completions.add(number, number)
        while (key := completions.next()) is not None:
            found.append(key)
    assert found == list(range(1, count + 1))
