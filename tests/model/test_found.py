"""Where the model and the store disagreed, step by step: each step is compared with the model as in `test_model`."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.model.machine import Machine

NOW = 1_000_000


@pytest.fixture
def machine(redis_url: str) -> Iterator[Machine]:
    machine = Machine(redis_url, Counter())
    yield machine
    machine.teardown()


def begun(machine: Machine, timeout: int | None = None) -> None:
    """The execution "a", held by w1."""
    machine.begin({"a"}, timeout, claimed=True)


def stored(machine: Machine, field: str) -> bytes | None:
    return machine.snapshot.hashes["x:a"].get(field)


def pause(machine: Machine, step: str | None = None, *, extend: bool = False) -> None:
    machine.pause("aa", None, None, step, extend, twice=False)


def test_a_body_that_has_returned_meets_its_deadline_while_scheduled_steps_go_on(machine: Machine) -> None:
    begun(machine, timeout=1000)
    machine.schedule(0, {"c"}, None, None, twice=False)
    machine.finish(0, b"", 1000, twice=False)
    machine.clock_jumps(1000)
    machine.due()
    assert (stored(machine, "status"), stored(machine, "doom")) == (b"running", b"deadline")


def test_an_event_wakes_no_body_that_only_sleeps_under_its_name(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("sleep", "e", "1000")], hold=False, twice=False)
    machine.deliver("a", "e", b"", twice=False)
    assert stored(machine, "status") == b"waiting"


def test_a_new_run_is_not_held_by_the_rule_that_held_the_old_one(machine: Machine) -> None:
    machine.begin({"a"}, None, claimed=False)
    pause(machine)
    machine.claim_new("w1", 1, ("default",))
    machine.cancel("a", 1000, twice=False)
    machine.restart("a", None, None, twice=False)
    machine.claim_new("w1", 1, ("default",))
    machine.restart("a", None, None, twice=False)
    assert "held:aa" not in machine.snapshot.zsets


def test_a_pass_leaves_the_pause_rule_that_the_one_before_was_parked_at(machine: Machine) -> None:
    begun(machine, timeout=60_000)
    pause(machine, "n", extend=True)
    machine.park(0, [("pause", "n", "aa"), ("sleep", "e", "1000")], hold=False, twice=False)
    assert stored(machine, "deadline") is None
    machine.clock_jumps(10_000)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    assert "held:aa" not in machine.snapshot.zsets
    assert stored(machine, "deadline") == str(NOW + 10_000 + 60_000).encode()


def test_a_delayed_start_is_not_begun_early_by_the_end_of_a_rule_that_held_an_earlier_run(machine: Machine) -> None:
    begun(machine)
    pause(machine, "n")
    machine.park(0, [("pause", "n", "aa"), ("sleep", "e", "10")], hold=False, twice=False)
    machine.clock_jumps(10)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    machine.finish(0, b"", 1000, twice=False)
    machine.start("a", "task", "default", b"", 60_000, None, twice=False)
    machine.resume("aa")
    machine.due()
    assert stored(machine, "entry") == b""


def test_cancelling_what_is_parked_at_a_rule_leaves_no_stopped_clock(machine: Machine) -> None:
    begun(machine, timeout=60_000)
    pause(machine, "n", extend=True)
    machine.park(0, [("pause", "n", "aa")], hold=False, twice=False)
    machine.cancel("a", 1000, twice=False)
    assert stored(machine, "remaining") is None


def test_a_rule_that_goes_leaves_what_another_holds(machine: Machine) -> None:
    begun(machine)
    pause(machine, "n")
    machine.park(0, [("pause", "n", "aa"), ("event", "e", "")], hold=False, twice=False)
    machine.deliver("a", "e", b"", twice=False)
    machine.pause("bb", None, None, None, False, twice=False)
    machine.claim_new("w1", 1, ("default",))
    machine.resume("aa")
    machine.due()
    assert stored(machine, "held") == b"bb"


def test_a_claim_from_before_a_purge_is_refused(machine: Machine) -> None:
    begun(machine)
    machine.cancel("a", 0, twice=False)
    machine.purge_by_name({"a"})
    begun(machine)
    machine.record(8, "n", "v", b"stale", twice=False)
    assert "r:a:1" not in machine.snapshot.hashes


def test_a_step_that_is_scheduled_anew_is_not_settled_by_the_attempt_before(machine: Machine) -> None:
    begun(machine)
    machine.schedule(0, {"c"}, None, None, twice=False)
    machine.claim_new("w1", 1, ("default",))
    machine.settle(0, "b", b"", twice=False)
    machine.retry(0, 0, twice=False)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    machine.schedule(0, {"c"}, None, None, twice=False)
    machine.claim_new("w1", 1, ("default",))
    machine.settle(8, "v", b"stale", twice=False)
    machine.postpone(8, 1, None, twice=False)
    assert "c" in machine.snapshot.children["a", "1"]


def test_a_wait_whose_event_came_too_late_is_not_preserved(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("event", "e", "10"), ("sleep", "n", "5")], hold=False, twice=False)
    machine.clock_jumps(5)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    machine.clock_jumps(10)
    machine.deliver("a", "e", b"", twice=False)
    machine.rerun("a", None, [], [], rest_reruns=False, twice=False)
    assert machine.snapshot.hashes["r:a:2"].keys() == {"n"}


def test_an_event_in_time_takes_its_timeout_with_it(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("event", "e", "1000")], hold=False, twice=False)
    machine.deliver("a", "e", b"", twice=False)
    machine.claim_new("w1", 1, ("default",))
    machine.finish(1, b"", 1000, twice=False)
    assert "xa" not in machine.snapshot.zsets.get("timers", {})
