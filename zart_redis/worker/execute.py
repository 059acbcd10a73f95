"""Runs claimed work: one asyncio task for each body or scheduled step, identified by its stream entry."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zart_redis.engine.context import WorkerContext
from zart_redis.engine.holds import delay_of
from zart_redis.engine.lifecycle import BodyRun
from zart_redis.engine.observer import Claim, Observer, Release, ReleaseReason
from zart_redis.engine.scheduled import StepRun
from zart_redis.errors import SerializationError
from zart_redis.layout import Signal, is_newer_record
from zart_redis.model import BodyClaim, Clock, ExecutionInfo, Fenced, StepClaim, Unreadable, Unserved
from zart_redis.store.store import Partition, Store
from zart_redis.worker.adapters import BodyAdapter, StepAdapter
from zart_redis.worker.kept import KeptBodies
from zart_redis.worker.known import KnownHandlers
from zart_redis.worker.service import Service, Subscribe
from zart_redis.worker.unreadable import set_aside

UNKNOWN_TASK_DELAYS_MS = (500, 15_000)
"""Bounds of the delay before an execution that has not begun, and whose task is unknown here, can be claimed again: a
quarter of its age."""
HAND_BACK_SECONDS = 0.5
"""How long a worker that stops tries to return its work, at the end of its grace."""
ERROR_DELAY_MS = 2_000
"""Delay before work that met an unexpected error can be claimed again."""

Slot = tuple[str, str, str]
"""A partition's prefix, a queue and an entry of it: identifies a claim."""


def slot_of(partition: Partition, claim: Claim) -> Slot:
    return partition.prefix, claim.queue, claim.entry


@dataclass(slots=True, eq=False)
class Active:
    """A claim that is being run."""

    claim: Claim
    task: asyncio.Task[None]
    body: BodyRun | None = None
    given_up: bool = False
    """The run was revoked, or its claim lost. If that was wrong, the entry is still pending for this worker."""
    progress: asyncio.Event | None = None
    """Set when a suspect has recorded something."""

    @property
    def name(self) -> str:
        """For operators: an execution's id, and the name of a scheduled step behind it."""
        claim = self.claim
        return claim.execution_id if isinstance(claim, BodyClaim) else f"{claim.execution_id} {claim.name}"


class Slots:
    """Limits how many bodies and steps run at a time."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._freed = asyncio.Event()

    async def take(self, most: int) -> int:
        """Wait for a free slot, and take up to `most`."""
        while self._free <= 0:
            self._freed.clear()
            await self._freed.wait()
        taken = min(most, self._free)
        self._free -= taken
        return taken

    def give(self, number: int) -> None:
        self._free += number
        self._freed.set()


@dataclass(eq=False)
class Executor(Service):
    """Owns every run. A claim occupies a slot from `begin` until the reply to its last transition."""

    store: Store
    handlers: KnownHandlers
    context: WorkerContext
    observer: Observer
    clock: Clock
    pause_rule: Callable[[str, ExecutionInfo, str], str | None]
    """As `PauseRuleFor`, with the queue before."""
    slots: Slots
    kept: KeptBodies
    grace_seconds: float

    def __post_init__(self) -> None:
        self.active: dict[Slot, Active] = {}
        self.unreleased_claims = 0
        """Counts claims that were not released: their entries may still be pending for this worker."""
        self.unreleased_listeners: list[Callable[[], None]] = []
        """Called when a claim was not released."""

    @property
    def partitions(self) -> Sequence[Partition]:
        return self.store.partitions

    async def listen(self, subscribe: Subscribe) -> None:
        for partition in self.partitions:
            await subscribe(partition.worker_channel(self.context.worker), self._message_handler(partition))

    async def stop(self) -> None:
        """Let bodies finish the steps that run, and return what has not ended within the grace to its queue."""
        for active in self.active.values():
            if active.body:
                active.body.drain()
        tasks = [active.task for active in self.active.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self.grace_seconds)
            for task in late:
                task.cancel()
            if late:
                _, late = await asyncio.wait(late, timeout=HAND_BACK_SECONDS)
            if late:  # Redis cannot be reached: others take the work when the lease has expired
                for partition in self.partitions:
                    partition.commits.lose_patience()
                _, late = await asyncio.wait(late, timeout=HAND_BACK_SECONDS)
            if late:
                for partition in self.partitions:
                    partition.commits.abort()
                await asyncio.wait(late)
        self.kept.clear()

    def _message_handler(self, partition: Partition) -> Callable[[bytes | None], None]:
        """Handles what scripts publish to the worker that holds an entry. A missed message does no harm: the worker's
        next transition reports the same."""

        def handle(message: bytes | None) -> None:
            word, _, held = (message or b"").decode(errors="replace").partition(" ")
            entry, _, queue = held.partition(" ")
            slot = partition.prefix, queue, entry
            if word == Signal.WAKE:
                self._wake(slot)
            elif word == Signal.REVOKE:
                self.revoke(slot)

        return handle

    def begin_all(self, partition: Partition, claims: Iterable[Claim | Unserved | Unreadable]) -> int:
        """Run what was claimed. Returns how many slots that takes."""
        started = 0
        for claim in claims:
            if isinstance(claim, Unserved):
                self.observer.left_unserved(claim)
            elif not isinstance(claim, Unreadable):
                self.begin(partition, claim)
                started += 1
        return started

    def begin(self, partition: Partition, claim: Claim) -> Active:
        self.observer.claimed(claim)
        # A Redis that has lost the claim of this entry may deliver it again while the earlier run still exists.
        slot = slot_of(partition, claim)
        self.revoke(slot)
        run = self._run_body(partition, claim) if isinstance(claim, BodyClaim) else self._run_step(partition, claim)
        task = asyncio.get_running_loop().create_task(run)
        active = self.active[slot] = Active(claim, task)
        if claim.blame.suspect:
            active.progress = asyncio.Event()
        task.add_done_callback(functools.partial(self._ended, slot, active))
        return active

    def _ended(self, slot: Slot, active: Active, task: asyncio.Task[None]) -> None:
        if self.active.get(slot) is active:
            del self.active[slot]
        if active.given_up:
            self._count_unreleased()
        self.slots.give(1)
        if not task.cancelled() and (error := task.exception()):
            self._count_unreleased()
            self.observer.release_failed(active.claim, error)

    def _count_unreleased(self) -> None:
        self.unreleased_claims += 1
        for listener in self.unreleased_listeners:
            listener()

    def _wake(self, slot: Slot) -> None:
        """A completion that a held body waits for has been recorded."""
        active = self.active.get(slot)
        if active and active.body and active.body.execution:
            active.body.execution.wake()

    def revoke(self, slot: Slot) -> None:
        """Stop a run whose claim was reportedly revoked. If the report was false, the entry is claimed again."""
        active = self.active.get(slot)
        if active is None:
            return
        active.given_up = True
        if active.body and active.body.execution:
            active.body.execution.revoke()
        else:
            active.task.cancel()

    async def _run_body(self, partition: Partition, claim: BodyClaim) -> None:
        context, keeps = self.context, bool(self.kept)
        active = self.active[slot_of(partition, claim)]
        port = BodyAdapter(self.store, partition, claim, context, active.progress, keeps=keeps)
        kept = self.kept.take(partition.prefix, claim)
        if kept is not None:
            active.body = kept
            await self._run(partition, claim, lambda: kept.resume(claim, port), port.release)
        else:
            await self._run(partition, claim, lambda: self._begin_body(partition, claim, port, active), port.release)
        if active.body is not None:
            active.given_up |= active.body.lost
            if active.body.is_parked:
                self.kept.put(partition.prefix, claim, active.body)

    async def _begin_body(self, partition: Partition, claim: BodyClaim, port: BodyAdapter, active: Active) -> None:
        if claim.kept_at:
            try:
                claim = await partition.transitions.load(claim)
            except Fenced:
                self.observer.fenced(claim)
                active.given_up = True
                return
        handler = self.handlers.find(claim.task, claim.version)
        if handler is None:
            await self._hold_unknown(claim, port)
            return
        if handler.limits and len(self.partitions) > 1:
            release = Release(ReleaseReason.CODE_MISMATCH, delay_of(claim), "limits work only with one partition")
            await self._release(claim, lambda delay_ms: port.hold(delay_ms or 0, release.detail), release)
            return
        if newer := [name for name, record in claim.records.items() if is_newer_record(record)]:
            release = Release(ReleaseReason.NEWER_RECORD, delay_of(claim), f"a newer version has recorded {newer[0]!r}")
            await self._release(claim, lambda delay_ms: port.hold(delay_ms or 0, release.detail), release)
            return
        active.body = BodyRun(
            claim,
            handler,
            port,
            self.context,
            observer=self.observer,
            clock=self.clock,
            pause_rule=functools.partial(self.pause_rule, claim.queue),
        )
        await active.body.run()

    async def _hold_unknown(self, claim: BodyClaim, port: BodyAdapter) -> None:
        """Leave a body to a worker that knows its task."""
        shortest, longest = UNKNOWN_TASK_DELAYS_MS
        waited = min(max((claim.now - claim.created) // 4, shortest), longest)
        delay_ms, detail = delay_of(claim) if claim.has_begun else waited, f"no worker here knows task {claim.task!r}"
        release = Release(ReleaseReason.UNKNOWN_TASK, delay_ms, detail)
        await self._release(claim, lambda _: port.hold_unknown(delay_ms, detail), release)

    async def _run_step(self, partition: Partition, claim: StepClaim) -> None:
        port = StepAdapter(partition, claim, self.context.code, self.context.max_stream)
        step = StepRun(claim, self._input_loader(claim), port, self.context, self.observer)
        active = self.active[slot_of(partition, claim)]
        await self._run(partition, claim, step.run, functools.partial(port.postpone, claim.failed_attempts))
        active.given_up |= step.lost

    def _input_loader(self, claim: StepClaim) -> Callable[[], Any]:
        handler = self.handlers.find(claim.task, claim.version)
        if handler is None:
            return lambda: None
        return functools.partial(handler.input.decode, claim.input, f"the input of task {claim.task!r}")

    async def _run(
        self,
        partition: Partition,
        claim: Claim,
        run: Callable[[], Awaitable[None]],
        release: Callable[[int | None], Awaitable[None]],
    ) -> None:
        """Return the work to its queue if the run is cancelled or meets an unexpected error. If the store cannot read
        the work, it is set aside."""
        try:
            try:
                await run()
            except asyncio.CancelledError:
                await asyncio.shield(self._release(claim, release, Release(ReleaseReason.STOPPING)))
            except SerializationError:
                raise
            except Exception as error:
                await self._release(claim, release, Release(ReleaseReason.ERROR, ERROR_DELAY_MS, error=error))
        except SerializationError as error:
            unreadable = Unreadable(claim.execution_id, str(error), claim.queue, claim.entry)
            await set_aside(partition, unreadable, self.observer)

    async def _release(self, claim: Claim, release: Callable[[int | None], Awaitable[None]], why: Release) -> None:
        self.observer.released(claim, why)
        try:
            await release(why.delay_ms)
        except Fenced:
            self.observer.fenced(claim)
