"""Each check finds what it is there for: a clean run's evidence, spoilt in one way."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import pytest

from tests.snapshot import Snapshot
from tests.soak.app import Receipt, fulfil
from tests.soak.evidence import Evidence
from tests.soak.history import Acknowledged, Trace
from tests.soak.orders import Order
from tests.soak.verdict import judge
from zart_redis.codec import codec_for
from zart_redis.engine import journal
from zart_redis.handlers import definition_of
from zart_redis.layout import Record, Size

HANDLER = definition_of(fulfil)
ORDER = Order(1, link_ms=0, parts=0, nap_ms=0, event=True, flaky=False)
TOKENS = {step: f"token-{step}" for step in ORDER.steps()}
RECEIPT = Receipt(TOKENS, ORDER.payload)
DIED, FINISHED = 9_000, 8_000
BY_TOKEN = [
    Trace(7, 1_000, ORDER.id, 1, step, 1, TOKENS[step], TOKENS.get(before or ""))
    for step, before in ORDER.steps().items()
]


def record(token: str, at: int) -> bytes:
    data = codec_for(str).encode(token, "a token")
    return journal.encode_result(Record.VALUE, data, None, 1, 0, "c0ffee01") + at.to_bytes(Size.STAMP, "big")


def evidence() -> Evidence:
    hashes = {
        f"x:{ORDER.id}": {
            "status": b"completed",
            "finished": str(FINISHED).encode(),
            "input": HANDLER.input.encode(ORDER, "it"),
            "output": HANDLER.output.encode(RECEIPT, "it"),
        },
        f"r:{ORDER.id}:1": {step: record(token, 2_000) for step, token in TOKENS.items()},
        f"e:{ORDER.id}:1": {"go": bytes(8) + b"D" + bytes(Size.STAMP) + codec_for(str).encode(ORDER.payload, "it")},
    }
    answers = [
        Acknowledged("start", ORDER.id, 1_000, None),
        Acknowledged("event", ORDER.id, 2_000, ORDER.payload),
        Acknowledged("result", ORDER.id, 8_100, ["completed", asdict(RECEIPT)]),
    ]
    return Evidence(answers, BY_TOKEN, Snapshot({}, hashes), [DIED], set())


def failing_checks(found: Evidence, *, may_lose: bool = False) -> set[str]:
    """The names of the checks that find something. The laws are checked elsewhere, on whole snapshots."""
    return {check.name for check in judge(found, may_lose=may_lose) if check.wrong} - {"the laws hold at rest"}


def test_what_is_right_is_found_right() -> None:
    assert failing_checks(evidence()) == set()


def lose_execution(found: Evidence) -> None:
    del found.snapshot.hashes[f"x:{ORDER.id}"]


def lose_event(found: Evidence) -> None:
    del found.snapshot.hashes[f"e:{ORDER.id}:1"]


def leave_it_running(found: Evidence) -> None:
    found.snapshot.hashes[f"x:{ORDER.id}"]["status"] = b"running"


def lose_record(found: Evidence) -> None:
    del found.snapshot.hashes[f"r:{ORDER.id}:1"]["link-2"]


def put_another_record(found: Evidence) -> None:
    found.snapshot.hashes[f"r:{ORDER.id}:1"]["link-5"] = record("another", 2_000)


def cancel_it_early(found: Evidence) -> None:
    found.snapshot.hashes[f"x:{ORDER.id}"] |= {"status": b"cancelled", "finished": b"1500"}


KEPT = {"acknowledged starts are there", "acknowledged events are there", "results that were seen stand"}


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lose_execution, KEPT),
        (lose_event, {"acknowledged events are there"}),
        (leave_it_running, {"every execution has ended as it should", "results that were seen stand"}),
        (lose_record, {"outputs hold what is recorded", "a result was made by its step, from the one before"}),
        (put_another_record, {"outputs hold what is recorded", "a result was made by its step, from the one before"}),
        (
            cancel_it_early,
            {
                "every execution has ended as it should",
                "nothing is recorded after a cancel",
                "results that were seen stand",
            },
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_found(spoil: Callable[[Evidence], None], expected: set[str]) -> None:
    found = evidence()
    spoil(found)
    assert failing_checks(found) == expected


def test_code_that_runs_after_its_record_is_found_unless_its_worker_was_frozen() -> None:
    again = [*BY_TOKEN, Trace(8, 3_000, ORDER.id, 1, "link-1", 1, "other", None)]
    found = replace(evidence(), traces=again, excused={7})
    assert failing_checks(found) == {"what is recorded does not run again"}
    assert failing_checks(replace(found, were_frozen={8})) == set()


def test_a_step_that_begins_twice_is_found_unless_its_process_died() -> None:
    twice = [*BY_TOKEN, Trace(8, 1_500, ORDER.id, 1, "link-1", 1, "other", None)]
    found = replace(evidence(), traces=twice)
    assert failing_checks(found) == {"no step begins twice without a death"}
    assert failing_checks(replace(found, excused={7})) == set()
    assert failing_checks(found, may_lose=True) == set()
    assert failing_checks(replace(found, redis_deaths=[]), may_lose=True) == {"no step begins twice without a death"}


def test_a_poison_must_fail_and_an_innocent_must_not() -> None:
    failed = evidence()
    failed.snapshot.hashes[f"x:{ORDER.id}"]["status"] = b"failed"
    assert "every execution has ended as it should" in failing_checks(failed)
    poison = evidence()
    data = HANDLER.input.encode(replace(ORDER, poison=True), "it")
    poison.snapshot.hashes[f"x:{ORDER.id}"]["input"] = data
    assert failing_checks(poison) == {"every execution has ended as it should"}


@pytest.mark.parametrize(("at", "wrong"), [(8_500, set[str]()), (6_000, {"acknowledged cancels stand"})])
def test_a_redis_that_may_lose_may_not_lose_what_is_old(at: int, wrong: set[str]) -> None:
    answers: Sequence[Acknowledged] = [*evidence().acknowledged, Acknowledged("cancel", ORDER.id, at, True)]
    found = replace(evidence(), acknowledged=answers)
    assert failing_checks(found, may_lose=True) == wrong
    assert failing_checks(found) == {"acknowledged cancels stand"}
