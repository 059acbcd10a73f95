"""Operations on all executions that a filter selects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypedDict, Unpack

from zart_redis.client.admin import Admin
from zart_redis.client.history import StepStatus
from zart_redis.client.lists import ExecutionPage, Lists
from zart_redis.client.runs import Runs
from zart_redis.errors import ConfigurationError, InvalidInput, RedisUnavailable, ZartError
from zart_redis.model import ExecutionRecord, ExecutionStatus, from_ms

BATCH_TASK = "zart.batch"
"""The task of executions that carry out a bulk operation, which leaves them alone unless the filter names the task."""
AT_ONCE = 50
"""Executions that are worked on at the same time."""


class ExecutionFilter(TypedDict, total=False):
    """Which executions, as `list_executions` takes it."""

    status: ExecutionStatus | str | None
    task_name: str | None
    queue: str | None
    id_prefix: str | None
    created_after: datetime | None
    created_before: datetime | None
    tags: Mapping[str, str] | None
    parent: str | None


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What a bulk operation has done."""

    done: int = 0
    failed: Mapping[str, ZartError] = field(default_factory=dict)
    """Why it could not be done, by execution id."""
    cursor: str | None = None
    """Where to resume it, while it is in progress."""


Progress = Callable[[BulkResult], object]
Action = Callable[[ExecutionRecord], Coroutine[Any, Any, bool]]
"""Returns False if there is nothing to do."""


class Bulk(Admin, Lists, Runs):
    """Each operation takes the filter of `list_executions`, which must not be empty, and goes through the executions
    that were created before the call, the oldest first. One that cannot be changed does not end the operation.

    `on_progress` is called after every page with what has been done so far. To resume an operation that was
    interrupted, pass the `cursor` of the last result.
    """

    async def cancel_many(
        self,
        *,
        reason: str | None = None,
        on_progress: Progress | None = None,
        cursor: str | None = None,
        **filter: Unpack[ExecutionFilter],
    ) -> BulkResult:
        """Cancel all live executions that the filter selects.

        Raises:
            InvalidInput: the filter is empty or invalid.
        """

        async def cancel(record: ExecutionRecord) -> bool:
            return not record.status.is_final and await self.cancel(record.execution_id, reason=reason)

        return await self._for_each(cancel, filter, on_progress, cursor)

    async def restart_many(
        self, *, on_progress: Progress | None = None, cursor: str | None = None, **filter: Unpack[ExecutionFilter]
    ) -> BulkResult:
        """Begin a new run of all executions that the filter selects, with their previous input. Live ones are
        cancelled.

        Raises:
            InvalidInput: the filter is empty or invalid.
        """

        async def restart(record: ExecutionRecord) -> bool:
            return await self.restart(record.execution_id) > 0

        return await self._for_each(restart, filter, on_progress, cursor)

    async def retry_failed(
        self, *, on_progress: Progress | None = None, cursor: str | None = None, **filter: Unpack[ExecutionFilter]
    ) -> BulkResult:
        """Resume all failed executions that the filter selects from the step that failed last. One that has failed
        without a failed step cannot be resumed.

        Raises:
            InvalidInput: the filter is invalid.
        """

        async def retry(record: ExecutionRecord) -> bool:
            detail = await self.detail(record.execution_id, payloads=False)
            failed = [step.name for step in detail.steps if step.status is StepStatus.FAILED]
            if not failed:
                raise InvalidInput(f"execution {record.execution_id!r} has no failed step: restart it")
            await self.retry_step(record.execution_id, failed[-1])
            return True

        return await self._for_each(retry, {**filter, "status": ExecutionStatus.FAILED}, on_progress, cursor)

    async def count_executions(self, **filter: Unpack[ExecutionFilter]) -> int:
        """How many executions the filter selects; it may be empty.

        Raises:
            InvalidInput: the filter is invalid.
        """
        return sum([len(page) async for page, _ in self._pages(filter, None)])

    async def _for_each(
        self, action: Action, filter: ExecutionFilter, on_progress: Progress | None, cursor: str | None
    ) -> BulkResult:
        if not any(value is not None for value in filter.values()):
            raise InvalidInput("an empty filter would select every execution: give a status, a task, tags or the like")
        result = BulkResult()
        async for page, cursor_behind in self._pages(filter, cursor):
            for begin in range(0, len(page), AT_ONCE):
                batch = page[begin : begin + AT_ONCE]
                outcomes = await asyncio.gather(*map(action, batch), return_exceptions=True)
                result = _with_outcomes(result, batch, outcomes)
            result = replace(result, cursor=cursor_behind)
            if on_progress is not None:
                on_progress(result)
        return result

    async def _pages(
        self, filter: ExecutionFilter, cursor: str | None
    ) -> AsyncIterator[tuple[ExecutionPage, str | None]]:
        """What the filter selects of what has been created by now, or by the first call if this one resumes it, and
        where to resume behind each page. A new run counts as created when it begins, so an execution that is restarted
        within this millisecond comes again: it is left out."""
        partition = (await self._open()).partitions[0]
        now = await self._time(partition)
        if cursor is not None:
            now, cursor = _read_cursor(cursor)
        before = filter.get("created_before")
        filter = {**filter, "created_before": from_ms(now) if before is None else min(from_ms(now), before)}
        spared = None if filter.get("task_name") == BATCH_TASK else BATCH_TASK
        may_come_again: set[str] = set()
        while True:
            found = await self.list_executions(**filter, limit=200, cursor=cursor, order="oldest")
            page = ExecutionPage(
                record for record in found if record.execution_id not in may_come_again and record.task_name != spared
            )
            cursor = found.cursor
            if await self._time(partition) <= now:
                may_come_again.update(record.execution_id for record in page)
            yield page, None if cursor is None else f"{now}.{cursor}"
            if cursor is None:
                return


def _read_cursor(cursor: str) -> tuple[int, str]:
    """The time of the first call, and the cursor of the list."""
    now, _, behind = cursor.partition(".")
    if not now.isdecimal():
        raise InvalidInput(f"{cursor!r:.100} is no cursor of a bulk operation")
    return int(now), behind


def _with_outcomes(
    result: BulkResult, batch: list[ExecutionRecord], outcomes: list[bool | BaseException]
) -> BulkResult:
    done, failed = result.done, dict(result.failed)
    for record, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, ZartError) and not isinstance(outcome, RedisUnavailable | ConfigurationError):
            failed[record.execution_id] = outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            done += outcome
    return BulkResult(done, failed)
