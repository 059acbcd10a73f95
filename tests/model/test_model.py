"""Thousands of transitions, on each version of Redis, the same in each run; `python -m tests.model.soak` makes new
ones, as many as wanted."""

from collections import Counter

from tests.model.explore import explore


def test_redis_and_the_model_agree_after_every_step(redis_url: str) -> None:
    made: Counter[str] = Counter()
    explore(redis_url, made, examples=100, steps=80, seeded=1)
    assert made.total() > 1000, "too little was tried to mean anything"
