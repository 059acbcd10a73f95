"""A body on its event loop: what it awaits, and the completions that move it.

The body runs until all of its tasks wait. Then the recorded completion with the lowest number among those it awaits is
delivered, and it runs again. Anything new begins only when no recorded completion is left: steps in place, and calls
that others complete (sleeps, events, timers, scheduled steps). So a replay makes the decisions of the first run, and a
step that the body cancelled later is not begun again.
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from zart_redis.engine import journal
from zart_redis.engine.completions import Completions
from zart_redis.engine.groups import Groups
from zart_redis.engine.history import History
from zart_redis.engine.loop import CALLBACKS_PER_SLICE, BodyLoop, BodyTask, Slice
from zart_redis.engine.observer import CodeMismatch, PassEnd, Raised, Returned
from zart_redis.engine.ports import Completion
from zart_redis.engine.registrations import Registrations
from zart_redis.engine.replay import Replay
from zart_redis.engine.waits import Key, Wait
from zart_redis.errors import HistoryTooLong, NotDurable, ReplayMismatch

MAX_CALLBACKS = 100_000
"""Callbacks that a body may run without a durable call."""
LONG_HISTORY = 10_000
"""Number of records in a run at which a warning is logged."""
MAX_RECORDS = 50_000
"""Maximum number of records in a run: a replay reads all of them."""


@dataclass(slots=True)
class BodyState:
    """Signals from a body to its driver."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    at_rest: bool = False
    """The body cannot run until something completes."""
    woken: bool = False
    """Others may have recorded something."""
    revoked: bool = False
    error: Exception | None = None
    """The store failed, or the library. This does not fail the body, which is returned to its queue."""
    draining: bool = False
    end: PassEnd | None = None


class Body(ABC):
    """A body, driven by callbacks of the worker's loop.

    Args:
        seed: a text that is the same in each pass of a run, and different between runs.

    Invariants:
        A durable call is in `_waits` from when the body awaits it until it is delivered or abandoned.
        A call in place is in `_unbegun` until it begins, is delivered or is abandoned.
        The body's loop runs only in `_move`, which is not part of any task.
        `_sole` is the only thing that the body awaits, and has awaited since it last moved: nothing else can complete
        before it, so its completion needs no number.
    """

    def __init__(self, seed: str, history: History) -> None:
        self.state = BodyState()
        self.must_replay = False
        """An observer has asked for a replay."""
        self.history = history
        self.replayed = Replay(history)
        self.loop = BodyLoop(seed, history.clock_base / 1000)
        self._main: BodyTask[Any] | None = None
        self._completions: Completions[Key] = Completions(history.seen)
        self._registrations = Registrations(history.registered)
        self._groups = Groups()
        self._waits: dict[Key, Wait] = {}
        self._asked: list[Wait] = []
        """Awaited since the body last rested."""
        self._unbegun: dict[Key, Wait] = {}
        self._sole: Wait | None = None
        self._sole_ended_at: int | None = None
        """When the sole thing that the body awaits completed, in ms."""
        self._callbacks = 0
        """Callbacks that have run since the last durable call."""
        self._records = 0
        """Records that the body has used in this pass: names, and timers that have fired."""
        self._is_due = False
        self._outer = asyncio.get_running_loop()

    @abstractmethod
    def _rest(self) -> None:
        """The body cannot run, and no completion can be delivered."""

    @abstractmethod
    def _delivered(self, wait: Wait) -> None:
        """A completion is delivered."""

    @abstractmethod
    def _history_is_long(self) -> None:
        """The run has reached `LONG_HISTORY` records."""

    def start(self, body: Coroutine[Any, Any, Any], context: contextvars.Context) -> None:
        """Begin the body."""
        self._main = self.loop.create_task(body, name="body", context=context)
        self._touch()

    # ---- inside the body ----

    def _wait(self, kind: str, name: str) -> Wait:
        """Make a durable call, to be awaited at once. It returns when its completion is delivered."""
        wait = Wait(kind, name, self.loop, self._abandon)
        if not self.loop.is_closed():
            self._waits[wait.key] = wait
            self._asked.append(wait)
        return wait

    def _abandon(self, wait: Wait) -> None:
        """The body has cancelled the call."""
        if self.loop.is_closed():
            return
        del self._waits[wait.key]
        self._unbegun.pop(wait.key, None)
        self._forget(wait.key)
        if wait.kind == journal.MESSAGE and self.history.stamp_of(*wait.key) is not None:
            self._registrations.take_back(wait.key)
        if wait.is_recorded:
            self.replayed.abandoned()
        if wait.task is not None:
            wait.task.cancel()

    def _forget(self, key: Key) -> None:
        self._completions.forget(key)
        self._registrations.withdraw(key)

    @property
    def _is_full(self) -> bool:
        """Whether the run may not have another record."""
        return self._records >= MAX_RECORDS

    def _count_record(self, *, is_new: bool) -> None:
        self._records += 1
        if self._records == LONG_HISTORY and is_new:
            self._history_is_long()

    # ---- moving the body ----

    def _touch(self) -> None:
        """Schedule a run of the body, outside of any task. Until it has run, its state is unknown."""
        self.state.at_rest = False
        if not self._is_due:
            self._is_due = True
            self._outer.call_soon(self._move, context=_EMPTY)

    def _move(self) -> None:
        """Run the body and deliver completions until it rests or ends."""
        self._is_due = False
        main = self._main
        if main is None or self.loop.is_closed():
            return
        if self.state.end is not None:
            self.state.changed.set()
            return
        try:
            if self.must_replay:  # it does not continue in this pass
                self.state.at_rest = True
                self.state.changed.set()
            elif self._advance(main):
                self._rest()
        except Exception as error:
            self._fail_pass(error)

    def _advance(self, main: BodyTask[Any]) -> bool:
        """Returns True if the body rests; False if it has ended, or yields to other work before it continues."""
        loop = self.loop
        ran = 0
        while ran < CALLBACKS_PER_SLICE:
            if loop.ready:
                left, count = loop.run_slice()
                ran += count
                self._callbacks += count
                if self.state.end is not None:
                    return False
                if main.done():
                    self._end(_end_of(main))
                    return False
                if left is Slice.MORE:
                    break
            if self._asked or loop.timers_changed:
                self._take_asked()
            if self._sole_ended_at is not None and self._sole is not None:
                self._deliver(self._sole, self._sole_ended_at)
                self._sole = self._sole_ended_at = None
            elif self.state.end is not None:
                return False
            elif not self._deliver_next():
                return True
        if self._callbacks > MAX_CALLBACKS:
            self._end(Raised(NotDurable(f"{self._callbacks} callbacks ran without a durable call in {loop}")))
        else:
            self._touch()
        return False

    def _end(self, end: PassEnd) -> None:
        self.state.end = end
        self.state.changed.set()

    def _fail_pass(self, error: Exception) -> None:
        """End the pass; the body has not failed, and is returned to its queue."""
        self.state.error = error
        self.state.changed.set()

    def _take_asked(self) -> None:
        """Look up the completions of calls that the body has begun to await, timers included."""
        asked, self._asked = self._asked, []
        self._callbacks = 0
        only = next(iter(self._waits.values())) if len(self._waits) == 1 and not self.loop.timers else None
        if only is not self._sole:
            self._sole = only if only in asked else None
        for wait in asked:
            if self._waits.get(wait.key) is wait:
                if wait.is_in_place and wait.name not in self.history.records:
                    self._unbegun[wait.key] = wait
                    if wait is not self._sole:
                        self._completions.expect(wait.key)
                else:
                    self._await(wait)
        if self.loop.timers_changed:
            self._take_timers()

    def _take_timers(self) -> None:
        timers, cancelled = self.loop.take_timers()
        for timer in timers:
            self._await_timer(timer.name, timer.due_ms)
        for name in cancelled:
            self._forget((journal.TIMER, name))

    def _await(self, wait: Wait) -> None:
        stamp = None if wait.members else self.history.stamp_of(wait.kind, wait.name)
        if stamp is not None:
            wait.number = stamp.number
            if wait.is_in_place:
                wait.is_recorded = True
                self.replayed.awaited()
        if wait is self._sole and stamp is not None and stamp.number <= self._completions.seen:
            self._sole_ended_at = stamp.at
            return
        if wait.is_in_place and stamp is None:
            self._unbegun[wait.key] = wait
        self._completions.expect(wait.key)
        if wait.members:
            self._await_group(wait)
        elif stamp is not None:
            self._completions.add(wait.key, stamp.number)
        elif not wait.is_in_place:
            self._registrations.require(wait.kind, wait.name, wait.argument)

    def _await_group(self, wait: Wait) -> None:
        missing = {name for name in wait.members if not self.history.has_ended(name)}
        if missing:
            self._groups.add(wait, missing)
            self._registrations.require(wait.kind, wait.name)
        else:
            self._completions.add(wait.key, self.history.newest(wait.members).number)

    def _await_timer(self, name: str, due: int) -> None:
        key = journal.TIMER, name
        self._completions.expect(key)
        record = self.history.records.get(journal.timer_name(name))
        if record is None:
            self._registrations.require(*key, f"@{due}")
        elif journal.timer_due(record) == due or journal.timer_due(record) < self.history.clock_base:
            # One that fired before `retry_step` reset the body's clock is left over.
            self._completions.add(key, journal.stamp_of(record).number)
        else:
            self._end(CodeMismatch(ReplayMismatch(name, "a timer with another due time", "a timer")))

    # ---- completions ----

    def _learn(self, completion: Completion) -> None:
        """Others have recorded a completion."""
        stamp = self.history.add(completion)
        key = completion.kind, completion.name
        self._registrations.ended(key)
        self._completions.see(stamp.number)
        self._completions.add(key, stamp.number)
        if completion.kind == journal.STEP:
            for group in self._groups.step_ended(completion.name):
                self._registrations.ended(group.key)
                self._completions.add(group.key, self.history.newest(group.members).number)

    def _deliver_next(self) -> bool:
        """Deliver the completion with the lowest number among those that the body awaits."""
        key = self._completions.next()
        if key is None:
            return False
        kind, name = key
        if kind == journal.TIMER:
            fired = journal.stamp_of(self.history.records[journal.timer_name(name)])
            if self._is_full:
                self._end(Raised(HistoryTooLong(self._records)))
                return True
            # A pass that a timer has woken loads it as the newest completion.
            self._count_record(is_new=fired.number >= self.history.seen)
            self.loop.move_to(fired.at / 1000)
            self.replayed.delivered(fired.number, in_place=False)
            self.loop.fire(name)
            return True
        wait = self._waits[key]
        stamp = self.history.newest(wait.members) if wait.members else self.history.stamp_of(kind, name)
        assert stamp is not None
        wait.number = stamp.number
        self._deliver(wait, stamp.at)
        return True

    def _deliver(self, wait: Wait, at: int) -> None:
        del self._waits[wait.key]
        if self._unbegun:
            self._unbegun.pop(wait.key, None)
        self._callbacks = 0
        self.loop.move_to(at / 1000)
        self.replayed.delivered(wait.number, in_place=wait.is_recorded)
        if not wait.done():
            wait.set_result(None)
        self._delivered(wait)


_EMPTY = contextvars.Context()


def _end_of(main: BodyTask[Any]) -> PassEnd:
    if main.cancelled():
        return Raised(RuntimeError("the body cancelled itself"))
    error = main.exception()
    return Returned(main.result()) if error is None else Raised(error)
