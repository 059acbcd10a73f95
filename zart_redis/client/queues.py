"""Queues, as operators see them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from zart_redis.client.admin import Admin
from zart_redis.client.lists import Lists


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """A queue over all partitions."""

    name: str
    depth: int
    """Bodies and scheduled steps that no worker has taken yet."""
    held: int
    """Those that workers hold."""
    oldest_seconds: float | None
    """The age of the oldest of both."""
    workers: int
    """Live workers that take work from it."""
    paused: bool
    """Whether `pause(queue=...)` holds all of it."""


class Queues(Admin, Lists):
    async def queues(self) -> list[QueueRecord]:
        """The queues that hold work, that executions were started on, or that a worker takes work from, by name."""
        depths = await self._queue_depths()
        workers = Counter(queue for worker in await self.workers() for queue in worker.queues)
        paused = {
            rule.queue
            for rule in await self.list_pause_rules()
            if (rule.execution_id, rule.task_name, rule.step_pattern) == (None, None, None)
        }
        records = []
        for name in sorted(depths.keys() | workers.keys()):
            depth = depths.get(name)
            oldest = depth.oldest_ms if depth else None
            records.append(
                QueueRecord(
                    name=name,
                    depth=depth.queued if depth else 0,
                    held=depth.held if depth else 0,
                    oldest_seconds=None if oldest is None else oldest / 1000,
                    workers=workers[name],
                    paused=bool(paused & {name, None}),
                )
            )
        return records
