"""A harness whose worker, or whose client, fails at one given command."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import redis

import zart_redis as zart
from tests.snapshot import Snapshot, take_snapshot
from zart_redis import layout
from zart_redis.durations import Duration, to_ms
from zart_redis.handlers import definition_of, definitions
from zart_redis.testing import Harness
from zart_redis.testing.process import Process
from zart_redis.testing.wire import Wire, WiredScheduler

NAMESPACE = "fault-injection"
PREFIX = layout.prefix(NAMESPACE, 0)
RETENTION = "400d"


Target = Literal["worker", "client"]
TARGETS: tuple[Target, ...] = get_args(Target)
Kind = Literal["dies before", "dies after", "is cut off after"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The process dies before the command is sent, or once it has been executed and its reply is unread; or the connection
breaks then."""


@dataclass(frozen=True)
class Fault:
    """Who fails, at which of its commands, and how."""

    target: Target
    number: int
    kind: Kind

    def __str__(self) -> str:
        return f"the {self.target} {self.kind} command {self.number}"

    def is_at(self, target: Target, number: int, done: bool) -> bool:
        """Whether this is the command, seen before it is sent or (`done`) after it has been executed."""
        return (self.target, self.number, self.kind != "dies before") == (target, number, done)


class FaultHarness(Harness):
    """A harness that injects at most one fault.

    Args:
        on_fault: called when the fault is injected, with the name of the command and a snapshot of all keys.
    """

    def __init__(
        self,
        handlers: Iterable[Any],
        url: str,
        fault: Fault | None,
        on_fault: Callable[[str, Snapshot], None],
    ) -> None:
        super().__init__(handlers, server=url, namespace=NAMESPACE, retention=RETENTION, patience="20s")
        self._fault = fault
        self._began = self.clock.ms
        self._on_fault = on_fault
        self._observer = redis.Redis(unix_socket_path=url.removeprefix("unix://"))
        self._unknown_tasks: set[str] = set()
        self.sent = {"worker": 0, "client": 0}
        self.names: list[str] = []
        self.injected = False
        self.racy = False
        """Set by a client whose outcome depends on who is faster: then only the invariants are checked."""
        self.client_died = asyncio.Event()
        self._numbers: dict[tuple[Target, int, int], int] = {}
        self._workers = 0

    # ---- the fault ----

    def _fault_at(self, target: Target, process: int, number: int, name: str, done: bool) -> Kind | None:
        """The fault to inject here. Commands are numbered across the workers, or clients, that succeed one another."""
        if not done:
            self.sent[target] += 1
            self._numbers[target, process, number] = self.sent[target]
            self.names.append(f"{target} {name}")
        number = self._numbers[target, process, number]
        if self.injected or self._fault is None or not self._fault.is_at(target, number, done):
            return None
        self.injected = True
        return self._fault.kind

    def _watch_worker(self, process: int, number: int, name: str, done: bool) -> None:
        if not self.crashes and (kind := self._fault_at("worker", process, number, name, done)):
            self._inject(kind, name, self.crash)

    def client(self) -> WiredScheduler:
        """A client; only the first one can be the target."""
        first = not self.client_died.is_set()
        wire = Wire(Process("client"), self._watch_client if first else None)
        settings = {"namespace": NAMESPACE, "retention": RETENTION}
        self._client = WiredScheduler(wire, self._url, clock=self.clock, **settings)
        return self._client

    def _watch_client(self, number: int, name: str, done: bool) -> None:
        if kind := self._fault_at("client", 0, number, name, done):
            self._inject(kind, name, self._kill_client)

    def _kill_client(self) -> None:
        self._client.kill()
        self.client_died.set()

    def _inject(self, kind: Kind, command: str, kill: Callable[[], object]) -> None:
        if kind != "is cut off after":
            kill()
        self._on_fault(command, self.snapshot())
        if kind == "is cut off after":
            raise redis.ConnectionError("cut off")

    def snapshot(self) -> Snapshot:
        return take_snapshot(self._observer, PREFIX)

    # ---- for the clients ----

    async def until(self, since_the_beginning: Duration) -> None:
        """Advance to a moment, unless a client that died has already done so."""
        target = self._began + to_ms(since_the_beginning)
        if self.clock.ms < target:
            await self.advance((target - self.clock.ms) / 1000)

    async def ids(self, prefix: str) -> set[int]:
        """The numbers of the existing executions whose ids are this prefix and a number."""
        found = self._observer.keys(f"{PREFIX}x:{prefix}*")
        return {int(key.decode().rpartition("-")[2]) for key in found}  # type: ignore[union-attr]

    async def drain(self) -> None:
        """Stop the worker gracefully, wherever it is, and start another."""
        leaving = self._worker
        if leaving.wire.process.dead:
            return
        leaving.stop()
        while leaving._run_task is not None and not leaving._run_task.done() and not leaving.wire.process.dead:
            await asyncio.sleep(0.001)
        if not leaving.wire.process.dead:
            await self._start_worker()

    def unregister(self, task: str) -> None:
        """Hide a handler from the workers."""
        self._unknown_tasks.add(task)
        self._update_handlers()

    def register(self, task: str) -> None:
        self._unknown_tasks.discard(task)
        self._update_handlers()

    def _look_for_mistakes(self) -> None:
        """A worker that does not know a task is part of a workflow."""
        with suppress(zart.UnknownTask):
            super()._look_for_mistakes()

    def _update_handlers(self) -> None:
        known = [handler for handler in self._handlers or [] if definition_of(handler).name not in self._unknown_tasks]
        self._worker._handlers.give(definitions(known))

    async def _start_worker(self) -> None:
        self._workers += 1
        self._watch = functools.partial(self._watch_worker, self._workers)
        await super()._start_worker()
        if self._unknown_tasks:
            self._update_handlers()

    async def __aexit__(self, *raised: Any) -> None:
        self._watch = None
        self._worker.wire.watch = None
        self._observer.close()
        await super().__aexit__(*raised)
