"""Implements the engine's ports with the transitions of the store, for one claim each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

from zart_redis.engine import journal
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.emitting import Emitted, Emitter
from zart_redis.engine.history import read_news
from zart_redis.engine.journal import is_final_step
from zart_redis.engine.ports import (
    ChildRequest,
    Completion,
    News,
    ScheduleRequest,
    StartArguments,
    WaitRequest,
)
from zart_redis.errors import ExecutionAlreadyExists
from zart_redis.layout import Ack, Size, Wait
from zart_redis.model import BodyClaim, StepClaim
from zart_redis.store.mailbox import MessageKey, mailbox_bounds
from zart_redis.store.replies import Held, HeldStep, Parked
from zart_redis.store.store import Partition, Store
from zart_redis.worker.outbox import Outbox

T = TypeVar("T")

STEP_BATCH = 200
"""Scheduled steps in one script: a script blocks the server while it runs."""


_WAITS = {kind: letter for letter, kind in journal.KINDS_OF_WAITS.items()}


class BodyAdapter:
    """The transitions of a body that this worker holds: an `engine.ports.BodyPort`."""

    def __init__(
        self,
        store: Store,
        partition: Partition,
        claim: BodyClaim,
        context: WorkerContext,
        progress: asyncio.Event | None,
        *,
        keeps: bool,
    ) -> None:
        self._store = store
        self._claim = claim
        self._context = context
        self._transitions = partition.transitions
        self._held = Held(claim.execution_id, claim.fence, claim.scope, "")
        self._queue = claim.queue
        self._progress = progress
        """Set, if there is one, when something is recorded."""
        self._keeps = keeps
        """Whether this worker keeps the body in memory when it is parked."""
        self._outbox = Outbox(self._send)
        self._synchronize(claim.now)

    def now(self) -> int:
        supplied = self._store.clock()
        return self._server_time + round((time.monotonic() - self._read_at) * 1000) if supplied is None else supplied

    def _synchronize(self, now: int) -> None:
        self._server_time, self._read_at = now, time.monotonic()

    def _depends_on(self, ack: str) -> None:
        """The body depends on a reply from now on; see `scripts/lib/fence.lua`."""
        held = self._held
        self._held = Held(held.execution_id, held.fence, held.scope, ack)
        if self._progress is not None:
            self._progress.set()

    def emit(self, emitter: Emitter, emitted: Emitted) -> None:
        self._outbox.put(emitter, emitted)

    async def _send(self, emitter: Emitter, first: int, emissions: Sequence[Emitted]) -> None:
        source = emitter.step, emitter.attempt, emitter.token
        await self._transitions.emit(self._held, source, first, self._context.max_stream, emissions)

    async def _settled(self) -> Held:
        """The claim, once all that was emitted under it is stored: no record comes before it."""
        if self._outbox:
            await self._outbox.drain()
        return self._held

    async def record(self, name: str, record: bytes, *, ordered: bool) -> bytes:
        reply = await self._transitions.record(await self._settled(), name, record, ordered)
        self._depends_on(Ack.RECORD + name)
        return record + reply if len(reply) == Size.STAMP else reply

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        record, now = await self._transitions.attempt(await self._settled(), name, failed, timeout_ms, delay_ms, note)
        self._synchronize(now)
        self._depends_on((Ack.RECORD if is_final_step(record) else Ack.ATTEMPTS) + name)
        return record

    async def schedule(self, children: Sequence[ScheduleRequest]) -> None:
        batches, held = _batches(children), await self._settled()
        await asyncio.gather(*(self._transitions.schedule(held, self._queue, batch) for batch in batches))
        self._depends_on(Ack.STEP + children[-1].name)

    async def start_children(self, children: Sequence[ChildRequest]) -> Mapping[str, str]:
        held, refused = await self._settled(), dict[str, str]()
        if any(child.start.limits for child in children):
            self._store.check_limits()
        home = self._store.partition(self._claim.execution_id)
        for batch in _batches(children):
            rows = [
                (
                    child.name,
                    child.execution_id,
                    child.start,
                    child.number,
                    self._store.partition(child.execution_id) is home,
                )
                for child in batch
            ]
            refused |= await self._transitions.start_children(held, self._store.partitions.index(home), rows)
        if started := [child.name for child in children if child.name not in refused]:
            self._depends_on(Ack.STEP + started[-1])
        return refused

    async def end_steps(self, records: dict[str, bytes]) -> None:
        await self._transitions.end_steps(await self._settled(), records)
        self._depends_on(Ack.RECORD + next(reversed(records)))

    async def join(self, group: str, names: Collection[str]) -> None:
        batches = _batches(list(names))
        await asyncio.gather(*(self._transitions.join(self._held, group, batch) for batch in batches))

    async def park(
        self, new: Sequence[WaitRequest], gone: Sequence[tuple[str, str]], hold: bool, seen: int
    ) -> News | None:
        waits = [_wait(request) for request in new]
        forgotten = [(_WAITS[kind], name) for kind, name in gone]
        completions: list[Completion] = []
        await self._settled()
        for batch in _batches(waits[:-STEP_BATCH]):
            answer = await self._transitions.park(self._held, seen, "1", batch, ())
            seen = self._read(answer, completions)
        how: Literal["1", "0", "keep"] = "1" if hold or completions else "keep" if self._keeps else "0"
        answer = await self._transitions.park(self._held, seen, how, waits[-STEP_BATCH:], forgotten)
        if answer.state == "parked":
            return None
        return News(self._read(answer, completions), completions)

    def _read(self, answer: Parked, completions: list[Completion]) -> int:
        """Add the news of a reply. Returns the number up to which all completions are known."""
        self._synchronize(answer.now)
        if answer.state == "ready":
            self._depends_on(f"{Ack.SIGNALLED}{answer.now}")
        completions += read_news(answer.completions)
        return answer.seen

    async def limit(self, timeout_ms: int) -> None:
        await self._transitions.set_deadline(self._held, timeout_ms)

    async def gate(self, limits: str) -> bool:
        return await self._transitions.gate(self._held, limits)

    async def send(self, execution_id: str, channel: str, payload: bytes, key: str) -> None:
        transitions = self._store.partition(execution_id).transitions
        bounds = mailbox_bounds(self._context.max_mailbox, self._context.max_payload)
        await transitions.send(execution_id, channel, payload, MessageKey.of_body(key), bounds)

    async def start(self, arguments: StartArguments, nonce: bytes) -> None:
        if arguments.limits:
            self._store.check_limits()
        started = await self._store.partition(arguments.execution_id).transitions.start(*arguments, nonce)
        if started.run is None:
            raise ExecutionAlreadyExists(arguments.execution_id, started.status)

    async def finish(self, output: bytes, retention_ms: int | None) -> None:
        await self._transitions.finish(await self._settled(), output, self._retention(retention_ms))

    async def continue_as_new(
        self, data: bytes, timeout_ms: int | None, received: Collection[str], limits: str
    ) -> None:
        await self._transitions.continue_as_new(await self._settled(), data, timeout_ms, received, limits)

    async def fail(self, error: bytes, retention_ms: int | None) -> None:
        await self._transitions.fail(await self._settled(), error, self._retention(retention_ms))

    async def compensate(self, failure: bytes) -> tuple[int, int]:
        begun = await self._transitions.begin_on_failure(await self._settled(), failure)
        self._held = Held(self._held.execution_id, self._held.fence, begun.scope, "")
        return begun.clock_base, begun.completions

    async def retry(self, delay_ms: int, note: bytes) -> None:
        await self._transitions.retry(await self._settled(), delay_ms, note)

    async def release(self, delay_ms: int | None) -> None:
        await self._transitions.release(self._held, delay_ms)

    async def hold(self, delay_ms: int, reason: str) -> None:
        await self._transitions.hold(self._claim, delay_ms, self._context.code, reason, has_begun=True)

    async def hold_unknown(self, delay_ms: int, reason: str) -> None:
        """`hold`, because the task is unknown; the run may not have begun."""
        has_begun = self._claim.has_begun
        await self._transitions.hold(self._claim, delay_ms, self._context.code, reason, has_begun=has_begun)

    def _retention(self, retention_ms: int | None) -> int:
        return self._context.retention_ms if retention_ms is None else retention_ms


class StepAdapter:
    """The transitions of a scheduled step that this worker holds: an `engine.ports.StepPort`."""

    def __init__(self, partition: Partition, claim: StepClaim, code: str, max_stream: int) -> None:
        self._transitions = partition.transitions
        self._max_stream = max_stream
        self._outbox = Outbox(self._send)
        self._code = code
        self._held = HeldStep(claim.execution_id, claim.fence, claim.scope, claim.queue, claim.entry, claim.name)

    def emit(self, emitter: Emitter, emitted: Emitted) -> None:
        self._outbox.put(emitter, emitted)

    async def _send(self, emitter: Emitter, first: int, emissions: Sequence[Emitted]) -> None:
        source = emitter.step, emitter.attempt, emitter.token
        await self._transitions.emit(self._held, source, first, self._max_stream, emissions)

    async def settle(self, record: bytes) -> None:
        if self._outbox:
            await self._outbox.drain()
        await self._transitions.complete_step(self._held, record)

    async def postpone(self, failed: int, delay_ms: int | None, note: bytes = b"", queued_ms: int = 0) -> None:
        if note and self._outbox:  # handed back without an attempt, the step emits it again
            await self._outbox.drain()
        await self._transitions.postpone(self._held, failed, delay_ms, note, queued_ms)

    async def hold(self, failed: int, delay_ms: int, reason: str) -> None:
        await self._transitions.hold_step(self._held, failed, delay_ms, self._code, reason)


def _wait(request: WaitRequest) -> tuple[str, str, str]:
    if request.kind == journal.PAUSE:
        return Wait.PAUSE, request.argument, ""  # known by its rule
    return _WAITS[request.kind], request.name, request.argument


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + STEP_BATCH] for start in range(0, len(items), STEP_BATCH))
