"""Random transitions, as several clients and several workers would send them: with stale claims, sent twice, by workers
that die or are only slow, while the clock jumps. What follows from each is compared by `bench`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from tests.model.bench import QUEUES, WORKERS, Bench, Body, Sent, Step
from tests.model.model import CONFLICT
from tests.model.records import stamp
from tests.model.state import Execution, Rule
from zart_redis.model import EventDelivery
from zart_redis.store.transitions import Parked, Rerun

IDS = ("a", "a:1", "a*", "ü/✓", '1f"\\')
TASKS = ("task", "task:2")
STEPS = ("n", "n:1", "#1")
TRIED = ("try", "try*")
CHILDREN = ("c", "=c", "c/✓", "[c]")
WAITED = ("e", "e?", "ü,1")
RULES = ("aa", "bb", "cc")
PATTERNS = ("*", "?", "n*", "c", "e?", "[c]", "*✓")

T = TypeVar("T")

ids = st.sampled_from(IDS[:2]) | st.sampled_from(IDS)
values = st.sampled_from((b"", b"1", b"\x00\xff"))
durations = st.sampled_from((0, 1, 10, 1000, 60_000))
maybe = st.none() | durations
which = st.integers(0, 9)
twice = st.booleans()
workers = st.just("w1") | st.sampled_from(WORKERS)
patterns = st.lists(st.sampled_from(PATTERNS), max_size=2)
groups = st.sampled_from("12")
children = st.sets(st.sampled_from(CHILDREN), min_size=1, max_size=2)
waits = st.one_of(
    st.tuples(st.just("sleep"), st.sampled_from(WAITED[:2]), durations.map(str)),
    st.tuples(st.just("until"), st.sampled_from(WAITED[:2]), st.sampled_from(("-10", "0", "10", "1000"))),
    st.tuples(st.just("event"), st.sampled_from(WAITED), st.just("") | durations.map(str)),
    st.tuples(st.just("retry"), st.sampled_from(TRIED), st.just("")),
    st.tuples(st.just("pause"), st.sampled_from(STEPS), st.sampled_from(RULES)),
    st.tuples(st.just("group"), groups, st.just("")),
    st.tuples(st.just("group"), groups, st.just("")),
)


def pick(which: int, all_held: Sequence[T], valid: Sequence[T]) -> T:
    """Now and then one of the newest claims that are stale, else a valid one."""
    stale = [held for held in all_held if held not in valid][-4:]
    pool = stale if stale and (which > 7 or not valid) else valid
    return pool[which % len(pool)]


class Machine(Bench):
    @initialize(chosen=st.sets(ids, min_size=1, max_size=3), timeout=maybe, claimed=st.booleans())
    def begin(self, chosen: set[str], timeout: int | None, claimed: bool) -> None:
        """Something to act upon."""
        for id in sorted(chosen):
            self.start(id, "task", "default", b"", None, timeout, twice=False)
        if claimed:
            self.claim("w1", len(chosen), QUEUES, pending=False)

    # ---- clients ----

    @rule(
        id=ids,
        task=st.sampled_from(TASKS),
        queue=st.sampled_from(QUEUES),
        data=values,
        delay=st.none() | maybe,
        timeout=maybe,
        twice=twice,
    )
    def start(
        self, id: str, task: str, queue: str, data: bytes, delay: int | None, timeout: int | None, twice: bool
    ) -> None:
        call = self.zart.start(id, task, queue, data, delay, timeout, "me")
        answer = self.step(lambda: self.model.start(id, task, queue, data, delay, timeout), call, twice=twice)
        if answer and answer.run is not None:
            self.remember(id, "begin")

    @rule(id=ids, data=st.none() | values, timeout=maybe, twice=twice)
    def restart(self, id: str, data: bytes | None, timeout: int | None, twice: bool) -> None:
        call = self.zart.restart(id, data, timeout, "")
        if self.step(lambda: self.model.restart(id, data, timeout), call, twice=twice):
            self.remember(id, "begin")

    @rule(id=ids, timeout=maybe, rerun=patterns, preserve=patterns, rest_reruns=st.booleans(), twice=twice)
    def rerun(
        self, id: str, timeout: int | None, rerun: list[str], preserve: list[str], rest_reruns: bool, twice: bool
    ) -> None:
        async def call() -> Rerun | str | None:
            answer = await self.zart.rerun(id, timeout, "", rerun, preserve, rest_reruns)
            return CONFLICT if isinstance(answer, str) else answer

        expected = partial(self.model.rerun, id, timeout, rerun, preserve, rest_reruns)
        answer = self.step(expected, call(), twice=twice)
        if isinstance(answer, Rerun):
            self.remember(id, "begin")

    @precondition(lambda self: any(x.status == "failed" for x in self.model.executions.values()))
    @rule(id=ids, step=st.sampled_from(STEPS + CHILDREN), twice=twice)
    def retry_step(self, id: str, step: str, twice: bool) -> None:
        call = self.zart.retry_step(id, step, "me")
        if self.step(lambda: self.model.retry_step(id, step), call, twice=twice) == "retrying":
            self.remember(id, "begin")

    @rule(id=ids, retention=durations, twice=twice)
    def cancel(self, id: str, retention: int, twice: bool) -> None:
        answer = self.step(lambda: self.model.cancel(id, retention), self.zart.cancel(id, retention), twice=twice)
        if answer and answer.was_live:
            self.remember(id, "cancel")

    @rule(id=ids, name=st.sampled_from(WAITED) | st.sampled_from(STEPS + CHILDREN), payload=values, twice=twice)
    def deliver(self, id: str, name: str, payload: bytes, twice: bool) -> None:
        call = self.zart.deliver(id, name, payload)
        answer = self.step(lambda: self.model.deliver(id, name, payload), call, twice=twice)
        if answer in (EventDelivery.DELIVERED, EventDelivery.BUFFERED):
            self.remember(id, f"event {name}")

    def remember(self, id: str, what: str) -> None:
        self.sent[id, what] = Sent(self.model.executions[id], self.line.sent, self.line.reply.result())

    @precondition(lambda self: self.sent)
    @rule(which=which)
    def late_copy(self, which: int) -> None:
        """A command whose reply was lost is sent again, others having come between."""
        lasting = [sent for sent in self.sent.values() if sent.execution in self.model.executions.values()]
        if lasting:
            sent = lasting[which % len(lasting)]
            self.send_again(sent.command, sent.answer)

    @rule(
        id=st.sampled_from(RULES),
        execution=st.none() | ids,
        task=st.none() | st.sampled_from(TASKS),
        step=st.none() | st.sampled_from(PATTERNS),
        extend=st.booleans(),
        twice=twice,
    )
    def pause(
        self, id: str, execution: str | None, task: str | None, step: str | None, extend: bool, twice: bool
    ) -> None:
        if id in self.model.rules or id in self.model.gone_rules:
            return
        held = {"execution": execution, "task": task, "step": step, "extend": extend, "created": self.model.now}
        said = json.dumps({name: value for name, value in held.items() if value is not None}).encode()
        pausing = Rule(id, execution, task, step, extend)
        self.step(lambda: self.model.pause(pausing), self.zart.pause(id, said), twice=twice)

    @precondition(lambda self: self.model.rules)
    @rule(id=st.sampled_from(RULES))
    def resume(self, id: str) -> None:
        self.step(lambda: self.model.resume(id), self.zart.resume(id))

    # ---- a worker that holds a body ----

    def body(self, which: int) -> Body:
        valid = [body for body in self.bodies if body.execution.claim is body.claim]
        return pick(which, self.bodies, valid)

    @precondition(lambda self: self.bodies)
    @rule(which=which, name=st.sampled_from(STEPS + TRIED), letter=st.sampled_from("vbzc"), value=values, twice=twice)
    def record(self, which: int, name: str, letter: str, value: bytes, twice: bool) -> None:
        body, record = self.body(which), letter.encode() + value
        call = self.zart.record(body.held, name, record)
        self.step(lambda: self.model.record(body.claim, name, record), call)
        if twice:  # what stands there is the answer now
            self.send_again(self.line.sent, self.line.reply.result() or record + stamp(self.model.now))

    @precondition(lambda self: self.bodies)
    @rule(
        which=which, name=st.sampled_from(TRIED), failed=st.integers(0, 2), timeout=maybe, delay=durations, twice=twice
    )
    def attempt(self, which: int, name: str, failed: int, timeout: int | None, delay: int, twice: bool) -> None:
        body = self.body(which)
        call = self.zart.attempt(body.held, name, failed, timeout, delay, b"note")
        self.step(lambda: self.model.attempt(body.claim, name, failed, timeout, delay), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, names=children, timeout=maybe, group=st.none() | groups, twice=twice)
    def schedule(self, which: int, names: set[str], timeout: int | None, group: str | None, twice: bool) -> None:
        body = self.body(which)
        children = [(name, b"spec", timeout) for name in sorted(names)]
        call = self.zart.schedule(body.held, body.execution.queue, children)
        self.step(lambda: self.model.schedule(body.claim, children), call, twice=twice)
        if group:
            self.join(which, names, group, twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, names=children, group=groups, twice=twice)
    def join(self, which: int, names: set[str], group: str, twice: bool) -> None:
        body = self.body(which)
        call = self.zart.join(body.held, group, sorted(names))
        self.step(lambda: self.model.join(body.claim, group, sorted(names)), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(
        which=which,
        waits=st.lists(waits, min_size=1, max_size=4, unique_by=lambda wait: wait[1]),
        hold=st.booleans(),
        twice=twice,
    )
    def park(self, which: int, waits: list[tuple[str, str, str]], hold: bool, twice: bool) -> None:
        body = self.body(which)
        asked = [self.as_asked(wait) for wait in waits if self.can_wait(body.execution, wait)]
        if not asked:
            return

        async def call() -> Parked:
            answer = await self.zart.park(body.held, asked, hold)
            return answer._replace(ready=[(kind, name, _without_nonce(record)) for kind, name, record in answer.ready])

        self.step(lambda: self.model.park(body.claim, asked, hold), call(), twice=twice)

    def as_asked(self, wait: tuple[str, str, str]) -> tuple[str, str, str]:
        kind, name, argument = wait
        return ("sleep", name, f"@{self.model.now + int(argument)}") if kind == "until" else wait

    @staticmethod
    def can_wait(x: Execution, wait: tuple[str, str, str]) -> bool:
        """A body awaits a retry only of what it has tried, and is paused at a step by one rule at a time."""
        kind, name, argument = wait
        if kind == "pause" and name in x.waits:
            return x.waits[name].rule == argument
        return kind != "retry" or name in x.records[x.scope]

    @precondition(lambda self: self.bodies)
    @rule(which=which, timeout=durations, twice=twice)
    def limit(self, which: int, timeout: int, twice: bool) -> None:
        body = self.body(which)
        self.step(lambda: self.model.limit(body.claim, timeout), self.zart.limit(body.held, timeout), twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, output=values, retention=durations, twice=twice)
    def finish(self, which: int, output: bytes, retention: int, twice: bool) -> None:
        body = self.body(which)
        call = self.zart.finish(body.held, output, retention)
        self.step(lambda: self.model.finish(body.claim, output, retention), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, error=values, retention=durations, twice=twice)
    def fail(self, which: int, error: bytes, retention: int, twice: bool) -> None:
        body = self.body(which)
        call = self.zart.fail(body.held, error, retention)
        self.step(lambda: self.model.fail(body.claim, error, retention), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, failure=values, twice=twice)
    def compensate(self, which: int, failure: bytes, twice: bool) -> None:
        body = self.body(which)
        if body.execution.compensates:
            return
        call = self.zart.compensate(body.held, failure)
        scope = self.step(lambda: self.model.compensate(body.claim, failure), call, twice=twice)
        if scope is not None:
            body.held = body.held._replace(scope=scope)

    @precondition(lambda self: self.bodies)
    @rule(which=which, delay=durations, twice=twice)
    def retry(self, which: int, delay: int, twice: bool) -> None:
        body = self.body(which)
        call = self.zart.retry(body.held, delay, b"note")
        self.step(lambda: self.model.retry(body.claim, delay), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, delay=maybe, twice=twice)
    def release(self, which: int, delay: int | None, twice: bool) -> None:
        """With a delay it is a body that this worker does not know, and that has registered nothing therefore."""
        body = self.body(which)
        if body.execution.waits or body.execution.groups:
            delay = None
        self.step(lambda: self.model.release(body.claim, delay), self.zart.release(body.held, delay), twice=twice)

    # ---- a worker that holds a scheduled step ----

    def scheduled(self, which: int) -> Step:
        valid = [step for step in self.steps if step.child.claim is step.claim]
        return pick(which, self.steps, valid)

    @precondition(lambda self: self.steps)
    @rule(which=which, letter=st.sampled_from("vbz"), value=values, twice=twice)
    def settle(self, which: int, letter: str, value: bytes, twice: bool) -> None:
        step, record = self.scheduled(which), letter.encode() + value
        call = self.zart.settle(step.held, record)
        self.step(lambda: self.model.settle(step.child, step.claim, record), call, twice=twice)

    @precondition(lambda self: self.steps)
    @rule(which=which, more=st.integers(0, 1), delay=maybe, twice=twice)
    def postpone(self, which: int, more: int, delay: int | None, twice: bool) -> None:
        step = self.scheduled(which)
        failed = step.child.attempts + more
        call = self.zart.postpone(step.held, failed, delay, b"note" if more else b"")
        self.step(lambda: self.model.postpone(step.child, step.claim, failed, delay), call, twice=twice)

    # ---- the loops of workers ----

    @rule(worker=workers, most=st.integers(0, 4), queues=st.sampled_from((QUEUES, QUEUES[:1], QUEUES[1:])))
    def claim_new(self, worker: str, most: int, queues: tuple[str, ...]) -> None:
        self.claim(worker, most, queues, pending=False)

    @rule(worker=workers)
    def claim_pending(self, worker: str) -> None:
        """What a blocking read has delivered to it, and what it claimed without hearing of it."""
        self.claim(worker, 1, QUEUES, pending=True)

    @rule(worker=workers, queue=st.sampled_from(QUEUES), back=st.booleans())
    def deliver_entry(self, worker: str, queue: str, back: bool) -> None:
        """The worker may die before it claims it."""
        self.read(worker, queue, back=back)

    @rule()
    def due(self) -> None:
        before = set(self.model.entries())

        async def call() -> int:
            return (await self.zart.due(1000)).fired

        self.step(self.model.due, call(), adopt=lambda: self.adopt_order(before))

    @rule(step=st.sampled_from((1, 10, 1000, 60_000, 3_600_000, -7, -2000)))
    def clock_jumps(self, step: int) -> None:
        self.model.now += step
        self.made["clock"] += 1

    @rule()
    def purge(self) -> None:
        self.step(lambda: self.model.purge(), self.zart.purge(1000))

    @rule(chosen=st.sets(ids, min_size=1))
    def purge_by_name(self, chosen: set[str]) -> None:
        self.step(lambda: self.model.purge(sorted(chosen)), self.zart.purge(1000, sorted(chosen)))

    @rule(worker=workers)
    def lease_ends(self, worker: str) -> None:
        """It may be slow, and still act until another worker notices."""
        self.leaving.add(worker)
        self.step(lambda: None, self.zart.leave(worker))

    @rule(worker=workers, dies=st.booleans(), most=st.integers(1, 3), max_deliveries=st.integers(1, 3))
    def reclaim(self, worker: str, dies: bool, most: int, max_deliveries: int) -> None:
        """One that was given up joins anew, under the same name."""
        if dies:
            self.lease_ends(worker)
        given_up = worker in self.leaving
        self.leaving.discard(worker)

        async def call() -> int:
            more, moved = await self.zart.reclaim(worker, most, max_deliveries)
            while more:
                more, again = await self.zart.reclaim(worker, most, max_deliveries)
                moved += again
            return moved

        self.step(lambda: self.model.reclaim(worker, max_deliveries) if given_up else 0, call())
        if given_up:
            self.runner.run(self.join_worker(worker))
            self.compare()


_CHANCES = {
    "claim_new": 5,
    "park": 5,
    "settle": 5,
    "schedule": 3,
    "deliver": 3,
    "clock_jumps": 2,
    "due": 2,
    "record": 2,
}
for name, chances in _CHANCES.items():
    for number in range(1, chances):
        setattr(Machine, f"{name}_{number}", getattr(Machine, name))  # a rule is drawn by each of its names


def explore(url: str, made: Counter[str], *, examples: int, steps: int, seeded: int | None = None) -> None:
    """Makes so many examples of so many steps, counted in `made` by what they are, and raises what disagrees: shrunk,
    and with how to come back to it. The same seed makes the same ones."""

    class Example(Machine):
        def __init__(self) -> None:
            super().__init__(url, made)

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Example if seeded is None else seed(seeded)(Example), settings=chosen)


def _without_nonce(record: bytes) -> bytes:
    """An event's own nonce is not what the model knows."""
    return b"E" + record[16:] if record.startswith(b"E") else record
