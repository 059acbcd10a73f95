"""The quarantine: suspects run here, one at a time, so that a death identifies the culprit.

After a worker's death everything that it held is a suspect, and waits in a separate lane. A suspect is cleared when
it has recorded something, has been parked, or has run for longer than before the death; then the next one is claimed,
and what was cleared keeps running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from redis import exceptions

from zart_redis.backoff import Backoff
from zart_redis.engine.observer import Observer
from zart_redis.layout import Lane
from zart_redis.logs import get_logger
from zart_redis.model import Blame, Fenced, Unreadable, Unserved
from zart_redis.store.store import Partition
from zart_redis.worker.claim import PENDING_BATCH, Gate
from zart_redis.worker.execute import Active, Executor
from zart_redis.worker.service import Service, Subscribe
from zart_redis.worker.unreadable import set_aside

log = get_logger()

DRAIN_SECONDS = 30.0
"""How long a worker without a pool stays without fresh work until what it runs has ended; then it tries again later."""
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 10.0, 300.0
IDLE_SECONDS = 1.0
"""How long a quarantine process waits for more suspects when it has nothing to do, before it ends."""
MARGIN, MARGIN_SECONDS = 1.25, 0.25
"""How much longer than before the death a suspect must run to be cleared."""


class SuspectWatch(Service):
    """Calls `on_suspects` whenever suspects wait in the queues of a worker for a quarantine process."""

    def __init__(self, partitions: Sequence[Partition], queues: Sequence[str], on_suspects: Callable[[], None]) -> None:
        self._partitions = partitions
        self._queues = queues
        self._on_suspects = on_suspects
        self._changed = asyncio.Event()
        self._changed.set()

    async def listen(self, subscribe: Subscribe) -> None:
        for partition in self._partitions:
            await subscribe(partition.suspects_channel, lambda _: self._changed.set())

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if await any_waiting(self._partitions, self._queues):
                    self._on_suspects()
                backoff.reset()
            except exceptions.RedisError:
                self._changed.set()
                await backoff.wait()


async def any_waiting(partitions: Sequence[Partition], queues: Sequence[str]) -> bool:
    for partition in partitions:
        for queue in queues:
            if await partition.queries.suspects_waiting(queue):
                return True
    return False


class Trials:
    """Claims suspects, and watches them until they are cleared."""

    def __init__(
        self,
        partitions: Sequence[Partition],
        worker: str,
        queues: Sequence[str],
        executor: Executor,
        observer: Observer,
    ) -> None:
        self._partitions = list(partitions)
        self._worker = worker
        self._queues = list(queues)
        self._executor = executor
        self._observer = observer
        self._seen_gaps = -1
        self._backoff = Backoff()

    async def run(self) -> None:
        """Returns when no suspect is left to claim, and none that was claimed is a suspect any more."""
        while (found := await self._claim()) is not None:
            unreleased = self._executor.unreleased_claims
            await self._watch(*found)
            if self._executor.unreleased_claims == unreleased:
                self._backoff.reset()
            else:
                await self._backoff.wait()  # what could not be released is claimed again

    async def _claim(self) -> tuple[Partition, Active] | None:
        delivered = await self._pending_unknown()
        for _ in self._partitions:
            partition = self._partitions[0]
            active = await self._claim_in(partition, delivered.get(partition.prefix, [])[:1])
            if active is not None:
                return partition, active
            self._partitions.append(self._partitions.pop(0))
        return None

    async def _claim_in(self, partition: Partition, delivered: Sequence[tuple[str, str]]) -> Active | None:
        slots, active = self._executor.slots, None
        await slots.take(1)
        try:
            claims = await partition.transitions.claim(self._worker, 1, self._queues, delivered, Lane.SUSPECT)
            for claim in claims:
                if not isinstance(claim, Unreadable | Unserved):  # suspects are claimed whatever their version is
                    active = self._executor.begin(partition, claim)
        finally:
            if active is None:
                slots.give(1)
        for claim in claims:
            if isinstance(claim, Unreadable):
                await set_aside(partition, claim, self._observer)
        return active

    async def _pending_unknown(self) -> dict[str, list[tuple[str, str]]]:
        """Entries by partition that are pending for this worker although it does not run them, after a lost reply."""
        gaps = sum(partition.commits.interruptions for partition in self._partitions) + self._executor.unreleased_claims
        if gaps == self._seen_gaps:
            return {}
        found: dict[str, list[tuple[str, str]]] = {}
        for partition in self._partitions:
            for queue in self._queues:
                for entry in await self._pending(partition, queue):
                    if (partition.prefix, queue, entry) not in self._executor.active:
                        found.setdefault(partition.prefix, []).append((queue, entry))
        if sum(map(len, found.values())) <= 1:
            self._seen_gaps = gaps
        return found

    async def _pending(self, partition: Partition, queue: str) -> list[str]:
        try:
            return await partition.queries.pending(queue, self._worker, PENDING_BATCH, [Lane.SUSPECT])
        except exceptions.ResponseError:
            return []  # no such stream or group yet

    async def _watch(self, partition: Partition, active: Active) -> None:
        """Returns when the suspect has ended or is cleared."""
        if active.progress is None:
            return
        progress = asyncio.create_task(active.progress.wait())
        try:
            await asyncio.wait(
                [progress, active.task],
                timeout=_trial_seconds(active.claim.blame),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            progress.cancel()
        if not active.task.done():
            try:
                await partition.transitions.clear_suspect(active.claim)
            except Fenced:
                pass  # another worker has it


def _trial_seconds(blame: Blame) -> float:
    return blame.ran / 1000 * MARGIN + MARGIN_SECONDS


class Quarantine(Service):
    """The quarantine of a process that runs suspects only. Calls `on_idle` when none are left."""

    def __init__(
        self,
        trials: Trials,
        partitions: Sequence[Partition],
        queues: Sequence[str],
        executor: Executor,
        on_idle: Callable[[], None],
    ) -> None:
        self._trials = trials
        self._executor = executor
        self._on_idle = on_idle
        self._more = asyncio.Event()
        self._watch = SuspectWatch(partitions, queues, self._more.set)

    async def listen(self, subscribe: Subscribe) -> None:
        await self._watch.listen(subscribe)

    async def run(self) -> None:
        watching = asyncio.create_task(self._watch.run())
        try:
            while True:
                self._more.clear()
                await self._trials.run()
                if not await self._more_come() and not self._executor.active:
                    self._on_idle()
        finally:
            watching.cancel()

    async def _more_come(self) -> bool:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._more.wait()
            return True
        except TimeoutError:
            return False


class LoneQuarantine(Service):
    """The quarantine of a worker without a pool: while suspects wait, it claims nothing else, and claims them when
    everything that it runs has ended."""

    def __init__(
        self,
        trials: Trials,
        partitions: Sequence[Partition],
        queues: Sequence[str],
        executor: Executor,
        gate: Gate,
    ) -> None:
        self._trials = trials
        self._partitions = partitions
        self._queues = queues
        self._executor = executor
        self._gate = gate
        self._wanted = asyncio.Event()
        self._watch = SuspectWatch(partitions, queues, self._wanted.set)

    async def listen(self, subscribe: Subscribe) -> None:
        await self._watch.listen(subscribe)
        if await any_waiting(self._partitions, self._queues):
            self._gate.close()  # before any other work is claimed
            self._wanted.set()

    async def run(self) -> None:
        watching = asyncio.create_task(self._watch.run())
        retry = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS)
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                if await self._try_them():
                    retry.reset()
                else:
                    await retry.wait()
                    self._wanted.set()
        finally:
            watching.cancel()

    async def _try_them(self) -> bool:
        """Returns False if what runs does not end."""
        self._gate.close()
        try:
            is_drained = await self._drained()
            if is_drained:
                await self._trials.run()
            return is_drained
        finally:
            self._gate.open()

    async def _drained(self) -> bool:
        deadline = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while self._executor.active or self._gate.claiming:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            tasks = [active.task for active in self._executor.active.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0.01)  # a claim in progress
        return True
