"""Lists of executions and workers, and counts."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from zart_redis import names
from zart_redis.client.connection import decoding_errors_for, read_status
from zart_redis.client.limits import Limits
from zart_redis.client.views import execution_record
from zart_redis.errors import InvalidInput, SerializationError
from zart_redis.layout import PARENT_TAG
from zart_redis.logs import get_logger
from zart_redis.model import ExecutionRecord, ExecutionStatus, WorkerInfo
from zart_redis.starting import checked_tags
from zart_redis.store.index import Filter, Position
from zart_redis.store.queries import QueueDepth

MAX_PAGE = 1000

log = get_logger()


class ExecutionPage(list[ExecutionRecord]):
    """A page of a list. `cursor` fetches the next page; it is None on the last one."""

    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts over the whole namespace."""

    by_status: Mapping[ExecutionStatus, int]
    by_task: Mapping[str, Mapping[ExecutionStatus, int]]
    queues: Mapping[str, QueueDepth]
    by_version: Mapping[str, Mapping[int, int]]
    """How many live executions of each task are bound to each version; those that have not begun are bound to none."""
    held: int = 0
    """Executions and scheduled steps that no code here can run; see `doctor`."""
    waiting_for_limits: Mapping[str, int] = field(default_factory=dict)
    """How many wait for a slot, by the name of the limit."""


class Lists(Limits):
    async def list_executions(
        self,
        *,
        status: ExecutionStatus | str | None = None,
        task_name: str | None = None,
        queue: str | None = None,
        id_prefix: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        order: Literal["newest", "oldest"] = "newest",
    ) -> ExecutionPage:
        """A page of executions by time of creation, or by id if `id_prefix` is given without tags or a parent. Pass the
        `cursor` of a page to get the next one. The times are aware datetimes. Of several tags, an execution must have
        all. `parent` is an id, and selects its children.

        With tags, a parent or a prefix, a page may be short, or empty, and have a cursor: one call looks at 1,000
        executions of a partition at most.

        Raises:
            InvalidInput: a time has no timezone, the status, order or cursor is invalid, or the limit is outside 1 to
                1000.
        """
        if order not in ("newest", "oldest"):
            raise InvalidInput(f'order is "newest" or "oldest", not {order!r}')
        if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is a number from 1 to {MAX_PAGE}, not {limit!r}")
        wanted = _filter(status, task_name, queue, id_prefix, created_after, created_before, tags, parent)
        after = None if cursor is None else _read_cursor(cursor)
        newest = order == "newest"
        store = await self._open()
        pages = await asyncio.gather(*(p.index.page(wanted, limit + 1, newest, after) for p in store.partitions))
        rows = sorted((row for page in pages for row in page.rows), key=lambda row: row[0], reverse=newest)
        # Behind the first place up to which a partition has been walked, there may be rows that are not found yet.
        bounds = [page.walked_to for page in pages if page.walked_to is not None]
        bound = (max(bounds) if newest else min(bounds)) if bounds else None
        if bound is not None:
            rows = [row for row in rows if (row[0] >= bound if newest else row[0] <= bound)]
        page = ExecutionPage(record for p, x in rows[:limit] if (record := _listed(p[1], x)) is not None)
        last = rows[limit - 1][0] if len(rows) > limit else bound
        page.cursor = None if last is None else _write_cursor(last)
        return page

    async def workers(self) -> list[WorkerInfo]:
        """The live workers, and what they run."""
        return await (await self._open()).partitions[0].queries.workers()

    async def stats(self) -> Stats:
        """The number of executions by status and task, and the depth of each queue."""
        store = await self._open()
        by_status: Counter[ExecutionStatus] = Counter()
        by_task: dict[str, Counter[ExecutionStatus]] = {}
        by_version: dict[str, Counter[int]] = {}
        held = 0
        for partition in store.partitions:
            held += await partition.queries.held()
            for bucket, status, count in await partition.index.counts():
                by_status[status] += count
                by_task.setdefault(bucket.task, Counter())[status] += count
                if not status.is_final and (bucket.version or status is not ExecutionStatus.SCHEDULED):
                    by_version.setdefault(bucket.task, Counter())[bucket.version or 1] += count
        queues, waiting = await self._queue_depths(), await self._waiting_for_limits()
        return Stats(by_status, by_task, queues, by_version, held, waiting)

    async def _queue_depths(self) -> dict[str, QueueDepth]:
        """How much waits in each queue, and how much of it workers hold."""
        depths: dict[str, QueueDepth] = {}
        for partition in (await self._open()).partitions:
            for name, depth in (await partition.queries.queues()).items():
                depths[name] = depth if name not in depths else depths[name] + depth
        return depths


def _filter(
    status: ExecutionStatus | str | None,
    task_name: str | None,
    queue: str | None,
    id_prefix: str | None,
    created_after: datetime | None,
    created_before: datetime | None,
    tags: Mapping[str, str] | None,
    parent: str | None,
) -> Filter:
    """Raises InvalidInput."""
    names.check_optional(task_name, "the name of a task")
    names.check_optional(queue, "the name of a queue")
    names.check_optional(None if id_prefix in ("", ".", "..") else id_prefix, "the prefix of an id")
    names.check_optional(parent, "the id of a parent")
    of_parent = {} if parent is None else {PARENT_TAG: parent}
    return Filter(
        read_status(status),
        task_name,
        queue,
        id_prefix,
        _moment(created_after),
        _moment(created_before),
        {**checked_tags(tags or {}), **of_parent},
    )


def _listed(execution_id: str, x: Mapping[str, bytes]) -> ExecutionRecord | None:
    try:
        with decoding_errors_for(execution_id):
            return execution_record(execution_id, x)
    except SerializationError as error:
        log.error("unreadable execution left out of a list; `zart doctor` may report it", reason=str(error))
        return None


def _moment(value: datetime | None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(f"{value!r} is no datetime with a timezone")
    return round(value.timestamp() * 1000)


def _write_cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_cursor(cursor: str) -> Position:
    try:
        created, execution_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return int(created), names.check_name(execution_id, "an execution id")
    except (ValueError, TypeError, AttributeError, OverflowError, binascii.Error):
        raise InvalidInput(f"{cursor!r} is no cursor that a page gave") from None
