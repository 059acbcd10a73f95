"""Replays a recorded history without Redis, to find out whether changed code still fits it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from zart_redis.client.run_history import BodyHistory, RecordedCall, RunHistory, read_history, recorded_of
from zart_redis.engine import failures, journal
from zart_redis.engine.attempts import RetryLater, StepDone, run_attempt
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.drive import run_pass
from zart_redis.engine.emitting import Emitted, Emitter
from zart_redis.engine.execution import Execution
from zart_redis.engine.journal import Stamp, stamped
from zart_redis.engine.observer import CodeMismatch, Observer, PassEnd, Raised, Returned, StepAttempt
from zart_redis.engine.ports import Completion, News, ScheduleRequest, WaitRequest
from zart_redis.engine.spec import decode_spec
from zart_redis.engine.threads import StepThreads
from zart_redis.engine.waits import Wait
from zart_redis.errors import InvalidInput, ReplayMismatch, SerializationError
from zart_redis.handlers import Handler, definition_of
from zart_redis.layout import Record
from zart_redis.model import ExecutionInfo, ExecutionStatus, server_clock
from zart_redis.registry import HandlerDefinition, StepDefinition, TaskVersions, call_of
from zart_redis.testing.fakes import Fakes, fake_definitions

WORKER = "00000000"
MAX_PAYLOAD = 1 << 30
HELD = "0"
"""The pause rule that keeps steps from running here."""


class HistoryMismatch(ReplayMismatch):
    """A body does not fit a recorded history. `name` is the recorded name, "" if the difference has none."""

    def __str__(self) -> str:
        recorded = f"{self.name!r} was recorded by a {self.recorded}; " if self.name else ""
        return f"{recorded}the replayed body {self.requested}"


def replay(handler: Handler[Any, Any], path: str | PathLike[str], *, steps: Fakes | None = None) -> None:
    """Replay a history that `zart history` has exported. No step runs; recorded results come from the history.

    A call that the history lacks ends the replay, successfully if the body has used every recorded name by then.

    Args:
        handler: the handler as it is now.
        path: the file with the history.
        steps: functions that supply the values of steps inserted since then. The replay continues after them.

    Raises:
        ReplayMismatch: the body did not make the same calls in the same order as the recorded run.
        SerializationError: a recorded value cannot be read.
        InvalidInput: the file is not a history of this handler, or has no payloads.

    Example:
        >>> def test_checkout_still_fits_what_is_in_flight() -> None:
        ...     zart_redis.testing.replay(checkout, "histories/order-17.json")
    """
    history = read_history(Path(path).read_bytes())
    _run(lambda: replay_history(definition_of(handler), history, fake_definitions(steps or {})))


def _run(replaying: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine to its end, in a separate thread: the caller may be in an event loop."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(replaying())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="zart-replay")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


async def replay_history(
    handler: HandlerDefinition, history: RunHistory, fakes: dict[str, StepDefinition] | None = None
) -> None:
    """As `replay`, for a history that has been read."""
    if history.task != handler.name:
        raise InvalidInput(f"the history is of task {history.task!r}, not of task {handler.name!r}")
    if history.version is not None and TaskVersions([handler]).find(history.version) is None:
        runs = f"versions from {handler.compatible_from} to {handler.version}"
        raise HistoryMismatch("", "", f"is for {runs}, and the history is of version {history.version}")
    replaying = _Replaying(handler, history, fakes or {})
    body = _BodyReplay(replaying, history.body, "")
    has_failed = history.on_failure is not None or history.status == ExecutionStatus.FAILED
    await body.run(lambda: handler.body(replaying.input()), has_failed)
    on_failure = handler.on_failure
    if history.on_failure is None or history.failure is None:
        return
    if on_failure is None:
        raise HistoryMismatch("", "", "has no on_failure, and that of the recorded one has begun")
    failure = failures.decode_failure(history.failure)
    body = _BodyReplay(replaying, history.on_failure, "f")
    await body.run(lambda: on_failure(replaying.input(), failure), history.status == ExecutionStatus.FAILED)


class _Replaying:
    """What the bodies of one run share."""

    def __init__(self, handler: HandlerDefinition, history: RunHistory, fakes: dict[str, StepDefinition]) -> None:
        self.handler = handler
        self.history = history
        self.context = WorkerContext(WORKER, "", "", MAX_PAYLOAD, 1, (), StepThreads(10), fakes)

    def input(self) -> Any:
        return self.handler.input.decode(self.history.input or b"", f"the input of task {self.handler.name!r}")

    def info(self, scope: str) -> ExecutionInfo:
        history, handler = self.history, self.handler
        return ExecutionInfo(
            history.execution_id,
            history.task,
            history.attempt - 1,
            handler.retry.retries,
            history.key + scope,
            run=history.run,
            version=history.version or handler.version,
            tags=history.tags,
            _load=self.input,
        )

    def encode_input(self, data: Any) -> bytes:
        return self.handler.encode_input(data, MAX_PAYLOAD, f"the input of task {self.handler.name!r}")


class _BodyReplay:
    """One body: its only pass, and the calls that it must make."""

    def __init__(self, shared: _Replaying, body: BodyHistory, scope: str) -> None:
        self._shared = shared
        self._order = _Order(body)
        self._fakes = shared.context.fakes
        self.execution = _OrderedBody(
            self._order,
            _Port(self, max(call.at or 0 for call in (*body.calls, _BEGINNING))),
            shared.info(scope),
            shared.context,
            observer=Observer(),
            clock=server_clock,
            pause_rule=self._rule_for,
            history=recorded_of(shared.history, body),
            encode_input=shared.encode_input,
        )
        self._recorded = dict.fromkeys([*self.execution.recorded_names, *body.scheduled])

    def _rule_for(self, info: ExecutionInfo, name: str) -> str | None:
        """Holds calls that are not recorded, except fakes."""
        step = self.execution.definitions.get(name)
        return None if step is not None and step.name in self._fakes else HELD

    async def run(self, body: Callable[[], Any], has_failed: bool) -> None:
        async def begin() -> Any:
            return await body()

        end = await run_pass(self.execution, begin)
        self._check(end, has_failed)

    def _check(self, end: PassEnd, has_failed: bool) -> None:
        error = end.error if isinstance(end, Raised) else None
        if isinstance(end, CodeMismatch):
            raise end.error
        if isinstance(error, ReplayMismatch | SerializationError):
            raise error
        asked = self.execution.called_names
        if missing := [name for name in self._recorded if name not in asked]:
            new = [name for name in asked if name not in self._recorded]
            does = f"raised {error!r}" if error else "returned"
            if new or not isinstance(end, Raised | Returned):
                does = f"asked for {', '.join(map(repr, new[:5])) or 'nothing else'} instead"
            raise HistoryMismatch(missing[0], self._order.kind_of(missing[0]), does) from error
        if error is not None and not has_failed:
            raise HistoryMismatch("", "", f"raised {error!r}, and the recorded one did not") from error

    async def run_fake(self, child: ScheduleRequest, at: int) -> bytes | None:
        """The record of a scheduled step that is not recorded, from its fake. None if it has none."""
        spec = decode_spec(child.spec)
        fake = self._fakes.get(spec.step or "")
        if fake is None:
            return None
        args, kwargs = fake.parameters.decode(spec.arguments, f"the arguments of step {child.name!r}")
        number, context = 1, self._shared.context
        while True:
            thread = None if fake.is_async else await context.threads.take()
            attempt = StepAttempt(self.execution.info, call_of(fake, child.name, args, kwargs), number)
            match await run_attempt(attempt, None, thread, context, Observer()):
                case StepDone(record):
                    return record
                case RetryLater():
                    number += 1


_IN_PLACE = (journal.STEP, journal.CAPTURE)
"""Calls that are recorded when they end, and not before."""
_BEGINNING = RecordedCall("", "", "")


class _OrderedBody(Execution):
    """A body that compares the order in which it receives completions."""

    def __init__(self, order: _Order, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._order = order

    def _delivered(self, wait: Wait) -> None:
        for name in wait.members or (wait.name,):
            self._order.check(name, self.called_names)


class _Order:
    """Compares the order in which a body learns of completions with the recorded one.

    Two completions are in order if both are numbered, or if their times differ. What was recorded while the body
    awaited nothing else has no number: where Redis has kept the order of the records, that counts.
    """

    def __init__(self, body: BodyHistory) -> None:
        self._kinds = {call.name: call.call for call in body.calls}
        self._kinds |= dict.fromkeys(body.scheduled, f"scheduled {journal.STEP}")
        ended = [call for call in body.calls if call.at is not None and call.call != journal.TIMER]
        self._calls = {call.name: call for call in ended}
        self._numbered = deque(sorted((call for call in ended if call.number), key=lambda call: call.number))
        self._places = {
            call.name: place for place, call in enumerate(ended) if body.in_order and call.call in _IN_PLACE
        }
        self._unnumbered = deque(sorted((call for call in ended if not call.number), key=self._when))

    def _when(self, call: RecordedCall) -> tuple[int, int]:
        return call.at or 0, self._places.get(call.name, 0)

    def kind_of(self, name: str) -> str:
        return self._kinds.get(name, "")

    def check(self, name: str, asked: Collection[str]) -> None:
        """A completion is delivered to a body that has asked for these names.

        Raises:
            HistoryMismatch: one that the body has not asked for was recorded before it.
        """
        delivered = self._calls.get(name)
        if delivered is None:
            return
        for line in (self._numbered, self._unnumbered):
            while line and line[0].name in asked:
                line.popleft()
            if line and self._is_before(line[0], delivered):
                raise HistoryMismatch(
                    line[0].name, line[0].call, f"had {name!r} before it, which was recorded after it"
                )

    def _is_before(self, one: RecordedCall, other: RecordedCall) -> bool:
        if one.number and other.number:
            return one.number < other.number
        if one.name in self._places and other.name in self._places:
            return self._when(one) < self._when(other)
        return (one.at or 0) < (other.at or 0)


class _Port:
    """Replaces the store: it records what fakes return, and parks a body that waits for anything else. The ends of a
    claim are never reached."""

    def __init__(self, body: _BodyReplay, time: int) -> None:
        self._body = body
        self._time = time
        self._news: list[Completion] = []

    def now(self) -> int:
        return self._time

    def emit(self, emitter: Emitter, emitted: Emitted) -> None: ...

    def _stamped(self, record: bytes) -> bytes:
        history = self._body.execution.history
        history.seen += 1
        return stamped(record, Stamp(history.seen, self._time))

    async def record(self, name: str, record: bytes, *, ordered: bool) -> bytes:
        return self._stamped(record)

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        return f"{Record.ATTEMPTS}{failed},,{self._time}".encode()

    async def schedule(self, children: Sequence[ScheduleRequest]) -> None:
        for child in children:
            record = await self._body.run_fake(child, self._time)
            if record is not None:
                self._news.append(Completion(journal.STEP, child.name, self._stamped(record)))

    async def join(self, group: str, names: Collection[str]) -> None:
        """Fakes have ended when they are scheduled."""

    async def park(
        self, new: Sequence[WaitRequest], gone: Sequence[tuple[str, str]], hold: bool, seen: int
    ) -> News | None:
        news, self._news = self._news, []
        return News(self._body.execution.history.seen, news) if news or hold else None

    async def limit(self, timeout_ms: int) -> None: ...

    async def finish(self, output: bytes, retention_ms: int | None) -> None: ...

    async def continue_as_new(self, data: bytes, timeout_ms: int | None, received: Collection[str]) -> None: ...

    async def fail(self, error: bytes, retention_ms: int | None) -> None: ...

    async def compensate(self, failure: bytes) -> tuple[int, int]:
        raise NotImplementedError

    async def retry(self, delay_ms: int, note: bytes) -> None: ...

    async def release(self, delay_ms: int | None) -> None: ...

    async def hold(self, delay_ms: int, reason: str) -> None: ...
