"""The stage on which one run is played: a harness whose worker, or whose client, meets its fate at one command."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import redis

from tests.crash.places.laws import Snapshot, take_snapshot
from zart_redis.durations import Duration, to_ms
from zart_redis.store import keys
from zart_redis.testing import Harness
from zart_redis.testing.process import Process
from zart_redis.testing.wire import Wire, WiredScheduler

NAMESPACE = "places"
PREFIX = keys.prefix(NAMESPACE, 0)
RETENTION = "400d"


Victim = Literal["worker", "client"]
VICTIMS: tuple[Victim, ...] = get_args(Victim)
Fate = Literal["dies before", "dies after", "is cut off after"]
FATES: tuple[Fate, ...] = get_args(Fate)
"""It dies before the command is sent, or when it is carried out and its reply unread; or the connection breaks then."""


@dataclass(frozen=True)
class Place:
    """At which command of whom, and what happens there."""

    victim: Victim
    number: int
    fate: Fate

    def __str__(self) -> str:
        return f"the {self.victim} {self.fate} command {self.number}"

    def is_at(self, victim: Victim, number: int, done: bool) -> bool:
        """Whether this is it, as seen before a command is sent or when it was carried out."""
        return (self.victim, self.number, self.fate != "dies before") == (victim, number, done)


class Stage(Harness):
    """`on_fate` is called when it is met, with all keys as they stand then."""

    def __init__(
        self,
        handlers: Iterable[Any],
        url: str,
        place: Place | None,
        on_fate: Callable[[str, Snapshot], None],
    ) -> None:
        super().__init__(handlers, server=url, namespace=NAMESPACE, retention=RETENTION, patience="20s")
        self._place = place
        self._began = self.clock.ms
        self._on_fate = on_fate
        self._watcher = redis.Redis(unix_socket_path=url.removeprefix("unix://"))
        self._strangers: set[str] = set()
        self.sent = {"worker": 0, "client": 0}
        self.names: list[str] = []
        self.met = False
        self.racy = False
        """Set by a client whose outcome depends on who is faster: then only the laws are compared."""
        self.client_died = asyncio.Event()
        self._numbers: dict[tuple[Victim, int, int], int] = {}
        self._workers = 0

    # ---- fate ----

    def _meets(self, victim: Victim, process: int, number: int, name: str, done: bool) -> Fate | None:
        """What happens here. Commands are counted through all workers, or clients, that follow one another."""
        if not done:
            self.sent[victim] += 1
            self._numbers[victim, process, number] = self.sent[victim]
            self.names.append(f"{victim} {name}")
        number = self._numbers[victim, process, number]
        if self.met or self._place is None or not self._place.is_at(victim, number, done):
            return None
        self.met = True
        return self._place.fate

    def _watch_worker(self, process: int, number: int, name: str, done: bool) -> None:
        if not self.crashes and (fate := self._meets("worker", process, number, name, done)):
            self._fulfil(fate, name, self.crash)

    def client(self) -> WiredScheduler:
        """A client; the first one may be the victim."""
        first = not self.client_died.is_set()
        wire = Wire(Process("client"), self._watch_client if first else None)
        settings = {"namespace": NAMESPACE, "retention": RETENTION}
        self._client = WiredScheduler(wire, self._url, clock=self.clock, **settings)
        return self._client

    def _watch_client(self, number: int, name: str, done: bool) -> None:
        if fate := self._meets("client", 0, number, name, done):
            self._fulfil(fate, name, self._kill_client)

    def _kill_client(self) -> None:
        self._client.kill()
        self.client_died.set()

    def _fulfil(self, fate: Fate, command: str, kill: Callable[[], object]) -> None:
        if fate != "is cut off after":
            kill()
        self._on_fate(command, self.snapshot())
        if fate == "is cut off after":
            raise redis.ConnectionError("cut off")

    def snapshot(self) -> Snapshot:
        return take_snapshot(self._watcher, PREFIX)

    # ---- for the clients ----

    async def until(self, since_the_beginning: Duration) -> None:
        """Advance to a moment, unless a client that died has seen to it."""
        target = self._began + to_ms(since_the_beginning)
        if self.clock.ms < target:
            await self.advance((target - self.clock.ms) / 1000)

    async def ids(self, prefix: str) -> set[int]:
        """The numbers behind this prefix that there are executions of."""
        found = self._watcher.keys(f"{PREFIX}x:{prefix}*")
        return {int(key.decode().rpartition("-")[2]) for key in found}  # type: ignore[union-attr]

    async def drain(self) -> None:
        """Stop the worker in order, wherever it is, and start another."""
        leaving = self._worker
        if leaving.wire.process.dead:
            return
        leaving.stop()
        while leaving._run_task is not None and not leaving._run_task.done() and not leaving.wire.process.dead:
            await asyncio.sleep(0.001)
        if not leaving.wire.process.dead:
            await self._start_worker()

    def unknown(self, task: str) -> None:
        """No worker knows it for the time being."""
        self._strangers.add(task)
        self._teach()

    def known(self, task: str) -> None:
        self._strangers.discard(task)
        self._teach()

    def _teach(self) -> None:
        known = {handler.name: handler for handler in self._handlers or []}
        self._worker._handlers = {
            name: handler.definition for name, handler in known.items() if name not in self._strangers
        }

    async def _start_worker(self) -> None:
        self._workers += 1
        self._watch = functools.partial(self._watch_worker, self._workers)
        await super()._start_worker()
        if self._strangers:
            self._teach()

    async def __aexit__(self, *raised: Any) -> None:
        self._watch = None
        self._worker.wire.watch = None
        self._watcher.close()
        await super().__aexit__(*raised)
