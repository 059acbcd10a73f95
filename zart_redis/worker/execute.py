"""Runs what has been claimed: one task for each body or scheduled step, found again by its stream entry."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zart_redis.engine.lifecycle import BodyRun
from zart_redis.engine.ports import Surroundings
from zart_redis.engine.scheduled import StepRun
from zart_redis.errors import SerializationError
from zart_redis.logs import get_logger
from zart_redis.model import BodyClaim, Fenced, StepClaim, Unreadable
from zart_redis.registry import HandlerDefinition
from zart_redis.store.commits import Clock
from zart_redis.store.store import Partition
from zart_redis.worker.ports import BodyPort, StepPort

log = get_logger()

UNKNOWN_TASK_DELAYS_MS = (500, 15_000)
"""Shortest and longest time for which a task that is not known here is put off, uncounted: a quarter of its age."""
TROUBLE_DELAY_MS = 2_000
"""How long work is put off that met an error of ours or of the store's."""

Slot = tuple[str, str]
"""A partition's prefix and an entry: what a claim is known by."""


@dataclass(slots=True, eq=False)
class Active:
    """A claim that is being run."""

    name: str
    """For operators: an execution's id, and the name of a scheduled step behind it."""
    task: asyncio.Task[None]
    body: BodyRun | None = None
    dropped: bool = False
    """Given up although the claim may still be ours."""


class Slots:
    """The places of a worker: as many bodies and steps run at a time."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._freed = asyncio.Event()

    async def take(self, most: int) -> int:
        """Take up to `most` places, at least one."""
        while self._free <= 0:
            self._freed.clear()
            await self._freed.wait()
        taken = min(most, self._free)
        self._free -= taken
        return taken

    def give(self, number: int) -> None:
        self._free += number
        self._freed.set()


@dataclass(slots=True)
class Executor:
    """Owns every run. A claim occupies a slot from `begin` until its last transition is answered."""

    handlers: Callable[[], Mapping[str, HandlerDefinition]]
    at: Surroundings
    slots: Slots
    retention_ms: int
    clock: Clock
    active: dict[Slot, Active] = field(default_factory=dict)
    troubled: int = 0
    """How often a claim was not handed back: it may still pend for this worker, and must then be claimed again."""

    def begin(self, partition: Partition, claim: BodyClaim | StepClaim) -> None:
        if isinstance(claim, BodyClaim):
            name, run = claim.execution_id, self._run_body(partition, claim)
        else:
            name, run = f"{claim.execution_id} {claim.name}", self._run_step(partition, claim)
        # A Redis that has lost the claim of this entry may hand it out again while the old one still runs here.
        self.drop(partition.prefix, claim.entry)
        slot = (partition.prefix, claim.entry)
        task = asyncio.get_running_loop().create_task(run)
        active = self.active[slot] = Active(name, task)
        task.add_done_callback(functools.partial(self._ended, slot, active))

    def _ended(self, slot: Slot, active: Active, task: asyncio.Task[None]) -> None:
        if self.active.get(slot) is active:
            del self.active[slot]
        self.troubled += active.dropped
        self.slots.give(1)
        if not task.cancelled() and (error := task.exception()):
            self.troubled += 1
            log.error("work could not be handed back; it will be claimed again", entry=slot[1], error=repr(error))

    def poke(self, prefix: str, entry: str) -> None:
        """Something that a held body waits for has been recorded."""
        active = self.active.get((prefix, entry))
        if active and active.body and active.body.execution:
            active.body.execution.poke()

    def drop(self, prefix: str, entry: str) -> None:
        """It is said that the work has moved on, and that what still runs of it is in vain. If the claim is ours after
        all, it is made anew."""
        active = self.active.get((prefix, entry))
        if active is None:
            return
        active.dropped = True
        if active.body and active.body.execution:
            active.body.execution.lose()
        else:
            active.task.cancel()

    def drop_all(self) -> None:
        """The lease was lost, and with it every claim but those that were made since, which are claimed anew."""
        for prefix, entry in list(self.active):
            self.drop(prefix, entry)

    def drain(self) -> None:
        """Let bodies end where they are: the step that runs is recorded, then they are handed back."""
        for active in self.active.values():
            if active.body:
                active.body.drain()

    async def stop(self, grace_seconds: float) -> None:
        """Drain, wait, and hand back at once what has not ended by then."""
        self.drain()
        tasks = [active.task for active in self.active.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _run_body(self, partition: Partition, claim: BodyClaim) -> None:
        port = BodyPort(partition, claim, self.retention_ms, self.clock)
        handler = self.handlers().get(claim.task)
        if handler is None:
            await _or_hand_back(partition, claim, functools.partial(self._put_off_unknown, port, claim), port.release)
            return
        body = BodyRun(claim, handler, port, self.at)
        active = self.active[partition.prefix, claim.entry]
        active.body = body
        await _or_hand_back(partition, claim, body.run, port.release)
        active.dropped |= body.lost

    async def _put_off_unknown(self, port: BodyPort, claim: BodyClaim) -> None:
        shortest, longest = UNKNOWN_TASK_DELAYS_MS
        delay = min(max((claim.now - claim.created) // 4, shortest), longest)
        log.warning("put off: this worker knows no such task", execution_id=claim.execution_id, task=claim.task)
        await _ignoring_fence(port.release, delay)

    async def _run_step(self, partition: Partition, claim: StepClaim) -> None:
        port = StepPort(partition, claim)
        step = StepRun(claim, self._input_loader(claim), port, self.at)
        hand_back = functools.partial(port.postpone, claim.failed_attempts)
        active = self.active[partition.prefix, claim.entry]
        await _or_hand_back(partition, claim, step.run, hand_back)
        active.dropped |= step.lost

    def _input_loader(self, claim: StepClaim) -> Callable[[], Any]:
        handler = self.handlers().get(claim.task)
        if handler is None:
            return lambda: None
        return functools.partial(handler.input.decode, claim.input, f"the input of task {claim.task!r}")


async def _or_hand_back(
    partition: Partition,
    claim: BodyClaim | StepClaim,
    run: Callable[[], Any],
    hand_back: Callable[[int | None], Any],
) -> None:
    """Whatever stops a run that is not its own end, the work is queued again: at once if it was cut off. What is stored
    of it may be damaged so that the store cannot go on with it; then it is set aside."""
    try:
        try:
            await run()
        except asyncio.CancelledError:
            await asyncio.shield(_ignoring_fence(hand_back, None))
        except SerializationError:
            raise
        except Exception:
            log.exception("work is put off: it met an unexpected error", execution_id=claim.execution_id)
            await _ignoring_fence(hand_back, TROUBLE_DELAY_MS)
    except SerializationError as error:
        await set_aside(partition, Unreadable(claim.execution_id, str(error), claim.queue, claim.entry))


async def set_aside(partition: Partition, work: Unreadable) -> None:
    """Take what cannot be read out of the way, and say so."""
    if work.entry:
        await partition.transitions.set_aside(work)
    log.error(
        "set aside: what is stored cannot be read; `zart doctor` names it",
        execution_id=work.execution_id or None,
        reason=work.reason,
    )


async def _ignoring_fence(hand_back: Callable[[int | None], Any], delay_ms: int | None) -> None:
    try:
        await hand_back(delay_ms)
    except Fenced:
        pass
