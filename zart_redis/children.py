"""What a body begins besides its steps: children, and independent executions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeVar, Unpack, get_args, overload

from zart_redis import names
from zart_redis.calls import ChildCall, place
from zart_redis.durations import Duration
from zart_redis.engine.scope import current_body
from zart_redis.error_codec import ErrorCodec
from zart_redis.errors import InvalidInput
from zart_redis.handlers import Handler, definition_of
from zart_redis.registry import ChildStart, HandlerDefinition, StepDefinition, call_of
from zart_redis.retry import RetryConfig
from zart_redis.starting import IfFinished, IfLive, StartOptions, StartRequest, start_arguments

In = TypeVar("In")
Out = TypeVar("Out")

OnParentEnd = Literal["cancel", "leave"]

_ERRORS = ErrorCodec(())


@overload
def child(
    handler: Handler[None, Out],
    data: None = None,
    *,
    name: str | None = None,
    id: str | None = None,
    queue: str | None = None,
    tags: Mapping[str, str] | None = None,
    on_parent_end: OnParentEnd = "cancel",
) -> ChildCall[Out]: ...
@overload
def child(
    handler: Handler[In, Out],
    data: In,
    *,
    name: str | None = None,
    id: str | None = None,
    queue: str | None = None,
    tags: Mapping[str, str] | None = None,
    on_parent_end: OnParentEnd = "cancel",
) -> ChildCall[Out]: ...
def child(
    handler: Handler[Any, Any],
    data: Any = None,
    *,
    name: str | None = None,
    id: str | None = None,
    queue: str | None = None,
    tags: Mapping[str, str] | None = None,
    on_parent_end: OnParentEnd = "cancel",
) -> ChildCall[Any]:
    """Run another handler as a child of this execution, which waits for it as for a step.

    The child is an execution with its own id, history, retries and queue. It ends no later than the deadline of its
    parent. Its failure is an error of the call: `ExecutionFailed`, `Cancelled`, or `ExecutionAlreadyExists` if the id
    is used by an execution that this one has not started.

    Args:
        name: the key under which its end is recorded; by default the name of the handler.
        id: by default `<id of the parent>.<run>.<name>`.
        queue: the queue to start it on; by default the handler's.
        tags: as for `DurableScheduler.start`.
        on_parent_end: "cancel" cancels it when its parent ends before it, is restarted, or stops waiting for it; with
            "leave" it lives on.

    Raises:
        NoExecutionContext: called outside of a body.
        SerializationError, PayloadTooLarge, InvalidInput: the data or an option is invalid.

    Example:
        >>> receipt = await zart.child(checkout, order, name="first")
    """
    body = current_body()
    definition = definition_of(handler)
    if on_parent_end not in get_args(OnParentEnd):
        raise InvalidInput(f'on_parent_end must be "cancel" or "leave", not {on_parent_end!r:.100}')
    names.check_optional(id, "the id of a child")
    name = names.check_name(definition.name if name is None else name, "the name of a child")
    request = StartRequest(name if id is None else id, definition.name, data, queue=queue, tags=tags)
    checked = start_arguments(request, definition, body.max_payload, body.retention_ms)
    outlives = on_parent_end == "leave"
    how = (checked.queue, checked.data, checked.timeout_ms, checked.limits)
    start = ChildStart(checked.task, id, *how, tags or {}, outlives)
    return ChildCall(call_of(_step_of(definition, start), name), place())


def _step_of(definition: HandlerDefinition, start: ChildStart) -> StepDefinition:
    """The step in whose place a child is."""
    return StepDefinition(
        definition.name,
        definition.origin,
        is_async=True,
        parameters=definition.parameters,
        raises=(),
        errors=_ERRORS,
        retry=RetryConfig.none(),
        timeout_ms=None,
        timeout_scope="global",
        is_adhoc=True,
        child=start,
    )


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
