"""One pass of a body, seen from inside: what each durable call means. The free functions end here.

A call whose record is loaded returns it from memory. A step without one runs in place. Anything else blocks until the
store answers. How calls block, and when the pass is over, is in `passes`; `drive` watches from outside.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from zart_redis.codec import Codec, within
from zart_redis.engine import journal
from zart_redis.engine.attempts import Again, Settled, attempt, settle_timeout
from zart_redis.engine.journal import Outcome
from zart_redis.engine.passes import Pass
from zart_redis.engine.ports import ChildRequest, Port, Surroundings
from zart_redis.engine.scope import StepScope, current
from zart_redis.engine.spec import encode_spec
from zart_redis.errors import (
    DeadlineExceeded,
    DuplicateStepName,
    InvalidInput,
    ReplayMismatch,
    SerializationError,
    StepBusinessError,
)
from zart_redis.model import ExecutionInfo
from zart_redis.names import check_name
from zart_redis.outcomes import BusinessErr, Err, Ok, T_co, ZartErr
from zart_redis.registry import Call, StepDefinition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StepHandle(Generic[T_co]):
    """A scheduled step, to be waited for by the body that scheduled it."""

    name: str
    _call: Call[T_co, Any] = field(repr=False)
    _execution: Execution = field(repr=False)


class Execution(Pass):
    """The durable calls of one pass of one body. Its methods are the free functions of `zart_redis`."""

    def __init__(
        self,
        port: Port,
        info: ExecutionInfo,
        at: Surroundings,
        records: dict[str, bytes] | None = None,
        events: dict[str, bytes] | None = None,
        children: set[str] | None = None,
    ) -> None:
        super().__init__(port, info, at, {} if records is None else records, {} if events is None else events)
        self.definitions: dict[str, StepDefinition] = {}
        """The steps of this pass, by the names of their calls."""
        self.body = ""
        """Names this body to a rehearsal."""
        self._children = set() if children is None else children
        self._names: set[str] = set()

    # ---- steps ----

    async def run(self, call: Call[Any, Any]) -> Outcome:
        """The outcome of a step: from its record, or by running it here."""
        name = self._use(call.name, call.definition)
        if self._at.rehearsal is not None:
            self._at.rehearsal.asks(self.body, call)
        record = self.records.get(name)
        if record is not None and journal.letter_of(record) != "a":
            return journal.read_outcome(call, record)
        if name in self._children:
            raise ReplayMismatch(name, "scheduled step", journal.STEP)
        await self._enter(name)
        self._in_place += 1
        try:
            return await self._attempt(call, record)
        finally:
            self._in_place -= 1
            self._recorded()

    async def _attempt(self, call: Call[Any, Any], pending: bytes | None) -> Outcome:
        step, name = call.definition, call.name
        shared = step.shared_timeout_ms
        if pending is None and shared is not None:
            pending = await self._transition(self._port.attempt(name, 0, shared, 0, b""))
        while True:
            failed, remaining = 0, None
            if pending is not None:
                if journal.letter_of(pending) != "a":
                    return journal.read_outcome(call, pending)
                failed, deadline, next_try = journal.read_attempts(pending)
                if next_try > self._port.now():
                    await self._wait_for_retry(name)
                if deadline is not None:
                    remaining = deadline - self._port.now()
            ended: Settled | Again
            if remaining is not None and remaining <= 0:
                ended = settle_timeout(call, failed, self._at)
            else:
                ended = await attempt(call, failed + 1, StepScope(self.info, call, failed + 1), remaining, self._at)
            if not isinstance(ended, Again):
                first = await self._transition(self._port.record(name, ended.record))
                if first is not None:
                    self.records[name] = first
                    return journal.read_outcome(call, first)
                self.records[name] = ended.record + bytes(6)
                return ended.outcome
            pending = await self._transition(self._port.attempt(name, failed + 1, shared, ended.delay_ms, ended.note))
            self.records[name] = pending

    async def _wait_for_retry(self, name: str) -> None:
        """Returns when the next try is due; until then the step counts as blocked, not as running."""
        self._in_place -= 1
        try:
            await self._block(journal.RETRY, name)
        finally:
            self._in_place += 1

    # ---- scheduled steps ----

    def schedule(self, call: Call[Any, Any]) -> StepHandle[Any]:
        """Register a step for any worker of the queue; it leaves at the end of this turn of the loop."""
        if self._closed:
            raise asyncio.CancelledError
        name = self._use(call.name, call.definition)
        if self._at.rehearsal is not None:
            self._at.rehearsal.asks(self.body, call)
        record = self.records.get(name)
        if record is not None:
            journal.expect(name, record, journal.STEP)
        elif name not in self._children:
            spec = encode_spec(call, self.info, self._at)
            self._unsent.append(ChildRequest(name, spec, call.definition.shared_timeout_ms))
            self._children.add(name)
            self._begin_sending()
        return StepHandle(name, call, self)

    async def wait(self, handles: Iterable[StepHandle[Any]]) -> list[Ok[Any] | Err]:
        """The results of scheduled steps, in the order of the handles."""
        handles = list(handles)
        for handle in handles:
            if not isinstance(handle, StepHandle) or handle._execution is not self:
                raise InvalidInput("wait takes the handles that schedule gave in this pass of this body")
        missing = [handle.name for handle in handles if not self._has_ended(handle.name)]
        if missing:
            await self._enter()
            self._numbered += 1
            await self._block(journal.GROUP, str(self._numbered), members=missing)
        return [self._result(handle) for handle in handles]

    def _result(self, handle: StepHandle[Any]) -> Ok[Any] | Err:
        record = self.records.get(handle.name)
        if record is None:
            raise SerializationError(f"the result of step {handle.name!r} is gone from the store")
        outcome = journal.read_outcome(handle._call, record)
        match outcome:
            case Ok():
                return outcome
            case BusinessErr(error):
                return Err(StepBusinessError(handle.name, error))
            case ZartErr(error):
                return Err(error)

    # ---- sleeps, events, captures ----

    async def sleep(self, name: str, argument: str) -> None:
        """Block for `argument` (see `WaitRequest`), fixed when it is first registered."""
        self._use(name)
        record = self.records.get(name)
        if record is None or journal.expect(name, record, journal.SLEEP) != "S":
            await self._enter()
            record = await self._block(journal.SLEEP, name, argument)
            journal.expect(name, record, journal.SLEEP)

    async def wait_for_event(self, name: str, argument: str, codec: Codec[T]) -> T:
        """The payload of an event, or DeadlineExceeded when the timeout recorded at the first wait has passed."""
        self._use(name)
        record, event = self.records.get(name), self._events.get(name)
        if record is not None:
            timed_out = journal.expect(name, record, journal.EVENT) == "T"
            if timed_out or (event is not None and not journal.event_in_time(event, record)):
                raise DeadlineExceeded(name)
        if record is None or event is None:
            await self._enter()
            answer = await self._block(journal.EVENT, name, argument)
            if journal.letter_of(answer) != "E":
                journal.expect(name, answer, journal.EVENT)
                raise DeadlineExceeded(name)
            event = self._events[name]
        return codec.decode(journal.event_payload(event), f"the event {name!r}")

    async def capture(self, name: str, f: Callable[[], Any], codec: Codec[T]) -> T:
        """The recorded value of `f()`, which is called only where there is none."""
        self._use(name)
        what = f"the captured value {name!r}"
        record = self.records.get(name)
        if record is not None:
            journal.expect(name, record, journal.CAPTURE)
            return codec.decode(bytes(journal.decode_result(record).value), what)
        await self._enter(name)
        self._in_place += 1
        try:
            began = time.monotonic()
            value = await self._captured(f)
            data, back = codec.round_trip(value, what)
            within(self._at.max_payload, data, what)
            ms = round((time.monotonic() - began) * 1000)
            record = journal.encode_result("c", data, None, 1, ms, self._at.worker)
            first = await self._transition(self._port.record(name, record))
        finally:
            self._in_place -= 1
            self._recorded()
        if first is None:
            return back
        journal.expect(name, first, journal.CAPTURE)
        return codec.decode(bytes(journal.decode_result(first).value), what)

    def _recorded(self) -> None:
        """A step that ran here has ended. In a rehearsal the pass then ends, and all is replayed."""
        if self._at.rehearsal is not None:
            self.signals.draining = True
        self._stir()

    def skipped(self) -> Exception | None:
        """In a rehearsal: what is wrong if this pass, which is over, has not asked for all that is recorded."""
        if self._at.rehearsal is None:
            return None
        return self._at.rehearsal.skipped(self.body, self.records, self._names)

    def clock(self) -> datetime:
        """The current time in UTC."""
        return self._at.now()

    async def _captured(self, f: Callable[[], Any]) -> Any:
        token = current.set(self.info)
        try:
            value = f()
            return await value if inspect.isawaitable(value) else value
        finally:
            current.reset(token)

    def _use(self, name: str, definition: StepDefinition | None = None) -> str:
        """A name is a key: it may be used once in a pass."""
        if name in self._names:
            raise DuplicateStepName(name)
        self._names.add(check_name(name, "the name of a step"))
        if definition is not None:
            self.definitions[name] = definition
        return name
