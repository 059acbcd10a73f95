"""The claim loop of one partition: takes work while there are free slots, and blocks in Redis while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis import exceptions

from zart_redis.logs import get_logger
from zart_redis.model import Unreadable
from zart_redis.store.connections import Backoff, Connections, Reader
from zart_redis.store.keys import GROUP, streams
from zart_redis.store.store import Partition
from zart_redis.worker.execute import Executor, set_aside

log = get_logger()

MOST_AT_ONCE = 64
"""Claims in one script."""
LONGEST_BLOCK_SECONDS = 5.0
"""How long a read may block; afterwards the worker looks once whether the queue and its group still exist."""


def block_seconds(lease_seconds: float) -> float:
    """How long a read blocks. Redis goes on delivering to the read of a worker that was frozen or cut off, so it must
    end before that worker's lease does: what was delivered to it is then found when its work is reclaimed."""
    return min(LONGEST_BLOCK_SECONDS, lease_seconds / 2)


class ClaimLoop:
    """Never waits by asking: a script claims what is there, and only if there was nothing a read blocks for more.

    The read delivers entries to this worker, and the next script claims them together with what else has come.
    Where a reply may have been lost, entries can be pending for this worker that it knows nothing of; then it
    claims those first.
    """

    def __init__(
        self,
        partition: Partition,
        connections: Connections,
        worker: str,
        queues: Sequence[str],
        executor: Executor,
        lease_seconds: float,
    ) -> None:
        self._partition = partition
        self._connections = connections
        self._worker = worker
        self._queues = list(queues)
        self._executor = executor
        self._block = block_seconds(lease_seconds)
        self._seen_trouble = self._trouble()

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
                log.warning("cannot read the queues; trying again", error=str(error))
                self._seen_trouble = -1
                if isinstance(error, exceptions.RedisError):
                    await self._connections.relocate(error)
                await backoff.wait()

    def _reader(self) -> Reader:
        return self._connections.blocking(self._partition.prefix, block=self._block)

    async def _claim_all(self, delivered: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Claim and begin until nothing more is there."""
        slots = self._executor.slots
        while True:
            if self._trouble() != self._seen_trouble:
                self._seen_trouble = self._trouble()
                delivered = await self._forgotten()
            taken = await slots.take(MOST_AT_ONCE)
            begun = 0
            now, delivered = delivered[:taken], delivered[taken:]
            try:
                claims = await self._partition.transitions.claim(self._worker, taken - len(now), self._in_turn(), now)
                for claim in claims:
                    if not isinstance(claim, Unreadable):
                        self._executor.begin(self._partition, claim)
                        begun += 1
            finally:
                slots.give(taken - begun)
            for claim in claims:
                if isinstance(claim, Unreadable):
                    await set_aside(self._partition, claim)
            if len(claims) < taken and not delivered:
                return []  # the queues are empty, or what is there is held: a read that blocks sees what comes

    def _in_turn(self) -> list[str]:
        """The queues, each time beginning with another: none starves the others."""
        self._queues.append(self._queues.pop(0))
        return self._queues

    def _trouble(self) -> int:
        """Changes whenever something may be pending for this worker that it does not run."""
        return self._partition.commits.interruptions + self._executor.troubled

    async def _forgotten(self) -> list[tuple[str, str]]:
        """Entries that are pending for this worker although it does not run them."""
        found = []
        for queue in self._queues:
            try:
                pending = await self._partition.queries.pending(queue, self._worker, 1000)
            except exceptions.ResponseError:
                continue  # no such stream or group yet
            found += [
                (queue, entry) for entry in pending if (self._partition.prefix, entry) not in self._executor.active
            ]
        return found

    async def _read(self, reader: Reader) -> list[tuple[str, str]]:
        """Block until entries come, as many as there are free slots."""
        slots = self._executor.slots
        free = await slots.take(MOST_AT_ONCE)
        slots.give(free)
        prefix = self._partition.prefix
        keys = {key: (queue, mark) for queue in self._queues for mark, key in streams(prefix, queue).items()}
        try:
            answer = await reader.read(
                "XREADGROUP", "GROUP", GROUP, self._worker, "COUNT", free, "BLOCK", round(self._block * 1000),
                "STREAMS", *keys, *(">" for _ in keys),
            )  # fmt: skip
        except exceptions.ResponseError as error:
            if "NOGROUP" not in str(error) and "UNBLOCKED" not in str(error):
                raise
            await asyncio.sleep(0)
            return []  # the next claim makes the group anew
        delivered = []
        for key, entries in answer or ():
            queue, mark = keys[key.decode()]
            delivered += [(queue, mark + entry.decode()) for entry, _ in entries]
        return delivered
