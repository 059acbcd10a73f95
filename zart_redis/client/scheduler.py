"""The scheduler: starts executions, waits for them, cancels them, lists them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, overload

import anyio

from zart_redis import names, registry
from zart_redis.client.admin import Admin
from zart_redis.client.connection import read_status, reading
from zart_redis.client.doctor import Doctor
from zart_redis.client.history import History
from zart_redis.codec import Codec, codec_for
from zart_redis.durations import Duration, to_ms
from zart_redis.error_codec import ErrorCodec, recorded_summary
from zart_redis.errors import (
    Cancelled,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionNotFound,
    InvalidInput,
    SerializationError,
    WaitTimedOut,
)
from zart_redis.handlers import Handler, definition_of
from zart_redis.logs import get_logger
from zart_redis.model import ExecutionRecord, ExecutionStatus, WorkerInfo, from_ms
from zart_redis.registry import HandlerDefinition
from zart_redis.store.queries import Filter, Position, QueueDepth
from zart_redis.store.transitions import Started

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")

MOST_IN_PAGE = 1000
STARTED_AT_ONCE = 250

log = get_logger()

_ANY: Codec[Any] = codec_for(Any)
_UNDECLARED = ErrorCodec(())


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One of many executions to start; see `DurableScheduler.start`."""

    execution_id: str
    task_name: str
    data: Any = None
    queue: str | None = None
    delay: Duration | None = None
    triggered_by: str | None = None


class ExecutionPage(list[ExecutionRecord]):
    """A page of a list, and where the next one begins: `cursor` is None on the last page."""

    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts over the whole namespace."""

    by_status: Mapping[ExecutionStatus, int]
    by_task: Mapping[str, Mapping[ExecutionStatus, int]]
    queues: Mapping[str, QueueDepth]


class DurableScheduler(Admin, History, Doctor):
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
    ) -> int:
        """Start an execution; its id is the idempotency key. Answers the number of the run.

        An id whose execution has finished begins a new run, and the old one is kept as history.

        Args:
            task_name: the declared name of a handler, which this process need not have.
            data: the handler's input. Where the handler is declared here, it is checked against its annotation.
            queue: where to queue it; by default the handler's queue, or "default".
            delay: how long to wait before it begins.
            triggered_by: who or what starts it, for the history.

        Raises:
            ExecutionAlreadyExists: the id is live.
            SerializationError: `data` is not what the handler takes, or cannot be encoded.
            InvalidInput: an id or a name is empty or too long, or the delay is negative.
            PayloadTooLarge: `data` is larger than `max_payload`.
        """
        started = await self._start(StartRequest(execution_id, task_name, data, queue, delay, triggered_by))
        if started.run is None:
            raise ExecutionAlreadyExists(execution_id, started.status)
        return started.run

    @overload
    async def start_for(
        self, handler: Handler[None, Any], execution_id: str, data: None = None, *, queue: str | None = None,
        delay: Duration | None = None, triggered_by: str | None = None,
    ) -> int: ...  # fmt: skip
    @overload
    async def start_for(
        self, handler: Handler[In, Any], execution_id: str, data: In, *, queue: str | None = None,
        delay: Duration | None = None, triggered_by: str | None = None,
    ) -> int: ...  # fmt: skip
    async def start_for(
        self,
        handler: Handler[Any, Any],
        execution_id: str,
        data: Any = None,
        *,
        queue: str | None = None,
        delay: Duration | None = None,
        triggered_by: str | None = None,
    ) -> int:
        """`start`, typed by the handler."""
        definition = definition_of(handler)
        request = StartRequest(execution_id, definition.name, data, queue, delay, triggered_by)
        started = await self._start(request, definition)
        if started.run is None:
            raise ExecutionAlreadyExists(execution_id, started.status)
        return started.run

    async def start_many(self, requests: Iterable[StartRequest | tuple[str, str, Any]]) -> list[bool]:
        """Start many executions, a few hundred in a round trip. Answers for each whether it was started: False for
        an id that is live.

        Raises:
            Whatever `start` raises for bad input, before any of them is started.
        """
        wanted = [_request(item) for item in requests]
        prepared = [self._prepare(request, _declared(request)) for request in wanted]
        store = await self._open()
        answers: list[bool] = []
        for begin in range(0, len(prepared), STARTED_AT_ONCE):
            batch = prepared[begin : begin + STARTED_AT_ONCE]
            starts = (store.partition(item[0]).transitions.start(*item) for item in batch)
            answers += [started.run is not None for started in await asyncio.gather(*starts)]
        return answers

    async def _start(self, request: StartRequest, definition: HandlerDefinition | None = None) -> Started:
        arguments = self._prepare(request, definition or _declared(request))
        return await (await self._open()).partition(request.execution_id).transitions.start(*arguments)

    def _prepare(
        self, request: StartRequest, handler: HandlerDefinition | None
    ) -> tuple[str, str, str, bytes, int | None, int | None, str]:
        """The arguments of the transition, all checked."""
        names.check_name(request.execution_id, "an execution id")
        queue = request.queue
        if queue is None:
            queue = handler.queue if handler else "default"
        names.check_name(queue, "the name of a queue")
        names.check_optional(request.triggered_by or None, "who starts it")
        data = self._encode_input(handler, request.data, f"the input of task {request.task_name!r}")
        delay_ms = None if request.delay is None else to_ms(request.delay, what="delay")
        timeout_ms = handler.timeout_ms if handler else None
        by = request.triggered_by or ""
        return request.execution_id, request.task_name, queue, data, delay_ms, timeout_ms, by

    # ---- follow ----

    async def status(self, execution_id: str) -> ExecutionRecord:
        """The execution as it stands.

        Raises:
            ExecutionNotFound: there is none of this id, or its retention has passed.
        """
        x, waits, awaited = await self._describe(execution_id)
        with reading(execution_id):
            return _record(execution_id, x, _waiting_for(x, waits, awaited))

    async def wait(self, execution_id: str, timeout: Duration | None = None) -> ExecutionRecord:
        """Wait until the execution has ended, however it ends. Woken by its completion, not by polling.

        Raises:
            WaitTimedOut: it is still live when `timeout` has passed; the execution goes on.
            ExecutionNotFound: there is none of this id.
        """
        x = await self._wait(execution_id, timeout)
        with reading(execution_id):
            return _record(execution_id, x, ())

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
            WaitTimedOut: it is still live when `timeout` has passed.
            ExecutionNotFound: there is none of this id.
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

    async def _describe(self, execution_id: str) -> tuple[dict[str, bytes], dict[str, bytes], list[str]]:
        names.check_name(execution_id, "an execution id")
        partition = (await self._open()).partition(execution_id)
        described = await partition.transitions.describe(execution_id)
        if described is None:
            raise ExecutionNotFound(execution_id)
        return described

    async def _wait(self, execution_id: str, timeout: Duration | None) -> dict[str, bytes]:
        """The fields of an execution that has ended."""
        names.check_name(execution_id, "an execution id")
        seconds = None if timeout is None else to_ms(timeout, what="timeout") / 1000
        store = await self._open()
        told = asyncio.Event()
        channel = store.partition(execution_id).done_channel(execution_id)
        with anyio.move_on_after(seconds):
            async with store.signals.listen(channel, lambda _: told.set()):
                while True:
                    told.clear()
                    x, _, _ = await self._describe(execution_id)
                    with reading(execution_id):
                        if ExecutionStatus(x["status"].decode()).is_final:
                            return x
                    await told.wait()
        raise WaitTimedOut(execution_id)

    async def _output(self, execution_id: str, timeout: Duration | None, codec: Codec[T]) -> T:
        x = await self._wait(execution_id, timeout)
        with reading(execution_id):
            status = ExecutionStatus(x["status"].decode())
            if status is ExecutionStatus.FAILED:
                error = _UNDECLARED.decode(x["error"])
                raise ExecutionFailed(execution_id, error) from error
            if status is ExecutionStatus.CANCELLED:
                raise Cancelled
            output = x["output"]
        return codec.decode(output, f"the output of execution {execution_id!r}")

    # ---- manage ----

    async def cancel(self, execution_id: str) -> bool:
        """Cancel an execution. Answers whether it was live. What sleeps or waits ends at once; a step that runs may
        finish, nothing after it starts, and its late result changes nothing."""
        names.check_name(execution_id, "an execution id")
        partition = (await self._open()).partition(execution_id)
        cancelled = await partition.transitions.cancel(execution_id, self.settings.retention)
        return cancelled.was_live

    async def list_executions(
        self,
        *,
        status: ExecutionStatus | str | None = None,
        task_name: str | None = None,
        queue: str | None = None,
        id_prefix: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
        order: Literal["newest", "oldest"] = "newest",
    ) -> ExecutionPage:
        """A page of executions by time of creation, or, where `id_prefix` is given, by id. Pass the `cursor` of one
        page to get the next. The times are aware datetimes.

        Raises:
            InvalidInput: a time without a timezone, an unknown status or order, a cursor that no page gave, or a limit
                outside 1 to 1000.
        """
        if order not in ("newest", "oldest"):
            raise InvalidInput(f'order is "newest" or "oldest", not {order!r}')
        if type(limit) is not int or not 1 <= limit <= MOST_IN_PAGE:
            raise InvalidInput(f"limit is a number from 1 to {MOST_IN_PAGE}, not {limit!r}")
        wanted = Filter(
            read_status(status),
            task_name,
            queue,
            id_prefix,
            _moment(created_after),
            _moment(created_before),
        )
        names.check_optional(task_name, "the name of a task")
        names.check_optional(queue, "the name of a queue")
        names.check_optional(None if id_prefix == "" else id_prefix, "the prefix of an id")
        after = None if cursor is None else _read_cursor(cursor)
        newest = order == "newest"
        store = await self._open()
        pages = await asyncio.gather(*(p.queries.page(wanted, limit + 1, newest, after) for p in store.partitions))
        rows = sorted((row for page in pages for row in page), key=lambda row: row[0], reverse=newest)
        page = ExecutionPage(record for p, x in rows[:limit] if (record := _listed(p[1], x)) is not None)
        page.cursor = _write_cursor(rows[limit - 1][0]) if len(rows) > limit else None
        return page

    async def workers(self) -> list[WorkerInfo]:
        """The workers that keep a lease, and what they run."""
        return await (await self._open()).partitions[0].queries.workers()

    async def stats(self) -> Stats:
        """How many executions there are by status and task, and how deep the queues are."""
        store = await self._open()
        by_status: Counter[ExecutionStatus] = Counter()
        by_task: dict[str, Counter[ExecutionStatus]] = {}
        queues: dict[str, QueueDepth] = {}
        for partition in store.partitions:
            for facet, status, count in await partition.queries.counts():
                by_status[status] += count
                by_task.setdefault(facet.task, Counter())[status] += count
            for name, depth in (await partition.queries.queues()).items():
                queues[name] = depth if name not in queues else queues[name] + depth
        return Stats(by_status, by_task, queues)


def _request(item: StartRequest | tuple[str, str, Any]) -> StartRequest:
    if isinstance(item, StartRequest):
        return item
    if not isinstance(item, tuple | list) or not 2 <= len(item) <= 3:
        raise InvalidInput(f"start_many takes StartRequests, or tuples of id, task and data, not {item!r:.100}")
    return StartRequest(*item)


def _declared(request: StartRequest) -> HandlerDefinition | None:
    """The handler of a task, where this process has declared it, and no other of the name."""
    return registry.handlers.only(names.check_name(request.task_name, "the name of a task"))


def _listed(execution_id: str, x: Mapping[str, bytes]) -> ExecutionRecord | None:
    try:
        with reading(execution_id):
            return _record(execution_id, x, ())
    except SerializationError as error:
        log.error("left out of a list: it cannot be read; `zart doctor` may name it", reason=str(error))
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


def _record(execution_id: str, x: Mapping[str, bytes], waiting_for: tuple[str, ...]) -> ExecutionRecord:
    status = ExecutionStatus(x["status"].decode())
    output = x.get("output") if status is ExecutionStatus.COMPLETED else None
    error = x.get("error") if status is ExecutionStatus.FAILED else None
    return ExecutionRecord(
        execution_id=execution_id,
        task_name=x["task"].decode(),
        status=status,
        input=_ANY.decode(x["input"], "the input"),
        output=None if output is None else _ANY.decode(output, "the output"),
        error=None if error is None else recorded_summary(error),
        run=int(x["run"]),
        attempt=int(x["attempt"]),
        created_at=from_ms(int(x["created"])),
        started_at=_time(x.get("started")),
        finished_at=_time(x.get("finished")),
        waiting_for=waiting_for,
        queue=x["queue"].decode(),
    )


def _time(value: bytes | None) -> datetime | None:
    return None if value is None else from_ms(int(value))


def _waiting_for(x: Mapping[str, bytes], waits: Mapping[str, bytes], awaited: list[str]) -> tuple[str, ...]:
    """What ends the wait of an execution, in words; the letters are those that the scripts write."""
    words = {
        b"s": "sleep",
        b"w": "event",
        b"a": "retry of step",
        b"d": "delay",
        b"u": "a worker that knows task",
    }
    found = []
    for name, wait in sorted(waits.items()):
        if wait[:1] == b"p":
            found.append(f"the end of pause rule {wait[1:].decode()}")
            continue
        word = words.get(wait[:1], "something that cannot be read:")
        if wait[:1] == b"u":
            name = repr(x["task"].decode())
        elif not name:
            word = "retry of the execution" if wait[:1] == b"a" else "delayed start"
        found.append(f"{word} {name}".strip())
    found += [f"step {name}" for name in sorted(awaited)]
    if "held" in x:
        found.append(f"the end of pause rule {x['held'].decode()}")
    if x.get("finishing"):
        found.append("scheduled steps that were not waited for")
    return tuple(found)
