"""Batches: one action on all executions that a filter selects, carried out by an execution.

So a batch survives the server that took it in, its progress can be read, and it can be stopped. `zart serve` runs a
worker for them.
"""

from __future__ import annotations

import secrets
from typing import Any, Literal, cast

import msgspec

from zart_redis import api
from zart_redis.client.bulk import BATCH_TASK, BulkResult, ExecutionFilter
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.errors import ExecutionNotFound, InvalidInput
from zart_redis.handlers import DurableHandler, zart_durable
from zart_redis.http.executions import Moment
from zart_redis.http.routing import Call, NoQuery, Reply
from zart_redis.model import ExecutionRecord, ExecutionStatus
from zart_redis.retry import RetryConfig
from zart_redis.steps import zart_step

QUEUE = "zart.batches"
PAGES_OF_A_RUN = 500
"""Then the batch continues as a new run, so that its history stays short."""
MAX_FAILURES = 1_000
"""Failures that are kept with their reasons."""

RETRY = RetryConfig.exponential(10, "1s")
"""Redis may be away for a while."""

Action = Literal["cancel", "restart", "retry"]


class BatchFilter(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The filter of `list_executions`; it must not be empty."""

    status: ExecutionStatus | None = None
    task_name: str | None = None
    queue: str | None = None
    id_prefix: str | None = None
    parent: str | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    tags: dict[str, str] | None = None

    def arguments(self) -> ExecutionFilter:
        return cast(ExecutionFilter, msgspec.structs.asdict(self))


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    filter: BatchFilter
    action: Action
    dry_run: bool = False
    reason: str | None = None
    """Why executions are cancelled."""


class Batch(msgspec.Struct, omit_defaults=True):
    """The input of a run: what is asked for, and how far the runs before it have come."""

    filter: BatchFilter
    action: Action
    reason: str | None = None
    total: int = 0
    done: int = 0
    failed: dict[str, str] = {}
    unkept: int = 0
    """Failures without their reasons."""
    cursor: str | None = None


class BatchReport(msgspec.Struct):
    """`failed` has the reasons by execution id; of many failures, the first 1,000."""

    status: ExecutionStatus
    total: int
    done: int
    failed: dict[str, str]


class BatchCount(msgspec.Struct):
    count: int


class BatchStopped(msgspec.Struct):
    """False if it had ended."""

    stopped: bool


class _PageDone(Exception):
    """Ends a bulk operation after its first page."""

    def __init__(self, result: BulkResult) -> None:
        super().__init__()
        self.result = result


def batch_handler(client: DurableScheduler) -> DurableHandler[dict[str, Any], dict[str, Any]]:
    """The handler that carries out batches by this client."""

    @zart_step("count", retry=RETRY)
    async def count(filter: dict[str, Any]) -> int:
        return await client.count_executions(**msgspec.convert(filter, BatchFilter).arguments())

    @zart_step("page-{number}", retry=RETRY)
    async def page(number: int, asked: dict[str, Any]) -> dict[str, Any]:
        result = await _one_page(client, msgspec.convert(asked, Batch))
        failed = {execution_id: str(error) for execution_id, error in result.failed.items()}
        return {"done": result.done, "failed": failed, "cursor": result.cursor}

    @zart_durable(BATCH_TASK, queue=QUEUE)
    async def run_batch(data: dict[str, Any]) -> dict[str, Any]:
        batch = msgspec.convert(data, Batch)
        if batch.cursor is None:
            begun = await api.now("begun")
            latest = batch.filter.created_before
            batch.filter.created_before = begun if latest is None else min(begun, latest)
            batch.total = await count(msgspec.to_builtins(batch.filter))
        for number in range(PAGES_OF_A_RUN):
            _publish(batch)
            asked = Batch(batch.filter, batch.action, batch.reason, cursor=batch.cursor)
            found = await page(number, msgspec.to_builtins(asked))
            batch.done += found["done"]
            for execution_id, why in found["failed"].items():
                if len(batch.failed) < MAX_FAILURES:
                    batch.failed[execution_id] = why
                else:
                    batch.unkept += 1
            batch.cursor = found["cursor"]
            if batch.cursor is None:
                _publish(batch)
                return {"done": batch.done, "failed": len(batch.failed) + batch.unkept}
        return await api.continue_as_new(msgspec.to_builtins(batch))

    return run_batch


def _publish(batch: Batch) -> None:
    api.progress(batch.done + len(batch.failed) + batch.unkept, batch.total)
    api.set_value("report", {"total": batch.total, "done": batch.done, "failed": batch.failed})


async def _one_page(client: DurableScheduler, batch: Batch) -> BulkResult:
    def stop(result: BulkResult) -> None:
        raise _PageDone(result)

    filter = batch.filter.arguments()
    try:
        if batch.action == "cancel":
            return await client.cancel_many(reason=batch.reason, on_progress=stop, cursor=batch.cursor, **filter)
        if batch.action == "restart":
            return await client.restart_many(on_progress=stop, cursor=batch.cursor, **filter)
        return await client.retry_failed(on_progress=stop, cursor=batch.cursor, **filter)
    except _PageDone as done:
        return done.result


async def start(call: Call[NoQuery, BatchBody]) -> Reply:
    body = call.body
    filter = _checked(body)
    await call.scheduler.list_executions(**filter.arguments(), limit=1)  # raises InvalidInput for what it cannot use
    if body.dry_run:
        return Reply(BatchCount(await call.scheduler.count_executions(**filter.arguments())))
    batch_id = f"batch-{secrets.token_hex(8)}"
    data = msgspec.to_builtins(Batch(filter, body.action, body.reason))
    await call.scheduler.start(batch_id, BATCH_TASK, data, queue=QUEUE, triggered_by=call.caller.name)
    location = {"Location": call.address("admin", "v1", "batches", batch_id)}
    return Reply(BatchReport(ExecutionStatus.SCHEDULED, 0, 0, {}), 202, location)


def _checked(body: BatchBody) -> BatchFilter:
    """The filter, with what the action adds to it."""
    filter, status = body.filter, body.filter.status
    if not any(value is not None for value in msgspec.structs.asdict(filter).values()):
        raise InvalidInput("an empty filter would select every execution: give a status, a task, tags or the like")
    if body.reason is not None and body.action != "cancel":
        raise InvalidInput("reason is for cancel")
    if body.action == "cancel" and status is not None and status.is_final:
        raise InvalidInput(f"executions with status {status} have ended: there is nothing to cancel")
    if body.action == "retry" and status not in (None, ExecutionStatus.FAILED):
        raise InvalidInput(f"retry resumes what has failed, not executions with status {status}")
    return msgspec.structs.replace(filter, status=ExecutionStatus.FAILED) if body.action == "retry" else filter


async def report(call: Call[NoQuery, None]) -> Reply:
    record = await _batch(call)
    published = await call.scheduler.value(call.path["id"], "report", {"total": 0, "done": 0, "failed": {}})
    return Reply(msgspec.convert({"status": record.status} | published, BatchReport))


async def stop(call: Call[NoQuery, None]) -> Reply:
    await _batch(call)
    reason = f"stopped by {call.caller.name}"
    return Reply(BatchStopped(await call.scheduler.cancel(call.path["id"], reason=reason)))


async def _batch(call: Call[Any, Any]) -> ExecutionRecord:
    """Raises ExecutionNotFound for what is no batch."""
    record = await call.scheduler.status(call.path["id"])
    if record.task_name != BATCH_TASK:
        raise ExecutionNotFound(call.path["id"])
    return record
