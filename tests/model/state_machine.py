"""Random transitions, as several clients and several workers would send them: with stale claims, sent twice, by workers
that die or are only slow, while the clock jumps. What follows from each is compared by `harness`."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial
from typing import Literal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.model import view
from tests.model.harness import QUEUES, Body, Sent, Step, limits_text, pick
from tests.model.model import CONFLICT, NO_OPTIONS
from tests.model.records import without_nonce
from tests.model.services import Services
from tests.model.state import Execution, Loaded, Rule, StartOptions
from tests.model.strategies import (
    CHANNELS,
    CHILDREN,
    CODES,
    PATTERNS,
    RULES,
    STEPS,
    TASKS,
    TRIED,
    WAITED,
    children,
    counters,
    durations,
    groups,
    ids,
    maybe,
    patterns,
    start_options,
    twice,
    values,
    waits,
    which,
)
from zart_redis.errors import ExecutionFinished, ExecutionNotFound, MailboxFull
from zart_redis.layout import Size
from zart_redis.model import EventDelivery
from zart_redis.store.mailbox import MessageKey, StartOfRun
from zart_redis.store.replies import Parked, Rerun


class Machine(Services):
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
        limits=counters,
        options=start_options,
        twice=twice,
    )
    def start(
        self,
        id: str,
        task: str,
        queue: str,
        data: bytes,
        delay: int | None,
        timeout: int | None,
        limits: tuple[str, ...] = (),
        options: StartOptions = NO_OPTIONS,
        twice: bool = False,
    ) -> None:
        call = self.zart.start(id, task, queue, data, delay, timeout, "me", limits_text(limits), options.stored)
        expected = partial(self.model.start, id, task, queue, data, delay, timeout, limits, options)
        answer = self.step(expected, call, twice=twice)
        if answer and answer.is_new:
            self.remember(id, "begin")

    @rule(id=ids, data=st.none() | values, timeout=maybe, twice=twice)
    def restart(self, id: str, data: bytes | None, timeout: int | None, twice: bool = False) -> None:
        call = self.zart.restart(id, data, timeout, "")
        if self.step(lambda: self.model.restart(id, data, timeout), call, twice=twice):
            self.remember(id, "begin")

    @rule(id=ids, timeout=maybe, rerun=patterns, preserve=patterns, rest_reruns=st.booleans(), twice=twice)
    def rerun(
        self,
        id: str,
        timeout: int | None,
        rerun: list[str],
        preserve: list[str],
        rest_reruns: bool,
        twice: bool = False,
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
    def retry_step(self, id: str, step: str, twice: bool = False) -> None:
        call = self.zart.retry_step(id, step, "me")
        if self.step(lambda: self.model.retry_step(id, step), call, twice=twice) == "retrying":
            self.remember(id, "begin")

    @rule(id=ids, retention=durations, twice=twice)
    def cancel(self, id: str, retention: int, twice: bool = False) -> None:
        call = self.zart.cancel(id, retention, "why")
        answer = self.step(lambda: self.model.cancel(id, retention, "why"), call, twice=twice)
        if answer and answer.was_live:
            self.remember(id, "cancel")

    @rule(id=ids, name=st.sampled_from(WAITED) | st.sampled_from(STEPS + CHILDREN), payload=values, twice=twice)
    def deliver(self, id: str, name: str, payload: bytes, twice: bool = False) -> None:
        call = self.zart.deliver(id, name, payload)
        answer = self.step(lambda: self.model.deliver(id, name, payload), call, twice=twice)
        if answer in (EventDelivery.DELIVERED, EventDelivery.BUFFERED):
            self.remember(id, f"event {name}")

    @rule(
        id=ids,
        channel=st.sampled_from(CHANNELS),
        payload=values,
        key=st.sampled_from("1234") | st.none(),
        most=st.sampled_from((1, 3, 100)),
        start=st.none() | st.tuples(st.sampled_from(TASKS), st.sampled_from(QUEUES), values),
        twice=twice,
    )
    def send(
        self,
        id: str,
        channel: str,
        payload: bytes,
        key: str | None,
        most: int,
        start: tuple[str, str, bytes] | None,
        twice: bool = False,
    ) -> None:
        message = MessageKey.fresh() if key is None else MessageKey.given(key)
        run = start and StartOfRun(*start, None, "")

        async def call() -> str:
            try:
                await self.zart.send(id, channel, payload, message._replace(keep_ms=None), (most, 1000), run)
            except ExecutionNotFound:
                return "missing"
            except ExecutionFinished as error:
                return error.status
            except MailboxFull:
                return "full"
            return "sent"

        self.step(lambda: self.model.send(id, channel, payload, message.text, most, start), call(), twice=twice)

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
        self, id: str, execution: str | None, task: str | None, step: str | None, extend: bool, twice: bool = False
    ) -> None:
        if id in self.model.rules:
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
    @rule(
        which=which,
        name=st.sampled_from(STEPS + TRIED),
        letter=st.sampled_from("vbzcx"),
        value=values,
        ordered=st.booleans(),
        twice=twice,
    )
    def record(
        self, which: int, name: str, letter: str, value: bytes, ordered: bool = True, twice: bool = False
    ) -> None:
        body, record = self.body(which), letter.encode() + value
        call = self.zart.record(body.held, name, record, ordered)
        stored = self.step(lambda: self.model.record(body.claim, name, record, ordered), call)
        if twice and letter != "x":  # what stands there is the reply now
            first = record + stored if stored and len(stored) == Size.STAMP else stored
            self.send_again(self.line.sent, first or b"fenced")

    @precondition(lambda self: self.bodies)
    @rule(
        which=which, name=st.sampled_from(TRIED), failed=st.integers(0, 2), timeout=maybe, delay=durations, twice=twice
    )
    def attempt(self, which: int, name: str, failed: int, timeout: int | None, delay: int, twice: bool = False) -> None:
        body = self.body(which)
        call = self.zart.attempt(body.held, name, failed, timeout, delay, b"note")
        self.step(lambda: self.model.attempt(body.claim, name, failed, timeout, delay), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(
        which=which,
        names=children,
        timeout=maybe,
        group=st.none() | groups,
        queue=st.sampled_from(("", "", *QUEUES)),
        twice=twice,
    )
    def schedule(
        self,
        which: int,
        names: set[str],
        timeout: int | None,
        group: str | None,
        queue: str = "",
        twice: bool = False,
    ) -> None:
        body = self.body(which)
        children = [(name, b"spec", timeout, queue) for name in sorted(names)]
        call = self.zart.schedule(body.held, body.execution.queue, children)
        self.step(lambda: self.model.schedule(body.claim, children), call, twice=twice)
        if group:
            self.join(which, names, group, twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, names=children, group=groups, twice=twice)
    def join(self, which: int, names: set[str], group: str, twice: bool = False) -> None:
        body = self.body(which)
        call = self.zart.join(body.held, group, sorted(names))
        self.step(lambda: self.model.join(body.claim, group, sorted(names)), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(
        which=which,
        waits=st.lists(waits, max_size=4, unique_by=lambda wait: wait[:2]),
        gone=st.sets(waits.map(lambda wait: wait[:2]), max_size=2),
        hold=st.sampled_from(("0", "0", "1", "keep")),
        unseen=st.sampled_from((0, 0, 0, 1, 2)),
        twice=twice,
    )
    def park(
        self,
        which: int,
        waits: list[tuple[str, str, str]],
        gone: Collection[tuple[str, str]] = (),
        hold: Literal["0", "1", "keep"] = "0",
        unseen: int = 0,
        twice: bool = False,
    ) -> None:
        body = self.body(which)
        x = body.execution
        asked = [(letter, name, self.as_asked(argument)) for letter, name, argument in waits]
        left = sorted(set(gone) - {wait[:2] for wait in asked})
        if not self.awaits(x, asked, left):
            hold = "1"
        seen = max(0, (x.completions or 0) - unseen)

        async def call() -> Parked:
            answer = await self.zart.park(body.held, seen, hold, asked, left)
            news = [(kind, name, without_nonce(record)) for kind, name, record in answer.completions]
            return answer._replace(completions=news)

        self.step(lambda: self.model.park(body.claim, seen, hold, asked, left), call(), twice=twice)

    def awaits(self, x: Execution, asked: list[tuple[str, str, str]], left: list[tuple[str, str]]) -> bool:
        """Whether a body that parks so waits for anything."""
        waits, records, receivers = x.waits.copy(), x.records[x.scope].copy(), x.receivers.copy()
        number = self.model.mailboxes[x.id].number
        for letter, name in left:
            x.waits.pop(letter + name, None)
        is_over = [self.model._register(x, *wait) for wait in asked]
        awaits = bool(x.waits or x.groups or any(is_over))
        x.waits, x.records[x.scope], x.receivers = waits, records, receivers
        self.model.mailboxes[x.id].number = number
        return awaits

    def as_asked(self, argument: str) -> str:
        return f"@{self.model.now + int(argument[1:])}" if argument.startswith("@") else argument

    @precondition(lambda self: any(body.claim.is_kept for body in self.bodies))
    @rule(which=which, twice=twice)
    def load(self, which: int, twice: bool = False) -> None:
        """The worker has dropped a body that it kept."""
        kept = [body for body in self.bodies if body.claim.is_kept]
        body = kept[which % len(kept)]
        x = body.execution
        if x.claim is body.claim and x.scope != body.claimed.scope:
            return

        async def call() -> Loaded:
            return view.of_loaded(await self.zart.load(body.claimed))

        self.step(lambda: self.model.load(body.claim), call(), twice=twice)

    @precondition(lambda self: any(body.execution.has_unknown_counters for body in self.bodies))
    @rule(which=which, limits=counters.filter(bool), twice=twice)
    def gate(self, which: int, limits: tuple[str, ...], twice: bool = False) -> None:
        """The worker has found out the limits of a body that it has claimed for the first time."""
        body = self.body(which)
        call = self.zart.gate(body.held, limits_text(limits))
        self.step(lambda: self.model.gate(body.claim, limits), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, timeout=durations, twice=twice)
    def set_deadline(self, which: int, timeout: int, twice: bool = False) -> None:
        body = self.body(which)
        self.step(
            lambda: self.model.set_deadline(body.claim, timeout),
            self.zart.set_deadline(body.held, timeout),
            twice=twice,
        )

    @precondition(lambda self: self.bodies)
    @rule(which=which, output=values, retention=durations, twice=twice)
    def finish(self, which: int, output: bytes, retention: int, twice: bool = False) -> None:
        body = self.body(which)
        call = self.zart.finish(body.held, output, retention)
        self.step(lambda: self.model.finish(body.claim, output, retention), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, error=values, retention=durations, twice=twice)
    def fail(self, which: int, error: bytes, retention: int, twice: bool = False) -> None:
        body = self.body(which)
        call = self.zart.fail(body.held, error, retention)
        self.step(lambda: self.model.fail(body.claim, error, retention), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, failure=values, twice=twice)
    def begin_on_failure(self, which: int, failure: bytes, twice: bool = False) -> None:
        body = self.body(which)
        if body.execution.compensates:
            return
        call = self.zart.begin_on_failure(body.held, failure)
        begun = self.step(lambda: self.model.begin_on_failure(body.claim, failure), call, twice=twice)
        if begun is not None:
            body.held = body.held._replace(scope=begun.scope)

    @precondition(lambda self: self.bodies)
    @rule(which=which, delay=durations, twice=twice)
    def retry(self, which: int, delay: int, twice: bool = False) -> None:
        body = self.body(which)
        call = self.zart.retry(body.held, delay, b"note")
        self.step(lambda: self.model.retry(body.claim, delay), call, twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, delay=maybe, twice=twice)
    def release(self, which: int, delay: int | None, twice: bool = False) -> None:
        """With a delay it is a body that this worker does not know, and that has registered nothing therefore."""
        body = self.body(which)
        if body.execution.waits or body.execution.groups:
            delay = None
        self.step(lambda: self.model.release(body.claim, delay), self.zart.release(body.held, delay), twice=twice)

    @precondition(lambda self: self.bodies)
    @rule(which=which, delay=durations, code=st.sampled_from(CODES), begun=st.booleans(), twice=twice)
    def hold(self, which: int, delay: int, code: str, begun: bool, twice: bool = False) -> None:
        """Also a body that has not begun, and whose task is unknown."""
        body = self.body(which)
        begun = begun or body.claim.has_begun
        call = self.zart.hold(body.claimed, delay, code, "why", has_begun=begun)
        self.step(lambda: self.model.hold(body.claim, delay, code, "why", begun), call, twice=twice)

    # ---- a worker that holds a scheduled step ----

    def scheduled(self, which: int) -> Step:
        valid = [step for step in self.steps if step.child.claim is step.claim]
        return pick(which, self.steps, valid)

    @precondition(lambda self: self.steps)
    @rule(which=which, letter=st.sampled_from("vbz"), value=values, twice=twice)
    def complete_step(self, which: int, letter: str, value: bytes, twice: bool = False) -> None:
        step, record = self.scheduled(which), letter.encode() + value
        call = self.zart.complete_step(step.held, record)
        self.step(lambda: self.model.complete_step(step.child, step.claim, record), call, twice=twice)

    @precondition(lambda self: self.steps)
    @rule(which=which, delay=durations, code=st.sampled_from(CODES), twice=twice)
    def hold_step(self, which: int, delay: int, code: str, twice: bool = False) -> None:
        step = self.scheduled(which)
        failed = step.child.attempts
        call = self.zart.hold_step(step.held, failed, delay, code, "why")
        expected = partial(self.model.hold_step, step.child, step.claim, failed, delay, code, "why")
        self.step(expected, call, twice=twice)

    @precondition(lambda self: self.steps)
    @rule(which=which, more=st.integers(0, 1), delay=maybe, queued=st.integers(0, 5), twice=twice)
    def postpone(self, which: int, more: int, delay: int | None, queued: int = 0, twice: bool = False) -> None:
        step = self.scheduled(which)
        failed = step.child.attempts + more
        call = self.zart.postpone(step.held, failed, delay, b"note" if more else b"", queued_ms=queued)
        self.step(lambda: self.model.postpone(step.child, step.claim, failed, delay, queued), call, twice=twice)
