"""One pass of a body: what of it runs in this process, what is reported to the store, and when it may be parked.

`drive` watches a pass and decides when it is over.
"""

from __future__ import annotations

import asyncio
import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from zart_redis.engine import journal
from zart_redis.engine.body import Body, BodyState
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.history import History
from zart_redis.engine.observer import Observer, Raised, Returned
from zart_redis.engine.ports import BodyPort, ChildRequest, Completion, ScheduleRequest
from zart_redis.engine.waits import Wait
from zart_redis.errors import NotDurable, SerializationError
from zart_redis.layout import Record
from zart_redis.model import ExecutionInfo, Fenced

T = TypeVar("T")

PauseRuleFor = Callable[[ExecutionInfo, str], str | None]
"""Returns the pause rule that holds an execution before a step, if one does."""

ALL_SCHEDULED = "0"
"""The group of all scheduled steps; those that a body waits for are numbered from 1."""


@dataclass(slots=True)
class _Delay:
    """A step in place between two attempts."""

    due: int
    future: asyncio.Future[None]
    task: asyncio.Task[Any]


class Pass(Body):
    """One pass of one body.

    Invariants:
        A call in place is in `_running` from when it begins until it has ended, unless it is in `_delays`.
        While `_is_parking`, the store is asked to take the body, and nothing begins.
    """

    def __init__(
        self,
        port: BodyPort,
        info: ExecutionInfo,
        context: WorkerContext,
        observer: Observer,
        pause_rule: PauseRuleFor,
        history: History,
    ) -> None:
        super().__init__(info.idempotency_key, history)
        self.info = dataclasses.replace(info, _replaying=self._is_replaying)
        self.observer = observer
        self._port = port
        self._context = context
        self._pause_rule = pause_rule
        self._names: set[str] = set()
        self._running: dict[Wait, asyncio.Task[None]] = {}
        self._delays: dict[str, _Delay] = {}
        """Steps between two attempts; they do not keep the body from parking."""
        self._recording = 0
        """Completions of this pass that are being recorded."""
        self._unsent: list[ScheduleRequest] = []
        self._unstarted: list[ChildRequest] = []
        self._cancelled: dict[str, bytes] = {}
        """Scheduled steps and children that the body has cancelled, with the records that say so."""
        self._outliving: set[str] = set()
        """The calls of children that outlive their parent."""
        self._is_parking = False
        self._has_paused = False
        """A pause rule has held a step of this pass."""

    @abstractmethod
    def _run(self, wait: Wait) -> Coroutine[Any, Any, bytes]:
        """Runs a call in place, and returns the record that completes it."""

    # ---- used by the calls that run in place ----

    async def _transition(self, transition: Coroutine[Any, Any, T]) -> T:
        """The reply to a transition. One that is refused or fails ends the pass."""
        try:
            return await transition
        except Fenced:
            self.revoke()
        except Exception as error:
            self._fail_pass(error)
        raise asyncio.CancelledError

    async def _record(self, wait: Wait, record: bytes) -> bytes:
        """Record the completion of a call. Returns the record that is kept."""
        self._recording += 1
        try:
            return await self._port.record(wait.name, record, ordered=wait is not self._sole)
        except Fenced:
            self.revoke()
        except Exception as error:
            self._fail_pass(error)
        finally:
            self._recording -= 1
        raise asyncio.CancelledError

    async def _delay(self, wait: Wait, due: int) -> None:
        """Returns when the next attempt of a step is due."""
        task = self._running.pop(wait)
        delay = self._delays[wait.name] = _Delay(due, self._outer.create_future(), task)
        self._registrations.require(journal.RETRY, wait.name)
        self._touch()
        try:
            await delay.future
        finally:
            del self._delays[wait.name]
            self._registrations.withdraw((journal.RETRY, wait.name))
            self._running[wait] = task

    # ---- used by the driver and the worker ----

    def resume(self, port: BodyPort, news: Iterable[Completion], seen: int) -> None:
        """Continue after the body was parked and is claimed again.

        Args:
            news: what has completed since then, up to the number `seen`.
        """
        self._port = port
        self.state = BodyState(end=self.state.end)
        if self.state.end is not None:
            self.state.changed.set()
        for completion in news:
            self._learn(completion)
        self._completions.see_all(seen)
        self._end_delays()
        self._registrations.ended_kind(journal.PAUSE)  # the rule may have been removed
        self._touch()

    def revoke(self) -> None:
        """The claim is lost: end the pass, whatever it is doing."""
        self.state.revoked = True
        self.state.changed.set()

    def wake(self) -> None:
        """Something that the held body waits for may have been recorded."""
        self.state.woken = True
        self.state.changed.set()

    def drain(self) -> None:
        """Begin nothing new; what runs may end and be recorded."""
        self.state.draining = True
        self._touch()

    def _is_replaying(self) -> bool:
        return self.replayed.is_active(round(self.loop.time() * 1000))

    def replay_all(self) -> None:
        self.replayed.never_ends = True

    def replay(self) -> None:
        self.must_replay = True
        self.drain()

    def close(self) -> None:
        """Close the body at its current point: its code cannot run or record anything any more."""
        self.loop.close()
        for task in self.tasks:
            task.cancel()

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks of this pass on the worker's loop."""
        return [*self._running.values(), *(delay.task for delay in self._delays.values())]

    @property
    def called_names(self) -> Collection[str]:
        return self._names

    @property
    def recorded_names(self) -> Collection[str]:
        cancelled = Record.CANCELLED.encode()
        return [
            name
            for name, record in self.history.records.items()
            if not (record.startswith(cancelled) or journal.is_timer_name(name))
        ]

    @property
    def is_put_away(self) -> bool:
        """Whether the body has raised or has been closed before it returned."""
        end = self.state.end
        return not isinstance(end, Returned) and (end is not None or self.loop.is_closed())

    @property
    def is_busy(self) -> bool:
        """Whether a step runs here, or is being recorded."""
        return bool(self._running)

    @property
    def is_drained(self) -> bool:
        """Nothing runs here any more, and something is not allowed to begin."""
        return not self._running and (self.must_replay or (self.state.draining and bool(self._unbegun)))

    @property
    def is_stuck(self) -> bool:
        """The body is at rest, and nothing will ever wake it."""
        return not (self._waits or self.loop.timers or self._running or self._has_unsent)

    def fail_stuck(self) -> None:
        """Raise an error where the newest task waits: older ones may wait for it."""
        if self.loop.fail_newest_wait():
            self._touch()
        else:
            self._end(Raised(NotDurable("the body waits for something that is not durable: make it a step")))

    async def exchange(self) -> bool:
        """Register with the store what it has to end, and read what has ended. Returns True if the body is parked."""
        was_woken, self.state.woken = self.state.woken, False
        if was_woken:
            self._registrations.ended_kind(journal.PAUSE)  # the rule may have been removed
            if self.state.at_rest:
                self._rest()
        hold = bool(self._running) or not self.state.at_rest or self._completions.has_gap
        if hold and not was_woken and not self._has_news_for_store():
            return False
        self._is_parking = not hold
        try:
            return await self._exchange(hold)
        finally:
            self._is_parking = False
            self._touch()

    async def _exchange(self, hold: bool) -> bool:
        if await self.flush():
            return False
        new, gone = self._registrations.take(all_asked=not hold)
        for request in new:
            wait = self._waits.get((request.kind, request.name))
            if wait is not None and wait.members:  # it may have been cancelled meanwhile
                await self._port.join(request.name, self._groups.missing(wait))
        timed = [request for request in new if request.kind != journal.GROUP]
        next_number = self._completions.next_number
        news = await self._port.park(timed, gone, hold, self._completions.seen)
        if news is None:
            return True
        for request in timed:
            if request.kind == journal.PAUSE:  # not registered if its rule has been removed; asked for again if not
                self._registrations.ended((request.kind, request.name))
        for completion in news.completions:
            self._learn(completion)
        if not self._recording:  # else a number may be that of a record whose reply has not come yet
            self._completions.see_all(news.seen)
        if next_number > news.seen:
            self._end(Raised(SerializationError(f"a record has the number {next_number}; the last one is {news.seen}")))
        self._end_delays()
        return False

    def _end_delays(self) -> None:
        """Let the next attempts begin that are due."""
        for delay in self._delays.values():
            if delay.due <= self._port.now() and not delay.future.done():
                delay.future.set_result(None)

    async def flush(self) -> bool:
        """Register all that was scheduled, and take back what was cancelled. Returns whether that has
        completed something."""
        has_completed = False
        while self._unsent or self._unstarted or self._cancelled:
            cancelled, self._cancelled = self._cancelled, {}
            steps = [step for step in self._unsent if step.name not in cancelled]
            children = [child for child in self._unstarted if child.name not in cancelled]
            self._unsent, self._unstarted = [], []
            if steps:
                await self._port.schedule(steps)
            if children:
                has_completed |= await self._start_children(children)
            if cancelled:
                await self._port.end_steps(cancelled)
        return has_completed

    async def _start_children(self, children: Sequence[ChildRequest]) -> bool:
        """Returns whether an id is used by another execution, which is recorded as the outcome of the child."""
        refused = await self._port.start_children(children)
        ids = {child.name: child.execution_id for child in children}
        for name, status in refused.items():
            record = journal.encode_refused_child(ids[name], status)
            self._learn(Completion(journal.STEP, name, await self._port.record(name, record, ordered=True)))
        return bool(refused)

    async def return_messages(self) -> None:
        """Return to the mailbox what was received for the body, which has ended without it."""
        for wait in [wait for wait in self._waits.values() if wait.kind == journal.MESSAGE]:
            self._forget(wait.key)
            self._registrations.take_back(wait.key)
        _, gone = self._registrations.take(all_asked=False)
        if messages := [key for key in gone if key[0] == journal.MESSAGE]:
            await self._port.park([], messages, True, self._completions.seen)

    def missing_steps(self) -> list[str]:
        """The scheduled steps, and the children that do not outlive the run, that have not ended."""
        scheduled = self.history.scheduled - self._outliving
        return [name for name in scheduled if not self.history.has_ended(name)]

    async def park_until_scheduled_end(self) -> bool:
        """Park the body until all steps that it has scheduled have ended. Returns False if they have already."""
        while missing := self.missing_steps():
            await self._port.join(ALL_SCHEDULED, missing)
            news = await self._port.park([], [], False, self._completions.seen)
            if news is None:
                return True
            for completion in news.completions:
                self.history.add(completion)
            self._completions.see_all(news.seen)
        return False

    # ---- moving the body ----

    def _delivered(self, wait: Wait) -> None:
        self.observer.resumed(self, wait.kind, wait.name)

    def _history_is_long(self) -> None:
        self.observer.history_is_long(self, self._records)

    def _rest(self) -> None:
        """Begin the calls that run here, and leave the others to the driver."""
        self.state.at_rest = True
        self.replayed.rested()
        if self._unbegun and not (self._completions.has_gap or self.state.draining or self._is_parking):
            for wait in list(self._unbegun.values()):
                self._begin(wait)
        if not self._running or self._has_news_for_store():
            self.state.changed.set()

    def _has_news_for_store(self) -> bool:
        has_gap = self._completions.has_gap and not self._recording
        return bool(self._registrations or self._has_unsent or has_gap)

    @property
    def _has_unsent(self) -> bool:
        return bool(self._unsent or self._unstarted or self._cancelled)

    def _begin(self, wait: Wait) -> None:
        """Run a call in place, unless a pause rule holds it."""
        rule = self._pause_rule(self.info, wait.name)
        if rule is not None:
            self._registrations.require(journal.PAUSE, wait.name, rule)
            self._has_paused = True
            return
        if self._has_paused:
            self._registrations.ended((journal.PAUSE, wait.name))
        del self._unbegun[wait.key]
        wait.task = self._running[wait] = self._outer.create_task(self._work(wait), context=wait.context)

    async def _work(self, wait: Wait) -> None:
        """A call that runs in place, in a task of the worker's loop."""
        try:
            record = await self._run(wait)
        except asyncio.CancelledError:
            if self._waits.get(wait.key) is not wait and not self.loop.is_closed():
                cancelled = journal.encode_cancelled(self._context.worker)
                await self._transition(self._port.record(wait.name, cancelled, ordered=False))
            raise
        except BaseException as error:
            self._raise_to_body(wait, error)
        else:
            self._work_recorded(wait, record)
        finally:
            self._running.pop(wait, None)
            self._touch()

    def _raise_to_body(self, wait: Wait, error: BaseException) -> None:
        """The call has ended, but cannot be recorded."""
        if self._waits.get(wait.key) is wait and not self.loop.is_closed():
            del self._waits[wait.key]
            self._completions.forget(wait.key)
            wait.set_exception(error)

    def _work_recorded(self, wait: Wait, record: bytes) -> None:
        self.history.records[wait.name] = record
        stamp = journal.stamp_of(record)
        if wait is self._sole:
            self._sole_ended_at = stamp.at
        else:
            self._completions.add(wait.key, stamp.number)
        if stamp.number:
            self._completions.see(stamp.number)
