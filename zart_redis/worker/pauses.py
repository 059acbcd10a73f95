"""The pause rules as this worker knows them: read at the start, and again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis import exceptions

from zart_redis.backoff import Backoff
from zart_redis.model import ExecutionInfo, PauseRule
from zart_redis.store.store import Partition
from zart_redis.worker.service import Service, Subscribe


class PauseRules(Service):
    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._partitions = partitions
        self._rules: dict[str, PauseRule] = {}
        self._changed = asyncio.Event()

    def rule_for(self, queue: str, info: ExecutionInfo, step: str) -> str | None:
        """The rule that holds the body of an execution before this step."""
        for rule in self._rules.values():
            if rule.matches(info.execution_id, info.task_name, queue, step):
                return rule.rule_id
        return None

    async def listen(self, subscribe: Subscribe) -> None:
        """Raises redis-py's errors if Redis cannot be reached."""
        for partition in self._partitions:
            await subscribe(partition.pause_rules_channel, lambda _: self._changed.set())
        await self._read()

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._read()
                backoff.reset()
            except exceptions.RedisError:
                self._changed.set()
                await backoff.wait()

    async def _read(self) -> None:
        found: dict[str, PauseRule] = {}
        for partition in self._partitions:
            found |= {rule.rule_id: rule for rule in await partition.queries.pause_rules()}
        self._rules = found
