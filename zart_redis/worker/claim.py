"""Claims the work of one partition while there are free slots, and blocks in Redis while there is no work."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from redis import exceptions

from zart_redis.backoff import Backoff
from zart_redis.engine.observer import Observer
from zart_redis.layout import CLAIM_LANES, GROUP, Lane, streams
from zart_redis.logs import get_logger
from zart_redis.model import Unreadable
from zart_redis.store.connections import Connections
from zart_redis.store.sockets import Reader
from zart_redis.store.store import Partition
from zart_redis.worker.execute import Executor
from zart_redis.worker.service import Service
from zart_redis.worker.unreadable import set_aside

log = get_logger()

CLAIM_BATCH = 64
"""Claims in one script."""
PENDING_BATCH = 1000
MAX_BLOCK_SECONDS = 5.0
"""How long a read may block. Afterwards the worker checks once that the queue and its group still exist."""


def block_seconds(lease_seconds: float) -> float:
    """How long a read blocks. Redis delivers to the blocked read of a worker even if that worker is frozen or cut off,
    so the read must end before the lease: what it was delivered is then found when the worker's work is reclaimed."""
    return min(MAX_BLOCK_SECONDS, lease_seconds / 2)


async def pending_unknown(
    partition: Partition,
    worker: str,
    queues: Sequence[str],
    executor: Executor,
    lanes: Collection[Lane] = CLAIM_LANES,
) -> list[tuple[str, str]]:
    """Queues and entries that are pending for this worker although it does not run them."""
    found = []
    for queue in queues:
        pending = await partition.queries.pending(queue, worker, PENDING_BATCH, lanes)
        found += [(queue, entry) for entry in pending if (partition.prefix, queue, entry) not in executor.active]
    return found


class Gate:
    """Whether work that is not a suspect may be claimed. A quarantine closes it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.claiming = 0
        """Claims in progress."""

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def wait(self) -> None:
        """Returns when it is open."""
        await self._open.wait()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()


class Claims(Service):
    """Never polls: a script claims what is queued, and if nothing was, a read blocks until there is more.

    The read delivers entries to this worker, and the next script claims them together with whatever else has been
    queued. After a lost reply, entries may be pending for this worker that it does not know of. It claims these first.
    """

    def __init__(
        self,
        partition: Partition,
        connections: Connections,
        worker: str,
        queues: Sequence[str],
        executor: Executor,
        lease_seconds: float,
        observer: Observer,
        gate: Gate,
    ) -> None:
        self._gate = gate
        self._partition = partition
        self._connections = connections
        self._worker = worker
        self._queues = list(queues)
        self._executor = executor
        self._block = block_seconds(lease_seconds)
        self._observer = observer
        self._seen_gaps = self._gaps()

    async def run(self) -> None:
        backoff = Backoff()
        delivered: list[tuple[str, str]] = []
        while True:
            try:
                async with self._reader() as reader:
                    while True:
                        delivered = await self._claim_all(delivered)
                        delivered = await self._read(reader)
                        backoff.reset()
            except Exception as error:
                log.warning("claiming failed; trying again", error=str(error))
                self._seen_gaps = -1
                if isinstance(error, exceptions.RedisError):
                    await self._connections.relocate(error)
                await backoff.wait()

    def _reader(self) -> Reader:
        return self._connections.blocking(self._partition.prefix, block=self._block)

    async def _claim_all(self, delivered: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Claim and begin work until the queues are empty."""
        slots = self._executor.slots
        while True:
            if self._gaps() != self._seen_gaps:
                self._seen_gaps = self._gaps()
                delivered = await pending_unknown(self._partition, self._worker, self._queues, self._executor)
            taken = await slots.take(CLAIM_BATCH)
            if not self._gate.is_open:
                slots.give(taken)
                await self._gate.wait()
                continue
            started = 0
            self._gate.claiming += 1
            now, delivered = delivered[:taken], delivered[taken:]
            try:
                claims = await self._partition.transitions.claim(
                    self._worker, taken - len(now), self._rotated_queues(), now, handlers=self._executor.handlers.ranges
                )
                started = self._executor.begin_all(self._partition, claims)
            finally:
                self._gate.claiming -= 1
                slots.give(taken - started)
            for claim in claims:
                if isinstance(claim, Unreadable):
                    await set_aside(self._partition, claim, self._observer)
            if len(claims) < taken and not delivered:
                return []  # empty, or paused: the blocking read sees what is queued next

    def _rotated_queues(self) -> list[str]:
        """The queues, starting with a different one each time, so that none starves."""
        self._queues.append(self._queues.pop(0))
        return self._queues

    def _gaps(self) -> int:
        """Changes whenever entries may be pending for this worker that it does not run."""
        return self._partition.commits.interruptions + self._executor.unreleased_claims

    async def _read(self, reader: Reader) -> list[tuple[str, str]]:
        """Block until entries arrive, at most as many as there are free slots."""
        slots = self._executor.slots
        free = await slots.take(CLAIM_BATCH)
        slots.give(free)
        await self._gate.wait()
        all_keys = {queue: streams(self._partition.prefix, queue) for queue in self._queues}
        keys = {all_keys[queue][lane]: (queue, lane) for queue in self._queues for lane in CLAIM_LANES}
        try:
            reply = await reader.read(
                "XREADGROUP", "GROUP", GROUP, self._worker, "COUNT", free, "BLOCK", round(self._block * 1000),
                "STREAMS", *keys, *(">" for _ in keys),
            )  # fmt: skip
        except exceptions.ResponseError as error:
            if "NOGROUP" not in str(error) and "UNBLOCKED" not in str(error):
                raise
            await asyncio.sleep(0)
            return []  # the next claim creates the group again
        delivered = []
        for key, entries in reply or ():
            queue, lane = keys[key.decode()]
            delivered += [(queue, lane + entry.decode()) for entry, _ in entries]
        return delivered
