"""What a body begins besides its steps: other executions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, Unpack, overload

from zart_redis.durations import Duration
from zart_redis.engine.scope import current_body
from zart_redis.handlers import Handler, definition_of
from zart_redis.starting import IfFinished, IfLive, StartOptions, StartRequest, start_arguments

In = TypeVar("In")


@overload
async def start(
    handler: Handler[None, Any], execution_id: str, data: None = None, **options: Unpack[StartOptions]
) -> None: ...
@overload
async def start(handler: Handler[In, Any], execution_id: str, data: In, **options: Unpack[StartOptions]) -> None: ...
async def start(
    handler: Handler[Any, Any],
    execution_id: str,
    data: Any = None,
    *,
    queue: str | None = None,
    delay: Duration | None = None,
    triggered_by: str | None = None,
    if_live: IfLive = "raise",
    if_finished: IfFinished = "restart",
    expires: Duration | datetime | None = None,
    max_delay: Duration | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Start an independent execution from a body, once, however often the body is replayed.

    It is recorded as a step named "start <execution id>". For an execution whose result the body needs, or that is to
    end with it, see `child`. The options are those of `DurableScheduler.start`.

    Raises:
        ExecutionAlreadyExists: the id is used, and the options do not allow that.
        SerializationError, PayloadTooLarge, InvalidInput: as for `DurableScheduler.start`.

    Example:
        >>> await zart.start(send_invoice, f"invoice-{order.id}", order)
    """
    body = current_body()
    definition = definition_of(handler)
    options = (queue, delay, triggered_by, if_live, if_finished, expires, max_delay, tags)
    request = StartRequest(execution_id, definition.name, data, *options)
    await body.start_other(start_arguments(request, definition, body.max_payload, body.retention_ms))
