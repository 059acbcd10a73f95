"""The engine's port kept in dicts: one execution, no server, and a clock that only the test moves.

It is no Redis: it answers the protocol in `zart_redis.engine.ports` by the contract written there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from anyio import CapacityLimiter

from zart_redis.engine.drive import PassEnd, run_pass
from zart_redis.engine.execution import Execution
from zart_redis.engine.journal import encode_result
from zart_redis.engine.lifecycle import BodyRun
from zart_redis.engine.ports import ChildRequest, Ready, Surroundings, WaitRequest
from zart_redis.handlers import DurableHandler
from zart_redis.model import BodyClaim, ExecutionInfo, Fenced

WORKER = "c0ffee01"


class MemoryPort:
    def __init__(self) -> None:
        self.time = 1_000_000
        self.records: dict[str, bytes] = {}
        self.events: dict[str, bytes] = {}
        self.children: dict[str, ChildRequest] = {}
        self.groups: dict[str, set[str]] = {}
        self.parks: list[tuple[list[str], str]] = []
        """Each time it was asked to park: on what, and what became of it."""
        self.recorded: list[str] = []
        self.fenced = False
        self.outcome: tuple[str, Any] | None = None
        self.scope, self.failure = "1", b""
        self.attempts = 1

    # ---- what a test does ----

    def offer(self, name: str, payload: Any) -> None:
        self.events[name] = bytes(8) + b"B" + self._stamp() + msgspec.msgpack.encode(payload)

    def settle(self, name: str, value: Any) -> None:
        """A worker has run a scheduled step."""
        del self.children[name]
        self.records[name] = encode_result("v", msgspec.msgpack.encode(value), None, 1, 0, WORKER) + self._stamp()

    def wake(self) -> None:
        """Move the clock to the first moment at which something is due."""
        dues = [int(m[1]) for record in self.records.values() if (m := re.fullmatch(rb"[sw](\d+)", record))]
        dues += [int(m[1]) for record in self.records.values() if (m := re.fullmatch(rb"a\d+,\d*,(\d+)", record))]
        self.time = max(self.time, min(dues, default=self.time))

    def _stamp(self) -> bytes:
        return self.time.to_bytes(6, "big")

    def _check(self) -> None:
        if self.fenced:
            raise Fenced

    # ---- the protocol ----

    def now(self) -> int:
        return self.time

    async def record(self, name: str, record: bytes) -> bytes | None:
        self._check()
        existing = self.records.get(name)
        if existing is not None and existing[:1] != b"a":
            return existing
        self.recorded.append(name)
        self.records[name] = record + self._stamp()
        return None

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        self._check()
        self.records[name] = f"a{failed},{'' if timeout_ms is None else self.time + timeout_ms},".encode()
        self.records[name] += str(self.time + delay_ms).encode()
        return self.records[name]

    async def schedule(self, children: Sequence[ChildRequest]) -> None:
        self._check()
        self.children |= {child.name: child for child in children if child.name not in self.records}

    async def join(self, group: str, names: Collection[str]) -> None:
        self.groups[group] = set(names)

    async def load(self, names: Sequence[str]) -> dict[str, bytes]:
        return {name: self.records[name] for name in names if name in self.records}

    async def park(self, waits: Sequence[WaitRequest], hold: bool) -> list[Ready] | None:
        self._check()
        ready = [answer for wait in waits if (answer := self._answer(wait))]
        became = "ready" if ready else "held" if hold else "parked"
        self.parks.append((sorted(wait.name for wait in waits), became))
        return None if became == "parked" else ready

    def _answer(self, wait: WaitRequest) -> Ready | None:
        kind, name, argument = wait
        if kind == "group":
            return None if self.groups[name] & self.children.keys() else Ready(kind, name, b"")
        if kind == "event" and name in self.events:
            return Ready(kind, name, b"E" + self.events[name])
        if kind == "retry":
            due: bytes = self.records[name].rsplit(b",", 1)[1]
            return Ready(kind, name, self.records[name]) if int(due) <= self.time else None
        letter, over = (b"s", b"S") if kind == "sleep" else (b"w", b"T")
        due = self.records.setdefault(name, letter + (str(self.time + int(argument)).encode() if argument else b""))
        if due[:1] == letter and due[1:] and int(due[1:]) <= self.time:
            self.records[name] = over + self._stamp()
        return None if self.records[name][:1] == letter else Ready(kind, name, self.records[name])

    async def limit(self, timeout_ms: int) -> None:
        self._check()

    async def finish(self, output: bytes, retention_ms: int | None) -> None:
        self._check()
        self.outcome = "completed", msgspec.msgpack.decode(output)

    async def fail(self, error: bytes, retention_ms: int | None) -> None:
        self._check()
        self.outcome = "failed", error

    async def compensate(self, failure: bytes) -> None:
        self._check()
        self.scope, self.failure = "1f", failure
        self.records = {}
        self.children = {}

    async def retry(self, delay_ms: int, note: bytes) -> None:
        self._check()
        self.attempts += 1
        self.records = {name: record for name, record in self.records.items() if record[:1] not in (b"b", b"z", b"T")}

    async def release(self, delay_ms: int | None) -> None:
        self._check()
        self.outcome = "released", delay_ms


def surroundings() -> Surroundings:
    return Surroundings(
        worker=WORKER,
        namespace="memory",
        max_payload=10_000,
        max_deliveries=5,
        secrets=(),
        threads=CapacityLimiter(4),
        now=lambda: datetime.now(UTC),
        pause_rule=lambda info, step: None,
    )


def an_execution(port: MemoryPort) -> Execution:
    """One pass, as a claim of what the port holds would begin it."""
    info = ExecutionInfo("x", "task", 1, 0, "memory:x:1")
    return Execution(port, info, surroundings(), dict(port.records), dict(port.events), set(port.children))


async def one_pass(port: MemoryPort, body: Callable[[], Awaitable[Any]]) -> PassEnd:
    return await run_pass(an_execution(port), body)


async def play(
    handler: DurableHandler[Any, Any], port: MemoryPort, data: Any = None, passes: int = 50
) -> tuple[str, Any]:
    """Claim the execution again each time that something is due, until it has ended."""
    for _ in range(passes):
        claim = BodyClaim(
            entry="1-0",
            queue="default",
            execution_id="x",
            fence="1@w",
            scope=port.scope,
            task=handler.name,
            attempt=port.attempts,
            input=msgspec.msgpack.encode(data),
            created=0,
            doom="",
            failure=port.failure,
            records=dict(port.records),
            events=dict(port.events),
            children=set(port.children),
            has_deadline=False,
            now=port.time,
        )
        await BodyRun(claim, handler.definition, port, surroundings()).run()
        if port.outcome is not None:
            return port.outcome
        port.wake()
    raise AssertionError(f"it did not end in {passes} passes")
