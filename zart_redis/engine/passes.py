"""The machinery of a pass: what the body is blocked on, which tasks it has, when there is nothing it can do but wait,
and how it is parked, resumed and ended. What the durable calls mean is in `execution`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zart_redis.engine import journal
from zart_redis.engine.ports import ChildRequest, Port, Ready, Surroundings, WaitRequest
from zart_redis.model import ExecutionInfo, Fenced

T = TypeVar("T")

DRAIN = "drain"
"""The kind of wait of a call that a draining worker does not begin; the store knows nothing of it."""

QUIET_TURNS = 16
"""Turns of the event loop without a durable call after which a body with several tasks counts as blocked. A hop
through nested task groups takes a few turns."""


@dataclass(slots=True, eq=False)
class Wait:
    """A durable call that is blocked."""

    kind: str
    name: str
    argument: str
    ended: asyncio.Future[bytes]
    task: asyncio.Task[Any] | None
    members: Sequence[str] = ()
    registered: bool = False
    is_lost: bool = False
    """Registered, and lost by the store since."""


@dataclass(slots=True)
class Signals:
    """What the driver is told from inside and from the worker."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    quiet: bool = False
    poked: bool = False
    lost: bool = False
    broken: Exception | None = None
    """The store failed; that is no failure of the body, which is put off."""
    draining: bool = False


class Pass:
    """One pass of one body, as its driver sees it.

    Invariants:
        A call is in `_blocked` from the moment it blocks until the store's answer ends it.
        `_in_place` counts the calls that run something here, or record it.
        While `_gate` is there, the store is being asked whether the body may stay, and nothing new begins.
    """

    def __init__(
        self, port: Port, info: ExecutionInfo, at: Surroundings, records: dict[str, bytes], events: dict[str, bytes]
    ) -> None:
        self.info = info
        self.signals = Signals()
        self.tasks: dict[asyncio.Task[Any], asyncio.Task[Any] | None] = {}
        self.records = records
        self._events = events
        self._port = port
        self._at = at
        self._blocked: dict[tuple[str, str], Wait] = {}
        self._unsent: list[ChildRequest] = []
        self._sending: asyncio.Task[None] | None = None
        self._in_place = 0
        self._numbered = 0
        """Waits that have a number for a name."""
        self._version = 0
        self._counting = False
        self._closed = False
        self._gate: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    # ---- used by the durable calls ----

    async def _enter(self, step: str | None = None) -> None:
        """Before anything new is begun: not while the pass is being parked, not after it is over, and no step that a
        pause rule holds."""
        while True:
            if self._closed:
                await asyncio.sleep(0)
                raise asyncio.CancelledError
            rule = self._at.pause_rule(self.info, step) if step is not None else None
            if self.signals.draining:
                self._numbered += 1
                await self._block(DRAIN, str(self._numbered))
            elif self._gate is not None:
                await asyncio.shield(self._gate)
            elif rule is not None and step is not None:
                await self._block(journal.PAUSE, step, rule)
            else:
                return

    async def _block(self, kind: str, name: str, argument: str = "", members: Sequence[str] = ()) -> bytes:
        """Wait for the store to answer with the record that ends this."""
        ended: asyncio.Future[bytes] = self._loop.create_future()
        self._blocked[kind, name] = Wait(kind, name, argument, ended, asyncio.current_task(), members)
        self._stir()
        try:
            return await ended
        finally:
            self._blocked.pop((kind, name), None)
            self._stir()

    async def _transition(self, transition: Awaitable[T]) -> T:
        """A transition asked for by the body; one that is refused, or fails, ends the pass and never returns to it."""
        try:
            return await transition
        except Fenced:
            self.lose()
        except Exception as error:
            self.signals.broken = error
            self.signals.changed.set()
        await self._loop.create_future()
        raise AssertionError("the pass is over")

    def _begin_sending(self) -> None:
        if self._sending is None:
            self._sending = self._loop.create_task(self._send(), context=Context())

    async def _send(self) -> None:
        """Writes what has been scheduled, until nothing more comes."""
        try:
            while self._unsent:
                batch, self._unsent = self._unsent, []
                await self._port.schedule(batch)
        except Fenced:
            self.lose()
        except Exception as error:
            self.signals.broken = error
            self.signals.changed.set()
        finally:
            self._sending = None
            self._stir()

    async def flush(self) -> None:
        """Returns when all that was scheduled is registered."""
        while self._sending is not None:
            await asyncio.shield(self._sending)

    def _has_ended(self, name: str) -> bool:
        record = self.records.get(name)
        return record is not None and journal.is_final_step(record)

    # ---- seen by the driver ----

    def adopt(self, task: asyncio.Task[Any], parent: asyncio.Task[Any] | None) -> None:
        """A task of this body: the pass is not over while it can go on."""
        self.tasks[task] = parent
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self.tasks[task]
        if self._closed and not task.cancelled():
            task.exception()  # what a body raises while it is put away is nobody's concern
        self._stir()

    def lose(self) -> None:
        """The claim is lost: the pass is over, whatever it was doing."""
        self.signals.lost = True
        self.signals.changed.set()

    def poke(self) -> None:
        """Something that the held body waits for may have been recorded."""
        self.signals.poked = True
        self.signals.changed.set()

    def drain(self) -> None:
        """Begin nothing new; what runs may end and be recorded."""
        self.signals.draining = True
        self._stir()

    def close(self) -> None:
        """From now on durable calls do nothing but unwind."""
        self._closed = True

    @property
    def is_blocked(self) -> bool:
        return bool(self._blocked) and self._in_place == 0 and self._sending is None

    @property
    def is_drained(self) -> bool:
        """Nothing runs any more, and something was not begun."""
        return self.is_blocked and any(wait.kind == DRAIN for wait in self._blocked.values())

    def idle_tasks(self) -> list[asyncio.Task[Any]]:
        """Tasks that are blocked on nothing durable, and on no other task of the body."""
        durable = {wait.task for wait in self._blocked.values()}
        parents = set(self.tasks.values())
        return [task for task in self.tasks if task not in durable and task not in parents]

    def _stir(self) -> None:
        """Something has moved. If all that the body does is to wait, the driver is told; with several tasks only
        after a few turns without a durable call, since one of them may be about to go on."""
        self._version += 1
        if not self._blocked or self._closed:
            return
        if self.is_blocked and {wait.task for wait in self._blocked.values()} == self.tasks.keys():
            self._be_quiet()
        elif not self._counting:
            self._counting = True
            self._loop.call_soon(self._count, self._version, QUIET_TURNS)

    def _count(self, version: int, turns: int) -> None:
        if version != self._version:
            version, turns = self._version, QUIET_TURNS
        if not self._blocked or self._closed:
            self._counting = False
        elif turns:
            self._loop.call_soon(self._count, version, turns - 1)
        else:
            self._counting = False
            self._be_quiet()

    def _be_quiet(self) -> None:
        self.signals.quiet = True
        self.signals.changed.set()

    async def park(self) -> bool:
        """Register what the body is blocked on; go on with what has ended. Answers whether the body is parked.

        While the store is asked, nothing new begins: it may answer that the body is no longer ours.
        """
        hold = not (self.signals.quiet and self.is_blocked)
        waits = [wait for wait in self._blocked.values() if wait.kind != DRAIN]
        if hold and not self.signals.poked and all(wait.registered for wait in waits):
            return False
        self._gate = self._loop.create_future()
        try:
            ready = await self._register(waits, hold)
            for item in ready or ():
                await self._end(item)
            return ready is None
        finally:
            self._gate.set_result(None)
            self._gate = None
            self.signals.quiet = False
            self._stir()

    async def _register(self, waits: Sequence[Wait], hold: bool) -> list[Ready] | None:
        self.signals.poked = False
        await self.flush()
        for wait in waits:
            if wait.members and not wait.registered:
                await self._port.join(wait.name, wait.members)
            wait.registered = True
        return await self._port.park([WaitRequest(wait.kind, wait.name, wait.argument) for wait in waits], hold)

    async def _end(self, ready: Ready) -> None:
        wait = self._blocked.get((ready.kind, ready.name))
        if wait is None:
            return
        if ready.kind == journal.GROUP:
            self.records.update(await self._port.load(wait.members))
            if not wait.is_lost and not all(map(self._has_ended, wait.members)):
                # The store has lost that it was registered: it is registered again, once.
                wait.registered, wait.is_lost = False, True
                return
        elif ready.kind == journal.EVENT and journal.letter_of(ready.record) == "E":
            self._events[ready.name] = ready.record[1:]
        # Taken out here, not when its task runs: until then it must not count as blocked.
        self._blocked.pop((ready.kind, ready.name), None)
        if not wait.ended.done():
            wait.ended.set_result(ready.record)
