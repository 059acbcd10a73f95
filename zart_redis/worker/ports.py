"""Where the engine and the store meet: the engine's ports, on the transitions of one claim."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from zart_redis.engine.journal import is_final_step
from zart_redis.engine.ports import ChildRequest, Ready, WaitRequest
from zart_redis.model import BodyClaim, StepClaim
from zart_redis.store.commits import Clock
from zart_redis.store.store import Partition
from zart_redis.store.transitions import Held, HeldStep

T = TypeVar("T")

MOST_IN_SCRIPT = 200
"""Scheduled steps that one script handles: it must not hold up the server."""


class BodyPort:
    """The transitions of a body that this worker holds."""

    def __init__(self, partition: Partition, claim: BodyClaim, retention_ms: int, clock: Clock) -> None:
        self._partition = partition
        self._transitions = partition.transitions
        self._held = Held(claim.execution_id, claim.fence, claim.scope, "")
        self._queue = claim.queue
        self._retention_ms = retention_ms
        self._clock = clock
        self._told(claim.now)

    def now(self) -> int:
        supplied = self._clock()
        return self._heard + round((time.monotonic() - self._heard_at) * 1000) if supplied is None else supplied

    def _told(self, now: int) -> None:
        self._heard, self._heard_at = now, time.monotonic()

    def _builds_upon(self, last: str) -> None:
        """The body goes on from an answer; see `scripts/lib/fence.lua`."""
        held = self._held
        self._held = Held(held.execution_id, held.fence, held.scope, last)

    async def record(self, name: str, record: bytes) -> bytes | None:
        first = await self._transitions.record(self._held, name, record)
        self._builds_upon("r" + name)
        return first

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        record, now = await self._transitions.attempt(self._held, name, failed, timeout_ms, delay_ms, note)
        self._told(now)
        self._builds_upon(("r" if is_final_step(record) else "a") + name)
        return record

    async def schedule(self, children: Sequence[ChildRequest]) -> None:
        pieces = _pieces(children)
        await asyncio.gather(*(self._transitions.schedule(self._held, self._queue, piece) for piece in pieces))
        self._builds_upon("c" + children[-1].name)

    async def join(self, group: str, names: Collection[str]) -> None:
        pieces = _pieces(list(names))
        await asyncio.gather(*(self._transitions.join(self._held, group, piece) for piece in pieces))

    async def load(self, names: Sequence[str]) -> dict[str, bytes]:
        held = self._held
        found: dict[str, bytes] = {}
        for piece in _pieces(names):
            found |= await self._partition.queries.records(held.execution_id, held.scope, piece)
        return found

    async def park(self, waits: Sequence[WaitRequest], hold: bool) -> list[Ready] | None:
        answer = await self._transitions.park(self._held, waits, hold)
        if answer.parked:
            return None
        if answer.now is not None:
            self._told(answer.now)
            self._builds_upon(f"t{answer.now}")
        return [Ready(*item) for item in answer.ready]

    async def limit(self, timeout_ms: int) -> None:
        await self._transitions.limit(self._held, timeout_ms)

    async def finish(self, output: bytes, retention_ms: int | None) -> None:
        await self._transitions.finish(self._held, output, self._retention(retention_ms))

    async def fail(self, error: bytes, retention_ms: int | None) -> None:
        await self._transitions.fail(self._held, error, self._retention(retention_ms))

    async def compensate(self, failure: bytes) -> None:
        scope = await self._transitions.compensate(self._held, failure)
        self._held = Held(self._held.execution_id, self._held.fence, scope, "")

    async def retry(self, delay_ms: int, note: bytes) -> None:
        await self._transitions.retry(self._held, delay_ms, note)

    async def release(self, delay_ms: int | None) -> None:
        await self._transitions.release(self._held, delay_ms)

    def _retention(self, retention_ms: int | None) -> int:
        return self._retention_ms if retention_ms is None else retention_ms


class StepPort:
    """The transitions of a scheduled step that this worker holds."""

    def __init__(self, partition: Partition, claim: StepClaim) -> None:
        self._transitions = partition.transitions
        self._held = HeldStep(claim.execution_id, claim.fence, claim.scope, claim.queue, claim.entry, claim.name)

    async def settle(self, record: bytes) -> None:
        await self._transitions.settle(self._held, record)

    async def postpone(self, failed: int, delay_ms: int | None, note: bytes = b"", why: str = "") -> None:
        await self._transitions.postpone(self._held, failed, delay_ms, note, why)


def _pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + MOST_IN_SCRIPT] for start in range(0, len(items), MOST_IN_SCRIPT))
