"""The scheduler: starts executions, follows them to their end, cancels them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, Unpack, overload

import anyio

from zart_redis import names
from zart_redis.client.bulk import Bulk
from zart_redis.client.connection import decoding_errors_for
from zart_redis.client.delivery import Delivery
from zart_redis.client.doctor import Doctor
from zart_redis.client.queues import Queues
from zart_redis.client.recurring import Recurrences
from zart_redis.client.streams import Streams
from zart_redis.client.views import execution_record, next_due_of, waits_of
from zart_redis.codec import Codec, codec_for
from zart_redis.durations import Duration, to_ms
from zart_redis.error_codec import ErrorCodec
from zart_redis.errors import (
    Cancelled,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionNotFound,
    InvalidInput,
    WaitTimedOut,
)
from zart_redis.handlers import Handler, definition_of
from zart_redis.layout import Field
from zart_redis.model import ExecutionRecord, ExecutionStatus, StartedRun
from zart_redis.registry import HandlerDefinition
from zart_redis.starting import (
    IfFinished,
    IfLive,
    StartOptions,
    StartRequest,
    declared_handler,
)
from zart_redis.store.replies import Described, Started
from zart_redis.store.store import Store

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")

STARTED_AT_ONCE = 250

_UNDECLARED = ErrorCodec(())


class DurableScheduler(Bulk, Queues, Doctor, Recurrences, Streams, Delivery):
    """Starts and follows executions.

    Example:
        >>> async with DurableScheduler("redis://localhost") as scheduler:
        ...     await scheduler.start_for(checkout, "order-1", order)
        ...     receipt = await scheduler.wait_for(checkout, "order-1", timeout="1m")
    """

    # ---- start ----

    async def start(
        self,
        execution_id: str,
        task_name: str,
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
    ) -> StartedRun:
        """Start an execution; its id is the idempotency key. Returns the number of the run.

        Starting a finished execution again begins a new run; the previous one is kept as history.

        Args:
            task_name: the declared name of a handler, which need not be declared in this process.
            data: the handler's input, checked against its annotation if the handler is declared in this process.
            queue: the queue to start on; by default the handler's queue, or "default".
            delay: how long to wait before it begins.
            triggered_by: who or what started it, for the history.
            if_live: what to do if the id is live: "raise"; "return" the number of the live run; or "replace" a run
                that has not begun: it gets this data and these options, its delay is counted again, and it keeps its
                number. With a delay this is a debounce.
            if_finished: what to do if the id has finished: "restart" it; "raise"; or "return" the number of the
                finished run.
            expires: a duration from now, or an aware datetime: a run that has not begun by then is cancelled, with the
                reason "expired".
            max_delay: with `delay` and `if_live="replace"`, the longest time that it is delayed from the first start.
            tags: names with values by which it can be listed. They are not encrypted. A restart keeps them.

        Returns:
            The number of the run. Its attribute `started` is False if the run was there, and was returned as it is.

        Raises:
            ExecutionAlreadyExists: the id is live, or has finished, and the options do not allow that; or the run to
                replace has begun.
            SerializationError: `data` is not what the handler takes, or cannot be encoded.
            InvalidInput: an id or a name is empty or too long, a duration is negative, or an option is invalid.
            PayloadTooLarge: `data` is larger than `max_payload`.
        """
        options = (queue, delay, triggered_by, if_live, if_finished, expires, max_delay, tags)
        return await self._start(StartRequest(execution_id, task_name, data, *options))

    @overload
    async def start_for(
        self, handler: Handler[None, Any], execution_id: str, data: None = None, **options: Unpack[StartOptions]
    ) -> StartedRun: ...
    @overload
    async def start_for(
        self, handler: Handler[In, Any], execution_id: str, data: In, **options: Unpack[StartOptions]
    ) -> StartedRun: ...
    async def start_for(
        self,
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
    ) -> StartedRun:
        """`start`, typed by the handler."""
        definition = definition_of(handler)
        options = (queue, delay, triggered_by, if_live, if_finished, expires, max_delay, tags)
        return await self._start(StartRequest(execution_id, definition.name, data, *options), definition)

    async def start_many(self, requests: Iterable[StartRequest | tuple[str, str, Any]]) -> list[StartedRun | None]:
        """Start many executions, a few hundred per round trip. Returns the number of the run for each, as `start` does;
        None where `start` would raise ExecutionAlreadyExists. Bad input raises what `start` raises, before any of them
        is started.
        """
        wanted = [_request(item) for item in requests]
        handlers = [declared_handler(request.task_name) for request in wanted]
        pairs = zip(wanted, handlers, strict=True)
        prepared = [self._start_arguments(request, handler) for request, handler in pairs]
        store = await self._open()
        for handler in handlers:
            _check_partitions(store, handler)
        started: list[StartedRun | None] = []
        for begin in range(0, len(prepared), STARTED_AT_ONCE):
            batch = prepared[begin : begin + STARTED_AT_ONCE]
            starts = (store.partition(item.execution_id).transitions.start(*item) for item in batch)
            started += map(_started, await asyncio.gather(*starts))
        return started

    async def _start(self, request: StartRequest, definition: HandlerDefinition | None = None) -> StartedRun:
        handler = definition or declared_handler(request.task_name)
        arguments = self._start_arguments(request, handler)
        store = await self._open()
        _check_partitions(store, handler)
        reply = await store.partition(request.execution_id).transitions.start(*arguments)
        run = _started(reply)
        if run is None:
            raise ExecutionAlreadyExists(request.execution_id, reply.status)
        return run

    # ---- follow ----

    async def status(self, execution_id: str) -> ExecutionRecord:
        """The current state of an execution.

        Raises:
            ExecutionNotFound: there is no execution with this id, or its retention has passed.
        """
        described = await self._describe(execution_id)
        with decoding_errors_for(execution_id):
            due = next_due_of(described)
            return execution_record(execution_id, described.fields, waits_of(described), due)

    async def wait(self, execution_id: str, timeout: Duration | None = None) -> ExecutionRecord:
        """Wait until the execution has finished, successfully or not. Completion wakes the caller; nothing polls.

        Raises:
            WaitTimedOut: it is still live after `timeout`; the execution continues.
            ExecutionNotFound: there is no execution with this id.
        """
        x = await self._wait(execution_id, timeout)
        with decoding_errors_for(execution_id):
            return execution_record(execution_id, x)

    @overload
    async def wait_completion(self, execution_id: str, timeout: Duration | None = None) -> Any: ...
    @overload
    async def wait_completion(self, execution_id: str, timeout: Duration | None = None, *, type: type[T]) -> T: ...
    @overload
    async def wait_completion(self, execution_id: str, timeout: Duration | None = None, *, type: Any) -> Any: ...
    async def wait_completion(self, execution_id: str, timeout: Duration | None = None, *, type: Any = Any) -> Any:
        """The execution's output, read as `type`.

        Raises:
            ExecutionFailed: it failed; `.error` says why.
            Cancelled: it was cancelled.
            WaitTimedOut: it is still live after `timeout`.
            ExecutionNotFound: there is no execution with this id.
        """
        return await self._output(execution_id, timeout, codec_for(type))

    async def wait_for(self, handler: Handler[Any, Out], execution_id: str, timeout: Duration | None = None) -> Out:
        """`wait_completion`, typed by the handler."""
        codec: Codec[Out] = definition_of(handler).output
        return await self._output(execution_id, timeout, codec)

    @overload
    async def start_and_wait_for(
        self,
        handler: Handler[None, Out],
        execution_id: str,
        data: None = None,
        timeout: Duration | None = None,
    ) -> Out: ...
    @overload
    async def start_and_wait_for(
        self, handler: Handler[In, Out], execution_id: str, data: In, timeout: Duration | None = None
    ) -> Out: ...
    async def start_and_wait_for(
        self, handler: Handler[Any, Any], execution_id: str, data: Any = None, timeout: Duration | None = None
    ) -> Any:
        """`start_for`, then `wait_for`."""
        await self.start_for(handler, execution_id, data)
        return await self.wait_for(handler, execution_id, timeout)

    async def _describe(self, execution_id: str) -> Described:
        names.check_name(execution_id, "an execution id")
        partition = (await self._open()).partition(execution_id)
        described = await partition.transitions.read_execution(execution_id)
        if described is None:
            raise ExecutionNotFound(execution_id)
        return described

    async def _wait(self, execution_id: str, timeout: Duration | None) -> dict[str, bytes]:
        """Wait for the end of an execution; returns its fields."""
        names.check_name(execution_id, "an execution id")
        seconds = None if timeout is None else to_ms(timeout, what="timeout") / 1000
        store = await self._open()
        completed = asyncio.Event()
        channel = store.partition(execution_id).done_channel(execution_id)
        with anyio.move_on_after(seconds):
            async with store.signals.listen(channel, lambda _: completed.set()):
                while True:
                    completed.clear()
                    x = (await self._describe(execution_id)).fields
                    with decoding_errors_for(execution_id):
                        if ExecutionStatus(x[Field.STATUS].decode()).is_final:
                            return x
                    await completed.wait()
        raise WaitTimedOut(execution_id)

    async def _output(self, execution_id: str, timeout: Duration | None, codec: Codec[T]) -> T:
        x = await self._wait(execution_id, timeout)
        with decoding_errors_for(execution_id):
            status = ExecutionStatus(x[Field.STATUS].decode())
            if status is ExecutionStatus.FAILED:
                error = _UNDECLARED.decode(x[Field.ERROR])
                raise ExecutionFailed(execution_id, error) from error
            if status is ExecutionStatus.CANCELLED:
                raise Cancelled
            output = x[Field.OUTPUT]
        return codec.decode(output, f"the output of execution {execution_id!r}")


def _started(reply: Started) -> StartedRun | None:
    return None if reply.run is None else StartedRun(reply.run, reply.is_new)


def _check_partitions(store: Store, handler: HandlerDefinition | None) -> None:
    if handler is not None and handler.limits:
        store.check_limits()


def _request(item: StartRequest | tuple[str, str, Any]) -> StartRequest:
    if isinstance(item, StartRequest):
        return item
    if not isinstance(item, tuple | list) or not 2 <= len(item) <= 3:
        raise InvalidInput(f"start_many takes StartRequests, or tuples of id, task and data, not {item!r:.100}")
    return StartRequest(*item)
