"""The engine's port kept in dicts: one execution, no server, and a clock that only the test moves.

It follows the contract in `zart_redis.engine.ports`: each completion is numbered when it is recorded, and what is
overdue is completed before anything else is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from zart_redis.engine import journal
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.drive import run_pass
from zart_redis.engine.emitting import Emitted, Emitter
from zart_redis.engine.execution import Execution
from zart_redis.engine.history import History
from zart_redis.engine.journal import Stamp, encode_result, stamped
from zart_redis.engine.lifecycle import BodyRun
from zart_redis.engine.observer import Observer, PassEnd
from zart_redis.engine.ports import ChildRequest, Completion, News, ScheduleRequest, StartArguments, WaitRequest
from zart_redis.engine.threads import StepThreads
from zart_redis.handlers import DurableHandler
from zart_redis.layout import Record
from zart_redis.model import Blame, BodyClaim, ExecutionInfo, Fenced
from zart_redis.registry import Call

WORKER = "c0ffee01"
STARTED = 1_000_000
"""When each execution begins, in ms."""

_LETTERS = {kind: letter for letter, kind in journal.KINDS_OF_WAITS.items()}


class MemoryPort:
    def __init__(self) -> None:
        self.emitted: list[tuple[str, Emitted]] = []
        self.time = STARTED
        self.number = 0
        """Of the newest completion."""
        self.records: dict[str, bytes] = {}
        self.events: dict[str, bytes] = {}
        self.children: dict[str, ScheduleRequest] = {}
        self.groups: dict[str, set[str]] = {}
        self.waits: dict[tuple[str, str], int | None] = {}
        """What is registered, and when it is due."""
        self.inbox: list[tuple[int, str, str]] = []
        """What others have completed: number, kind, name."""
        self.parks: list[tuple[list[str], str]] = []
        """Each time it was asked to park: what is registered, and what became of the body."""
        self.recorded: list[str] = []
        self.paused: str | None = None
        """The only pause rule, which holds every step in place."""
        self.elsewhere: list[tuple[str, str, str]] = []
        """What was sent to other executions, or started: what identifies each."""
        self.started: dict[str, ChildRequest] = {}
        """Children, by the names of their calls."""
        self.fenced = False
        self.outcome: tuple[str, Any] | None = None
        self.scope, self.failure = "1", b""
        self.attempts = 1
        self.has_begun = False
        """Whether a body has been played before."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when others have completed something."""

    # ---- what a test does ----

    def offer(self, name: str, payload: Any) -> None:
        """An event arrives."""
        self._fire()
        if name not in self.events:
            self.events[name] = bytes(8) + stamped(b"B", self._next()) + msgspec.msgpack.encode(payload)
            self._completed(journal.EVENT, name)

    def settle(self, call: Call[Any, Any], value: Any) -> None:
        """A worker has run a scheduled step."""
        self._fire()
        del self.children[call.name]
        self.records[call.name] = stamped(recorded_value(call, value), self._next())
        self._completed(journal.STEP, call.name)
        for group in self.groups.values():
            group.discard(call.name)

    def advance(self, ms: int) -> None:
        """Move the clock."""
        self.time += ms
        self._fire()

    def next_due(self) -> int | None:
        """When the next wait is due."""
        return min((due for due in self.waits.values() if due is not None), default=None)

    def wake(self) -> None:
        """Move the clock to the first moment at which something is due."""
        due = self.next_due()
        if due is not None:
            self.advance(max(0, due - self.time))

    def resume(self) -> None:
        """The pause rule is removed."""
        self.waits = {key: due for key, due in self.waits.items() if key[0] != journal.PAUSE}
        self.paused = None
        self.on_change()

    def pause_rule(self, info: ExecutionInfo, step: str) -> str | None:
        return self.paused

    def _completed(self, kind: str, name: str) -> None:
        self.inbox.append((self.number, kind, name))
        self.waits.pop((kind, name), None)
        self.on_change()

    def _next(self) -> Stamp:
        self.number += 1
        return Stamp(self.number, self.time)

    def _fire(self) -> None:
        """Complete what is due, in the order in which it became so."""
        overdue = [(due, key) for key, due in self.waits.items() if due is not None and due <= self.time]
        for due, (kind, name) in sorted(overdue):
            if kind == journal.TIMER:
                self.records[journal.timer_name(name)] = stamped(f"F{due}".encode(), self._next())
            elif kind == journal.RETRY:
                del self.waits[kind, name]
                self.on_change()
                continue
            else:
                self.records[name] = stamped(b"S" if kind == journal.SLEEP else b"T", self._next())
            self._completed(kind, name)

    def _check(self) -> None:
        if self.fenced:
            raise Fenced

    # ---- the protocol ----

    def now(self) -> int:
        return self.time

    def emit(self, emitter: Emitter, emitted: Emitted) -> None:
        self.emitted.append((emitter.step, emitted))

    async def record(self, name: str, record: bytes, *, ordered: bool) -> bytes:
        self._check()
        if ordered:
            self._fire()
        existing = self.records.get(name)
        if existing is not None and journal.is_completion(existing):
            return existing
        self.recorded.append(name)
        self.records[name] = stamped(record, self._next() if ordered else Stamp(0, self.time))
        return self.records[name]

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        self._check()
        self.records[name] = f"a{failed},{'' if timeout_ms is None else self.time + timeout_ms},".encode()
        self.records[name] += str(self.time + delay_ms).encode()
        return self.records[name]

    async def schedule(self, children: Sequence[ScheduleRequest]) -> None:
        self._check()
        self.children |= {child.name: child for child in children if child.name not in self.records}

    async def start_children(self, children: Sequence[ChildRequest]) -> Mapping[str, str]:
        self._check()
        self.started |= {child.name: child for child in children}
        return {}

    async def end_steps(self, records: dict[str, bytes]) -> None:
        self._check()
        self._fire()
        for name, record in records.items():
            self.children.pop(name, None)
            if name not in self.records:
                self.records[name] = stamped(record, self._next())
                self._completed(journal.STEP, name)
            for group in self.groups.values():
                group.discard(name)

    async def join(self, group: str, names: Collection[str]) -> None:
        self.groups[group] = set(names) & self.children.keys()

    async def park(
        self, new: Sequence[WaitRequest], gone: Sequence[tuple[str, str]], hold: bool, seen: int
    ) -> News | None:
        self._check()
        for kind, name in gone:
            assert kind in _LETTERS, f"a {kind} cannot be forgotten"
            self.waits.pop((kind, name), None)
        for wait in new:
            self._register(wait)
        self._fire()
        retries = [key for key in self.waits if key[0] == journal.RETRY and (self.waits[key] or 0) <= self.time]
        ready = [(number, kind, name) for number, kind, name in self.inbox if number > seen]
        became = "ready" if ready or retries or self.number > seen else "held" if hold else "parked"
        self.parks.append((sorted(name for _, name in self.waits), became))
        self.inbox = [item for item in self.inbox if item[0] > seen]
        if became == "parked":
            return None
        return News(self.number, [self._completion(*item) for item in ready])

    def _register(self, wait: WaitRequest) -> None:
        kind, name, argument = wait
        if kind == journal.PAUSE:
            if argument == self.paused:
                self.waits[kind, name] = None
        elif kind == journal.RETRY:
            self.waits[kind, name] = int(self.records[name].rsplit(b",", 1)[1])
        elif kind == journal.TIMER or argument.startswith("@"):
            self.waits[kind, name] = int(argument[1:])
        elif kind == journal.EVENT and name in self.events:
            pass  # it is, or was, in the inbox
        elif kind == journal.GROUP:
            if self.groups[name]:
                self.waits[kind, name] = None
        else:
            letter = "s" if kind == journal.SLEEP else "w"
            due = f"{letter}{self.time + int(argument)}" if argument else letter
            record = self.records.setdefault(name, due.encode())
            self.waits[kind, name] = int(record[1:]) if record[1:] else None

    def _completion(self, number: int, kind: str, name: str) -> Completion:
        event = self.events.get(name) if kind == journal.EVENT else None
        if event is not None and journal.event_stamp(event).number == number:  # else its timeout came first
            return Completion(kind, name, b"E" + event)
        return Completion(kind, name, self.records[journal.timer_name(name) if kind == journal.TIMER else name])

    async def limit(self, timeout_ms: int) -> None:
        self._check()

    async def finish(self, output: bytes, retention_ms: int | None) -> None:
        self._check()
        self.outcome = "completed", msgspec.msgpack.decode(output)

    async def gate(self, limits: str) -> bool:
        return True

    async def continue_as_new(
        self, data: bytes, timeout_ms: int | None, received: Collection[str], limits: str
    ) -> None:
        self._check()
        self.outcome = "continued", (msgspec.msgpack.decode(data), sorted(self.events.keys() - received))

    async def fail(self, error: bytes, retention_ms: int | None) -> None:
        self._check()
        self.outcome = "failed", error

    async def compensate(self, failure: bytes) -> tuple[int, int]:
        self._check()
        self.scope, self.failure = "1f", failure
        self.records, self.children, self.waits, self.groups, self.inbox = {}, {}, {}, {}, []
        return self.time, self.number

    async def retry(self, delay_ms: int, note: bytes) -> None:
        self._check()
        self.attempts += 1
        self.waits, self.groups, self.inbox = {}, {}, []
        self.records = {name: record for name, record in self.records.items() if record[:1] not in (b"b", b"z", b"T")}

    async def send(self, execution_id: str, channel: str, payload: bytes, key: str) -> None:
        self.elsewhere.append(("send", execution_id, key))

    async def start(self, arguments: StartArguments, nonce: bytes) -> None:
        self.elsewhere.append(("start", arguments.execution_id, nonce.hex()))

    async def release(self, delay_ms: int | None) -> None:
        self._check()
        self.outcome = "released", delay_ms

    async def hold(self, delay_ms: int, reason: str) -> None:
        self._check()
        self.outcome = "held", (delay_ms, reason)


def recorded_value(call: Call[Any, Any], value: Any) -> bytes:
    """The record of a step that returned `value`, without its stamp."""
    return encode_result(Record.VALUE, msgspec.msgpack.encode(value), call.origin, 1, 0, WORKER)


def worker_context() -> WorkerContext:
    return WorkerContext(
        worker=WORKER,
        code="memory",
        namespace="memory",
        max_payload=10_000,
        max_deliveries=5,
        secrets=(),
        threads=StepThreads(4),
    )


def history_of(port: MemoryPort) -> History:
    """What a claim would load."""
    port.inbox, port.groups = [], {}
    registered = {key: due for key, due in port.waits.items() if key[0] != journal.GROUP}
    return History(dict(port.records), dict(port.events), set(port.children), registered, port.number, STARTED)


def an_execution(port: MemoryPort, observer: Observer | None = None) -> Execution:
    """One pass, as a claim of what the port holds would begin it."""
    info = ExecutionInfo("x", "task", 1, 0, "memory:x:1")
    return Execution(
        port,
        info,
        worker_context(),
        observer=observer or Observer(),
        clock=lambda: None,
        pause_rule=port.pause_rule,
        history=history_of(port),
        encode_input=msgspec.msgpack.encode,
    )


async def one_pass(
    port: MemoryPort, body: Callable[[], Coroutine[Any, Any, Any]], observer: Observer | None = None
) -> PassEnd:
    execution = an_execution(port, observer)
    try:
        return await run_pass(execution, body)
    finally:
        execution.close()


async def play(
    handler: DurableHandler[Any, Any],
    port: MemoryPort,
    data: Any = None,
    passes: int = 50,
    observer: Observer | None = None,
) -> tuple[str, Any]:
    """Claim the execution again each time that something is due, until it has ended."""
    for _ in range(passes):
        history = history_of(port)
        claim = BodyClaim(
            entry="1-0",
            queue="default",
            execution_id="x",
            fence="1@w",
            scope=port.scope,
            task=handler.name,
            version=1,
            attempt=port.attempts,
            input=msgspec.msgpack.encode(data),
            created=0,
            fail_reason="",
            failure=port.failure,
            has_begun=port.has_begun,
            tags={},
            scheduled_for=None,
            holds=0,
            held_since=None,
            records=history.records,
            events=history.events,
            steps=history.scheduled,
            deadline=None,
            waits={(_LETTERS[kind], name): due for (kind, name), due in history.registered.items()},
            completions=history.seen,
            blame=Blame(),
            clock_base=history.clock_base,
            parked_at=None,
            emitted=sum(step == "" for step, _ in port.emitted),
            kept_at="",
            news=[],
            limits="",
            reason="",
            compensates=False,
            now=port.time,
        )
        run = BodyRun(
            claim,
            handler.definition,
            port,
            worker_context(),
            observer=observer or Observer(),
            clock=lambda: None,
            pause_rule=port.pause_rule,
        )
        await run.run()
        run.close()
        port.has_begun = True
        if port.outcome is not None:
            return port.outcome
        port.wake()
    raise AssertionError(f"it did not end in {passes} passes")
