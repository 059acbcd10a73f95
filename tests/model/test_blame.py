"""Who is blamed for a death, step by step, with the model beside: each step is compared as in `test_model`."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.model.state_machine import Machine
from zart_redis.layout import Cause


@pytest.fixture
def machine(redis_url: str) -> Iterator[Machine]:
    machine = Machine(redis_url, Counter())
    yield machine
    machine.teardown()


def held_by_one(machine: Machine, *ids: str) -> None:
    machine.begin(set(ids), None, claimed=True)


def dies(machine: Machine, worker: str, cause: Cause = Cause.CRASH, *, allowed: int = 3, returns: bool = False) -> None:
    machine.reclaim(worker, True, 3, allowed, cause, returns)


def stored_blame(machine: Machine, id: str) -> dict[str, Any]:
    packed = machine.snapshot.hashes[f"x:{id}"].get("blame")
    return msgspec.msgpack.decode(packed) if packed else {}


def in_lane(machine: Machine, mark: str) -> list[str]:
    entries = machine.snapshot.entries["default"].items()
    return [fields[1] for entry, fields in entries if entry[:1] == mark]


def test_what_died_together_is_suspected_and_a_worker_out_of_quarantine_does_not_claim_it(machine: Machine) -> None:
    held_by_one(machine, "a", "a:1")
    dies(machine, "w1")
    assert sorted(in_lane(machine, "?")) == ["a", "a:1"]
    machine.claim_new("w2", 4, ("default",))
    assert not machine.snapshot.pending["default"]


def test_a_death_in_quarantine_counts_against_the_one_and_clears_what_died_with_it_before(machine: Machine) -> None:
    held_by_one(machine, "a", "a:1")
    dies(machine, "w1")
    machine.claim_suspect("w2")
    (guilty,) = in_lane(machine, "?")[:1]
    dies(machine, "w2")
    assert stored_blame(machine, guilty)["counted"] == 1
    machine.claim_suspect("w3")
    (innocent,) = in_lane(machine, "!")
    assert innocent != guilty
    assert stored_blame(machine, innocent) == {}
    dies(machine, "w3", allowed=2)
    assert machine.snapshot.hashes[f"x:{guilty}"]["fail_reason"] == b"crashes"
    assert sorted(in_lane(machine, "!")) == ["a", "a:1"]


def test_a_death_beside_a_cleared_one_counts_against_neither(machine: Machine) -> None:
    held_by_one(machine, "a", "a:1")
    dies(machine, "w1")
    machine.claim_suspect("w2")
    machine.clear_suspected_body(0)
    machine.claim_suspect("w2")
    dies(machine, "w2")
    assert [stored_blame(machine, id)["counted"] for id in ("a", "a:1")] == [0, 0]
    assert sorted(in_lane(machine, "?")) == ["a", "a:1"]


@pytest.mark.parametrize("cause", [Cause.LAPSE, Cause.KILL])
def test_the_first_lapse_or_kill_suspects_nothing_and_the_second_does(machine: Machine, cause: Cause) -> None:
    held_by_one(machine, "a")
    dies(machine, "w1", cause)
    assert in_lane(machine, "!") == ["a"]
    machine.claim_new("w2", 1, ("default",))
    dies(machine, "w2", cause)
    assert in_lane(machine, "?") == ["a"]
    assert stored_blame(machine, "a")["counted"] == 0


@pytest.mark.parametrize("returns", [True, False])
def test_a_lapse_in_quarantine_counts_unless_the_worker_comes_back(machine: Machine, returns: bool) -> None:
    held_by_one(machine, "a")
    dies(machine, "w1")
    machine.claim_suspect("w2")
    dies(machine, "w2", returns=returns)
    machine.claim_suspect("w2")
    dies(machine, "w2", Cause.LAPSE)
    assert stored_blame(machine, "a")["counted"] == (1 if returns else 2)


def test_a_record_between_two_deaths_is_progress(machine: Machine) -> None:
    held_by_one(machine, "a")
    dies(machine, "w1")
    machine.claim_suspect("w2")
    machine.record(0, "n", "v", b"1")
    dies(machine, "w2", Cause.LAPSE)
    assert len(stored_blame(machine, "a")["deaths"]) == 1
    assert in_lane(machine, "!") == ["a"]


def test_a_parked_body_is_blamed_for_nothing(machine: Machine) -> None:
    held_by_one(machine, "a")
    dies(machine, "w1")
    machine.claim_suspect("w2")
    machine.park(0, [("s", "e", "1000")])
    assert stored_blame(machine, "a") == {}


def test_what_a_worker_in_quarantine_hands_back_stays_a_suspect(machine: Machine) -> None:
    held_by_one(machine, "a")
    dies(machine, "w1")
    machine.claim_suspect("w2")
    machine.release(0, None)
    assert in_lane(machine, "?") == ["a"]
    machine.claim_suspect("w2")
    dies(machine, "w2", Cause.LEAVING)
    assert in_lane(machine, "?") == ["a"]
    assert stored_blame(machine, "a")["counted"] == 0


def test_a_scheduled_step_is_suspected_like_a_body(machine: Machine) -> None:
    held_by_one(machine, "a")
    machine.schedule(0, {"c"}, None, None)
    machine.claim_new("w2", 1, ("default",))
    dies(machine, "w2")
    assert machine.snapshot.children["a", "1"]["c"].entry.startswith("?")
    machine.claim_suspect("w3")
    dies(machine, "w3", allowed=1)
    step = machine.snapshot.children["a", "1"]["c"]
    assert msgspec.msgpack.decode(step.blame)["convicted"]
    assert step.entry.startswith("!")
