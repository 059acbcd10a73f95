"""The pause rules as this worker knows them: read at the start, and again whenever it is told that they changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis import exceptions

from zart_redis.model import ExecutionInfo, PauseRule
from zart_redis.store.connections import Backoff
from zart_redis.store.store import Partition


class PauseRules:
    def __init__(self, partitions: Sequence[Partition]) -> None:
        self._partitions = partitions
        self._rules: dict[str, PauseRule] = {}
        self._told = asyncio.Event()

    def tell(self, message: bytes | None) -> None:
        """The rules have changed, or may have."""
        self._told.set()

    def rule_for(self, info: ExecutionInfo, step: str) -> str | None:
        """The rule that holds the body of an execution before this step."""
        for rule in self._rules.values():
            if rule.matches(info.execution_id, info.task_name, step):
                return rule.rule_id
        return None

    async def read(self) -> None:
        """Raises redis-py's errors if Redis cannot be reached."""
        found: dict[str, PauseRule] = {}
        for partition in self._partitions:
            found |= {rule.rule_id: rule for rule in await partition.queries.pause_rules()}
        self._rules = found

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                await self.read()
                backoff.reset()
            except exceptions.RedisError:
                self._told.set()
                await backoff.wait()
