"""Where the model and the store disagreed, step by step: each step is compared with the model as in `test_model`."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.model.state_machine import Machine

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
    machine.pause("aa", None, None, step, extend)


def test_a_body_that_has_returned_meets_its_deadline_while_scheduled_steps_go_on(machine: Machine) -> None:
    begun(machine, timeout=1000)
    machine.schedule(0, {"c"}, None, None)
    machine.finish(0, b"", 1000)
    machine.clock_jumps(1000)
    machine.due()
    assert (stored(machine, "status"), stored(machine, "fail_reason")) == (b"running", b"deadline")


def test_an_event_wakes_no_body_that_only_sleeps_under_its_name(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("s", "e", "1000")])
    machine.deliver("a", "e", b"")
    assert stored(machine, "status") == b"waiting"


def test_a_new_run_is_not_held_by_the_rule_that_held_the_old_one(machine: Machine) -> None:
    machine.begin({"a"}, None, claimed=False)
    pause(machine)
    machine.claim_new("w1", 1, ("default",))
    machine.cancel("a", 1000)
    machine.restart("a", None, None)
    machine.claim_new("w1", 1, ("default",))
    machine.restart("a", None, None)
    assert "paused:aa" not in machine.snapshot.zsets


def test_a_pass_leaves_the_pause_rule_that_the_one_before_was_parked_at(machine: Machine) -> None:
    begun(machine, timeout=60_000)
    pause(machine, "n", extend=True)
    machine.park(0, [("p", "aa", ""), ("s", "e", "1000")])
    assert stored(machine, "deadline") is None
    machine.clock_jumps(10_000)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    assert stored(machine, "deadline") == str(NOW + 10_000 + 60_000).encode()
    machine.park(0, [("w", "e?", "")], gone=[("p", "aa")])
    assert "paused:aa" not in machine.snapshot.zsets


def test_a_delayed_start_is_not_begun_early_by_the_end_of_a_rule_that_held_an_earlier_run(machine: Machine) -> None:
    begun(machine)
    pause(machine, "n")
    machine.park(0, [("p", "aa", ""), ("s", "e", "10")])
    machine.clock_jumps(10)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    machine.finish(0, b"", 1000)
    machine.start("a", "task", "default", b"", 60_000, None)
    machine.resume("aa")
    machine.due()
    assert stored(machine, "entry") == b""


def test_cancelling_what_is_parked_at_a_rule_leaves_no_stopped_clock(machine: Machine) -> None:
    begun(machine, timeout=60_000)
    pause(machine, "n", extend=True)
    machine.park(0, [("p", "aa", "")])
    machine.cancel("a", 1000)
    assert stored(machine, "remaining") is None


def test_a_rule_that_goes_leaves_what_another_holds(machine: Machine) -> None:
    begun(machine)
    pause(machine, "n")
    machine.park(0, [("p", "aa", ""), ("w", "e", "")])
    machine.deliver("a", "e", b"")
    machine.pause("bb", None, None, None, False)
    machine.claim_new("w1", 1, ("default",))
    machine.resume("aa")
    machine.due()
    assert stored(machine, "paused_by") == b"bb"


def test_a_claim_from_before_a_purge_is_refused(machine: Machine) -> None:
    begun(machine)
    machine.cancel("a", 0)
    machine.purge_by_name({"a"})
    begun(machine)
    machine.record(8, "n", "v", b"stale")
    assert "r:a:1" not in machine.snapshot.hashes


def test_a_step_that_is_scheduled_anew_is_not_settled_by_the_attempt_before(machine: Machine) -> None:
    begun(machine)
    machine.schedule(0, {"c"}, None, None)
    machine.claim_new("w1", 1, ("default",))
    machine.complete_step(0, "b", b"")
    machine.retry(0, 0)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    machine.schedule(0, {"c"}, None, None)
    machine.claim_new("w1", 1, ("default",))
    machine.complete_step(8, "v", b"stale")
    machine.postpone(8, 1, None)
    assert "c" in machine.snapshot.children["a", "1"]


def test_a_wait_whose_event_came_too_late_is_not_preserved(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("w", "e", "10"), ("s", "n", "5")])
    machine.clock_jumps(5)
    machine.due()
    machine.claim_new("w1", 1, ("default",))
    machine.clock_jumps(10)
    machine.deliver("a", "e", b"")
    machine.rerun("a", None, [], [], rest_reruns=False)
    assert machine.snapshot.hashes["r:a:2"].keys() == {"n"}


def test_an_event_in_time_takes_its_timeout_with_it(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("w", "e", "1000")])
    machine.deliver("a", "e", b"")
    machine.claim_new("w1", 1, ("default",))
    machine.finish(1, b"", 1000)
    assert "xa" not in machine.snapshot.zsets.get("timers", {})


def test_a_lost_timer_of_a_deadline_is_found_though_an_event_may_wake_the_body(machine: Machine) -> None:
    begun(machine, timeout=1000)
    machine.park(0, [("w", "e", "")])
    assert machine.damage_copy(("ZREM", "timers", "xa")) == {("timer", "a")}


def test_what_a_vanished_rule_holds_is_lost(machine: Machine) -> None:
    begun(machine)
    pause(machine, "n")
    machine.park(0, [("p", "aa", "")])
    assert machine.damage_copy(("HDEL", "pause_rules", "aa")) == {("lost", "a")}


def test_a_held_entry_that_is_not_pending_is_found(machine: Machine) -> None:
    begun(machine)
    machine.schedule(0, {"c"}, None, None)
    machine.claim_new("w1", 1, ("default",))
    body, step = sorted(machine.snapshot.pending["default"])
    assert machine.damage_copy(("XACK", "q:default", "zart", body)) == {("entry", "a")}
    assert machine.damage_copy(("XACK", "q:default", "zart", step)) == {("child", "a")}


def test_a_live_execution_that_would_expire_is_found(machine: Machine) -> None:
    begun(machine)
    assert machine.damage_copy(("ZADD", "expiring", "1", "a")) == {("expiry", "a")}


def test_what_is_overdue_ends_before_an_event_that_comes_after_it(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("w", "e", "20"), ("s", "e?", "10"), ("t", "1.1", "@15")])
    machine.clock_jumps(1000)
    machine.deliver("a", "e", b"")
    records = machine.snapshot.hashes["r:a:1"]
    numbers = {name: int.from_bytes(record[-9:-6], "big") for name, record in records.items()}
    assert numbers == {"e?": 1, "\x1f1.1": 2, "e": 3}
    assert machine.model.executions["a"].events[1]["e"].number == 4


def test_a_result_that_is_recorded_again_uses_up_no_number(machine: Machine) -> None:
    begun(machine)
    machine.record(0, "n", "v", b"", twice=True)
    assert stored(machine, "completions") == b"1"


def test_attempts_are_counted_of_a_step_that_the_body_has_cancelled_before(machine: Machine) -> None:
    begun(machine)
    machine.record(0, "try", "x", b"", ordered=False)
    machine.attempt(0, "try", 1, None, 1000)
    assert machine.snapshot.hashes["r:a:1"]["try"].startswith(b"a1,")


def test_a_kept_body_whose_deadline_has_passed_is_failed_and_not_resumed(machine: Machine) -> None:
    begun(machine, timeout=1000)
    machine.park(0, [("w", "e", "")], hold="keep")
    machine.deliver("a", "e", b"")
    machine.clock_jumps(1000)
    machine.claim_new("w1", 1, ("default",))
    assert stored(machine, "fail_reason") == b"deadline"
    assert not machine.bodies[-1].claimed.kept_at


def test_a_worker_that_keeps_a_body_is_told_what_is_new(machine: Machine) -> None:
    begun(machine)
    machine.park(0, [("w", "e", ""), ("s", "e?", "10")], hold="keep")
    machine.clock_jumps(10)
    machine.deliver("a", "e", b"payload")
    machine.claim_new("w1", 1, ("default",))
    assert [(kind, name) for kind, name, _ in machine.bodies[-1].claimed.news] == [("s", "e?"), ("w", "e")]
    machine.load(0)


def test_a_body_past_its_deadline_drops_the_steps_claimed_with_it(machine: Machine) -> None:
    begun(machine, timeout=1000)
    machine.schedule(0, {"c"}, None, None)
    machine.park(0, [("w", "e?", "")])
    machine.deliver("a", "e?", b"")
    machine.clock_jumps(1000)
    machine.claim_new("w1", 2, ("default",))
    assert machine.model.executions["a"].fail_reason == "deadline"
    machine.complete_step(8, "v", b"")


def test_a_record_that_is_there_already_takes_no_number(machine: Machine) -> None:
    begun(machine)
    machine.record(0, "n", "v", b"", ordered=False)
    machine.record(0, "n", "v", b"", ordered=True)
