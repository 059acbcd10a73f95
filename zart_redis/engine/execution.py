"""Implements each durable call of a body: the free functions lead here.

A call whose record is loaded returns it from memory. A step without a record runs in place. All other calls block until
the store has a record. `passes` implements blocking, and `drive` decides when a pass ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NoReturn, TypeVar

from zart_redis.codec import Codec, check_size
from zart_redis.engine import journal
from zart_redis.engine.attempts import RetryLater, StepDone, done_with_timeout, run_attempt
from zart_redis.engine.cancels import CancelWatch
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.emitting import Emitted, Emitter
from zart_redis.engine.history import History
from zart_redis.engine.holds import MISMATCHES
from zart_redis.engine.journal import Outcome
from zart_redis.engine.named_calls import NamedCalls
from zart_redis.engine.observer import CodeMismatch, Continued, Observer, StepAttempt
from zart_redis.engine.passes import PauseRuleFor
from zart_redis.engine.ports import BodyPort, ChildRequest, ScheduleRequest, StartArguments
from zart_redis.engine.scope import StepHandle, current
from zart_redis.engine.spec import encode_spec
from zart_redis.engine.threads import ThreadPlace
from zart_redis.engine.unwinding import BodyClosed
from zart_redis.engine.waits import Wait
from zart_redis.error_codec import summary
from zart_redis.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    StepBusinessError,
)
from zart_redis.layout import Record, Size
from zart_redis.model import Clock, ExecutionInfo, from_ms
from zart_redis.names import check_name
from zart_redis.outcomes import BusinessErr, Err, Ok, ZartErr
from zart_redis.registry import Call, call_of, define_step
from zart_redis.retry import RetryConfig

T = TypeVar("T")


class Execution(NamedCalls):
    """The durable calls of one pass of one body: a `scope.DurableBody`, and an `observer.BodyPass`."""

    def __init__(
        self,
        port: BodyPort,
        info: ExecutionInfo,
        context: WorkerContext,
        *,
        observer: Observer,
        clock: Clock,
        pause_rule: PauseRuleFor,
        history: History,
        encode_input: Callable[[Any], bytes],
    ) -> None:
        super().__init__(port, info, context, observer, pause_rule, history)
        self.definitions = {}
        self.failed_names: list[str] = []
        """The steps and waits that have failed, in the order in which the body received their failures."""
        self.received_events: set[str] = set()
        self._clock = clock
        self._encode_input = encode_input
        self._groups_made = 0
        self._children: set[str] = set()
        """The calls of children that end with their parent."""
        self._starts: Counter[str] = Counter()
        """How often this pass has started each id."""
        self._emissions = 0
        """How many the body has made in this pass."""
        self._emitter: Emitter | None = None
        """That of the body, once it has emitted what no earlier pass has."""

    # ---- steps ----

    async def run(self, call: Call[Any, Any]) -> Outcome:
        """The outcome of a step: from its record, or by running it in place, or on the queue that it names."""
        if call.definition.is_elsewhere:
            return await self._run_elsewhere(call)
        name = self._use(call.name, call.definition)
        self.observer.step_called(self, call)
        if (mismatch := self._mismatch(name, journal.STEP)) is not None:
            await self._stop(CodeMismatch(mismatch))
        wait = self._wait(journal.STEP, name)
        wait.call = self._context.resolve(call) if self._context.fakes else call
        wait.context = contextvars.copy_context()
        await wait
        outcome = wait.outcome
        if outcome is None:
            self.observer.step_replayed(self, call)
            try:
                outcome = journal.read_outcome(call, self.history.records[name])
            except MISMATCHES as error:
                await self._stop(CodeMismatch(error))
        if not isinstance(outcome, Ok):
            self.failed_names.append(name)
        return outcome

    async def _run_elsewhere(self, call: Call[Any, Any]) -> Outcome:
        handle = self.schedule(call)
        name = handle.name
        try:
            await self._await_steps((name,))
        except asyncio.CancelledError:
            self.cancel_step(handle)
            raise
        try:
            outcome = journal.read_outcome(call, self.history.records[name])
        except MISMATCHES as error:
            await self._stop(CodeMismatch(error))
        if not isinstance(outcome, Ok):
            self.failed_names.append(name)
        return outcome

    def _run(self, wait: Wait) -> Coroutine[Any, Any, bytes]:
        return self._run_capture(wait) if wait.call is None else self._run_step(wait, wait.call)

    async def _run_step(self, wait: Wait, call: Call[Any, Any]) -> bytes:
        """Run attempts until the step has a final record, which is returned."""
        name, shared = call.name, call.definition.shared_timeout_ms
        pending = self.history.records.get(name)
        while pending is None or not journal.is_completion(pending):
            if pending is not None and (next_try := journal.attempts_of(pending).next_try) > self._port.now():
                await self._delay(wait, next_try)
            thread = None if call.definition.is_async else await self._context.threads.take()
            try:
                if pending is None and shared is not None:  # starts its timeout
                    pending = await self._transition(self._port.attempt(name, 0, shared, 0, b""))
                    if journal.is_completion(pending):
                        break
                made = journal.attempts_of(pending)
                emitter = Emitter(self._port, self.max_payload, name, made.failed)
                attempt = StepAttempt(self.info, call, made.failed + 1, self, emitter)
                ended = await self._attempt(attempt, made.deadline, thread)
            finally:
                if thread is not None:
                    thread.leave()
            if isinstance(ended, StepDone):
                stored = await self._record(wait, ended.record)
                if stored.startswith(ended.record):
                    wait.outcome = ended.outcome
                    self.observer.step_recorded(attempt)
                return stored
            pending = await self._transition(
                self._port.attempt(name, attempt.number, shared, ended.delay_ms, ended.note)
            )
            self.history.records[name] = pending
            self.observer.step_retried(attempt, ended.delay_ms)
        return pending

    async def _attempt(
        self, attempt: StepAttempt, deadline: int | None, thread: ThreadPlace | None
    ) -> StepDone | RetryLater:
        remaining = None if deadline is None else deadline - self._port.now()
        if remaining is not None and remaining <= 0:
            return done_with_timeout(attempt.call, attempt.number - 1, self._context)
        return await run_attempt(attempt, remaining, thread, self._context, self.observer)

    # ---- scheduled steps ----

    def schedule(self, call: Call[Any, Any]) -> StepHandle[Any]:
        """Register a step for any worker of the queue. It is sent when the body next waits."""
        if self.loop.is_closed():
            raise BodyClosed
        name = self._use(call.name, call.definition)
        self.observer.step_called(self, call)
        if name in self.history.records:
            if (mismatch := self._mismatch(name, journal.STEP)) is not None:
                self._halt(CodeMismatch(mismatch))
        elif name not in self.history.scheduled:
            self._send_later(call)
            self.history.scheduled.add(name)
        if call.definition.child is not None:
            (self._outliving if call.definition.child.outlives else self._children).add(name)
        return StepHandle(name, call, self)

    def _send_later(self, call: Call[Any, Any]) -> None:
        """When the body next waits."""
        name, definition = call.name, call.definition
        if (start := definition.child) is not None:
            id = start.execution_id or f"{self.info.execution_id}.{self.info.run}.{name}"
            check_name(id, "the id of a child")
            self._unstarted.append(ChildRequest(name, id, start, secrets.token_hex(8)))
        else:
            spec = encode_spec(call, self.info, self._context)
            self._unsent.append(ScheduleRequest(name, spec, definition.shared_timeout_ms, definition.queue or ""))

    def cancel_step(self, handle: StepHandle[Any]) -> None:
        """Take back a scheduled step or a child, unless it has ended."""
        name, call = handle.name, handle._call
        if self.loop.is_closed() or self.history.has_ended(name):
            return
        error = call.definition.errors.encode(Cancelled(), self.max_payload)
        record = journal.encode_result(Record.ERROR, error, call.origin, 0, 0, self._context.worker)
        self._cancelled.setdefault(name, record)

    async def wait(self, handles: Iterable[StepHandle[Any]]) -> list[Ok[Any] | Err]:
        """The results of scheduled steps, in the order of the handles."""
        handles = list(handles)
        for handle in handles:
            if not isinstance(handle, StepHandle) or handle._body is not self:
                raise InvalidInput("wait takes handles returned by schedule in the same pass of the same body")
        if handles:
            await self._await_steps(dict.fromkeys(handle.name for handle in handles))
        try:
            results = [self._result(handle) for handle in handles]
        except MISMATCHES as error:
            await self._stop(CodeMismatch(error))
        failed = [handle.name for handle, result in zip(handles, results, strict=True) if isinstance(result, Err)]
        self.failed_names += sorted(failed, key=lambda name: journal.stamp_of(self.history.records[name]))
        return results

    async def _await_steps(self, names: Iterable[str]) -> None:
        """Returns when these scheduled steps have ended."""
        self._groups_made += 1
        group = self._wait(journal.GROUP, str(self._groups_made))
        group.members = tuple(names)
        await group

    def _result(self, handle: StepHandle[Any]) -> Ok[Any] | Err:
        outcome = journal.read_outcome(handle._call, self.history.records[handle.name])
        match outcome:
            case Ok():
                return outcome
            case BusinessErr(error):
                return Err(StepBusinessError(handle.name, error))
            case ZartErr(error):
                return Err(error)

    # ---- sleeps, events, captures ----

    async def sleep(self, name: str, argument: str) -> None:
        """Block for `argument` (see `WaitRequest`), as it was first registered."""
        await self._use_for(name, journal.SLEEP)
        wait = self._wait(journal.SLEEP, name)
        wait.argument = argument
        await wait

    async def wait_for_event(self, name: str, argument: str, codec: Codec[T]) -> T:
        """The payload of an event, or DeadlineExceeded when the timeout recorded at the first wait has passed."""
        await self._use_for(name, journal.EVENT)
        wait = self._wait(journal.EVENT, name)
        wait.argument = argument
        await wait
        event = self.history.event_in_time(name)
        if event is None:
            self.failed_names.append(name)
            raise DeadlineExceeded(name)
        self.received_events.add(name)
        try:
            return codec.decode(journal.event_payload(event), f"the event {name!r}")
        except MISMATCHES as error:
            await self._stop(CodeMismatch(error))

    async def receive(self, name: str, argument: str, codec: Codec[T]) -> T:
        """The oldest message of a channel, or DeadlineExceeded when the timeout recorded at the first wait is over."""
        await self._use_for(name, journal.MESSAGE)
        wait = self._wait(journal.MESSAGE, name)
        wait.argument = argument
        await wait
        record = self.history.records[name]
        if journal.letter_of(record) == Record.NO_MESSAGE:
            self.failed_names.append(name)
            raise DeadlineExceeded(name)
        return codec.decode(journal.split_message(record)[1], f"the message {name!r}")

    async def capture(self, name: str, f: Callable[[], Any], codec: Codec[T]) -> T:
        """The recorded value of `f()`, which is called only if there is none."""
        await self._use_for(name, journal.CAPTURE)
        values = list[T]()

        async def call() -> bytes:
            """The encoded value of `f()`; it is also put into `values`."""
            data, back = codec.round_trip(await _call_watched(f), what)
            values.append(back)
            return check_size(self._context.max_payload, data, what)

        what = f"the captured value {name!r}"
        wait = self._wait(journal.CAPTURE, name)
        wait.function, wait.context = call, contextvars.copy_context()
        await wait
        if wait.is_own_value and values:
            return values[0]
        record = self.history.records[name]
        try:
            journal.expect(name, record, journal.CAPTURE)
            return codec.decode(bytes(journal.decode_result(record).value), what)
        except MISMATCHES as error:
            await self._stop(CodeMismatch(error))

    async def _run_capture(self, wait: Wait) -> bytes:
        """Call the function and record its value."""
        assert wait.function is not None
        current.set(self.info)
        began = time.monotonic()
        data = await wait.function()
        ms = round((time.monotonic() - began) * 1000)
        record = journal.encode_result(Record.CAPTURE, data, None, 1, ms, self._context.worker)
        stored = await self._record(wait, record)
        if stored.startswith(record):
            wait.is_own_value = True
            self.observer.captured(self, wait.name)
        return stored

    # ---- other executions ----

    async def send(self, name: str, execution_id: str, channel: str, payload: bytes) -> None:
        """Send a message to any execution, once: it is known by the name under which this is recorded."""

        async def send() -> None:
            await self._port.send(execution_id, channel, payload, self._key_of(name))

        await self._affect("zart.send", name, send)

    async def start_other(self, arguments: StartArguments) -> None:
        """Start an independent execution, once."""
        id = arguments.execution_id
        self._starts[id] += 1
        name = f"start {id}" if self._starts[id] == 1 else f"start {id} #{self._starts[id]}"
        nonce = blake2b(self._key_of(name).encode(), digest_size=Size.NONCE).digest()

        async def start() -> None:
            await self._port.start(arguments, nonce)

        await self._affect("zart.start", name, start)

    def _key_of(self, name: str) -> str:
        return f"{self.info.idempotency_key}:{name}"

    async def _affect(self, what: str, name: str, f: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Change another execution, as a step in place. Raises the step's own error."""
        step = define_step(what, f, RetryConfig.none(), raises=(), is_adhoc=True)
        outcome = await self.run(call_of(step, name))
        if not isinstance(outcome, Ok):
            raise outcome.error

    # ---- what clients can watch ----

    @property
    def max_payload(self) -> int:
        return self._context.max_payload

    @property
    def retention_ms(self) -> int:
        return self._context.retention_ms

    def emit(self, emitted: Emitted) -> None:
        """Emit something, unless it is stored already. After a retry, in which the body may do something else than
        before, all is new that the body does beyond its records."""
        if self.loop.is_closed():
            return
        self._emissions += 1
        if self._emitter is None:
            stored = self.history.emitted
            if self._emissions <= stored or (not stored and self.replayed.is_behind):
                return
            self._emitter = Emitter(self._port, self.max_payload, "", self.info.current_attempt)
            self._emitter.sent = self._emissions - 1
        self._port.emit(self._emitter, emitted)

    async def continue_as_new(self, data: Any) -> NoReturn:
        """End the run: no other code of the body runs. The input of the next run is checked first."""
        encoded = self._encode_input(data)
        if live := sorted(name for name in self.missing_steps() if name in self._children):
            raise InvalidInput(
                f"continue_as_new cannot end the run while its child {live[0]!r} lives: wait for it, or start it with "
                'on_parent_end="leave"'
            )
        await self._stop(Continued(encoded))

    def clock(self) -> datetime:
        supplied = self._clock()
        return datetime.now(UTC) if supplied is None else from_ms(supplied)


async def _call_watched(f: Callable[[], Any]) -> Any:
    """What `f()` returns, awaited. Anything that it raises which is not an Exception becomes a RemoteError."""
    with CancelWatch() as watch:
        try:
            value = f()
            return await value if inspect.isawaitable(value) else value
        except BaseException as error:
            if isinstance(error, Exception) or watch.ends(error):
                raise
            failure = summary(error)
        await watch.settle()
    raise failure
