"""Endpoints for executions: start, list, look at, wait for, cancel, and deliver to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from zart_redis.client.history import RunDetail
from zart_redis.durations import to_ms
from zart_redis.errors import ExecutionAlreadyExists, InvalidInput, WaitTimedOut
from zart_redis.http.problems import problem_of
from zart_redis.http.redaction import bare_detail, bare_record
from zart_redis.http.routing import Call, NoQuery, Reply
from zart_redis.model import EventDelivery, ExecutionRecord, ExecutionStatus
from zart_redis.starting import IfFinished, IfLive

MAX_WAIT_SECONDS = 300

Count = Annotated[int, msgspec.Meta(ge=1)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Span = str | int | float
"""A duration: "30s", or a number of seconds."""


class StartQuery(msgspec.Struct, forbid_unknown_fields=True):
    """They take precedence over the body."""

    if_live: IfLive | None = None
    if_finished: IfFinished | None = None


class StartBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The arguments of `DurableScheduler.start`."""

    execution_id: str
    task_name: str
    data: Any = None
    queue: str | None = None
    delay: Span | None = None
    triggered_by: str | None = None
    tags: dict[str, str] | None = None
    if_live: IfLive = "raise"
    if_finished: IfFinished = "restart"
    expires: Span | None = None
    """A duration, or a time such as 2030-01-31T08:00:00Z."""
    max_delay: Span | None = None


class StartedExecution(msgspec.Struct):
    """The run that was started, or that was there."""

    execution_id: str
    task_name: str
    run: int
    started: bool


class ListQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    status: ExecutionStatus | None = None
    task_name: str | None = None
    queue: str | None = None
    tag: list[str] = []
    id_prefix: str | None = None
    parent: str | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    cursor: str | None = None


class Page(msgspec.Struct):
    """A page of executions, without payloads. `cursor` fetches the next one; null on the last."""

    executions: list[ExecutionRecord]
    cursor: str | None


class DetailQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    run: Count | None = None
    payloads: bool = False
    steps_after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


class WaitQuery(msgspec.Struct, forbid_unknown_fields=True):
    timeout: str = "25s"


class CancelBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str | None = None
    compensate: bool = False


class CancelledReply(msgspec.Struct):
    cancelled: bool


class DeliveredEvent(msgspec.Struct):
    delivery: EventDelivery


class SentMessage(msgspec.Struct):
    delivery: Literal["sent"]


class MessageQuery(msgspec.Struct, forbid_unknown_fields=True):
    message_id: str | None = None


async def start(call: Call[StartQuery, StartBody]) -> Reply:
    body = call.body
    location = {"Location": call.address("api", "v1", "executions", body.execution_id)}
    try:
        run = await call.scheduler.start(
            body.execution_id,
            body.task_name,
            body.data,
            queue=body.queue,
            delay=body.delay,
            triggered_by=body.triggered_by or call.caller.name,
            if_live=call.query.if_live or body.if_live,
            if_finished=call.query.if_finished or body.if_finished,
            expires=_read_expiry(body.expires),
            max_delay=body.max_delay,
            tags=body.tags,
        )
    except ExecutionAlreadyExists as error:
        problem = problem_of(error, writes=True)
        problem.headers |= location
        raise problem from error
    started = StartedExecution(body.execution_id, body.task_name, int(run), run.started)
    return Reply(started, 201 if run.started else 200, location)


def _read_expiry(expires: Span | None) -> Span | datetime | None:
    if not isinstance(expires, str) or "T" not in expires:
        return expires
    try:
        return datetime.fromisoformat(expires)
    except ValueError:
        raise InvalidInput(f"expires is a duration or a time, as 2030-01-31T08:00:00Z, not {expires!r:.100}") from None


async def list_executions(call: Call[ListQuery, None]) -> Reply:
    query = call.query
    page = await call.scheduler.list_executions(
        status=query.status,
        task_name=query.task_name,
        queue=query.queue,
        id_prefix=query.id_prefix,
        parent=query.parent,
        tags=read_tags(query.tag),
        created_after=query.created_after,
        created_before=query.created_before,
        limit=query.limit,
        cursor=query.cursor,
        order=query.order,
    )
    return Reply({"executions": list(map(bare_record, page)), "cursor": page.cursor})


def read_tags(texts: list[str]) -> dict[str, str] | None:
    """Tags as a query has them.

    Raises:
        InvalidInput: one has no colon.
    """
    for text in texts:
        if ":" not in text:
            raise InvalidInput(f"tag takes NAME:VALUE, such as customer:acme, not {text!r:.100}")
    return dict(text.split(":", 1) for text in texts) or None


async def status(call: Call[NoQuery, None]) -> Reply:
    return Reply(_shown(call, await call.scheduler.status(call.path["id"])))


async def detail(call: Call[DetailQuery, None]) -> Reply:
    query = call.query
    found: RunDetail = await call.scheduler.detail(
        call.path["id"],
        query.run,
        payloads=query.payloads and call.sees_payloads,
        steps_after=query.steps_after,
        limit=query.limit,
    )
    return Reply(found if call.sees_payloads else bare_detail(found))


async def values(call: Call[NoQuery, None]) -> Reply:
    found = await call.scheduler.values(call.path["id"])
    return Reply(found if call.sees_payloads else dict.fromkeys(found))


async def wait(call: Call[WaitQuery, None]) -> Reply:
    """A final record at once, or when it is; the record as it is when the time is up, or the server stops."""
    seconds = min(to_ms(_number(call.query.timeout), what="timeout") / 1000, MAX_WAIT_SECONDS)
    execution_id = call.path["id"]

    async def ended() -> ExecutionRecord | None:
        try:
            return await call.scheduler.wait(execution_id, seconds)
        except WaitTimedOut:
            return None

    with call.serving.place():
        record = await call.serving.unless_over(ended(), call.request)
    if record is None:
        record = await call.scheduler.status(execution_id)
    return Reply(_shown(call, record), 200 if record.status.is_final else 202)


def _number(text: str) -> str | float:
    """A duration of the query, in which a number is text too."""
    try:
        return float(text)
    except ValueError:
        return text


async def cancel(call: Call[NoQuery, CancelBody | None]) -> Reply:
    execution_id = call.path["id"]
    body = call.body or CancelBody()
    was_live = await call.scheduler.cancel(execution_id, reason=body.reason, compensate=body.compensate)
    if not was_live:
        await call.scheduler.status(execution_id)  # raises ExecutionNotFound if there is none
    return Reply(CancelledReply(was_live))


async def offer_event(call: Call[NoQuery, Any]) -> Reply:
    return Reply(DeliveredEvent(await call.scheduler.offer_event(call.path["id"], call.path["name"], call.body)))


async def send(call: Call[MessageQuery, Any]) -> Reply:
    arguments = (call.path["id"], call.path["channel"], call.body)
    await call.scheduler.send(*arguments, message_id=call.query.message_id)
    return Reply(SentMessage("sent"))


def _shown(call: Call[Any, Any], record: ExecutionRecord) -> ExecutionRecord:
    return record if call.sees_payloads else bare_record(record)
