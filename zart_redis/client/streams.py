"""What executions emit: streams to follow, and values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar, overload

from zart_redis import names
from zart_redis.client.connection import Client, decoding_errors_for
from zart_redis.codec import Codec, codec_for
from zart_redis.emissions import Restarted, StreamItem, Truncated, is_cursor
from zart_redis.errors import ExecutionNotFound, InvalidInput
from zart_redis.layout import ItemField
from zart_redis.model import ExecutionStatus, from_ms

T = TypeVar("T")

ITEMS_AT_ONCE = 200


class Streams(Client):
    """The part of `DurableScheduler` that reads what executions emit."""

    @overload
    def follow(
        self, execution_id: str, stream: str = "default", *, after: str | None = None
    ) -> AsyncIterator[StreamItem[Any] | Restarted | Truncated]: ...
    @overload
    def follow(
        self, execution_id: str, stream: str = "default", *, after: str | None = None, type: type[T]
    ) -> AsyncIterator[StreamItem[T] | Restarted | Truncated]: ...
    @overload
    def follow(
        self, execution_id: str, stream: str = "default", *, after: str | None = None, type: Any
    ) -> AsyncIterator[StreamItem[Any] | Restarted | Truncated]: ...
    async def follow(
        self, execution_id: str, stream: str = "default", *, after: str | None = None, type: Any = Any
    ) -> AsyncIterator[StreamItem[Any] | Restarted | Truncated]:
        """The items of a stream, from the first one kept, or from behind `after`, to the end of the execution.

        Waits for items that are yet to come; nothing polls. Yields `Restarted` where a step begins another attempt
        after it has emitted to this stream, and `Truncated` where items behind the cursor are no longer kept: first, if
        `after` is not, and later to a follower that is too slow.

        Raises:
            ExecutionNotFound: there is no execution with this id.
            InvalidInput: `after` is not a cursor.
            SerializationError: a value is no `type`.

        Example:
            >>> async for item in scheduler.follow("chat-1", "answer", type=str):
            ...     match item:
            ...         case zart.StreamItem(value):
            ...             print(value, end="")
        """
        names.check_name(execution_id, "an execution id")
        names.check_name(stream, "the name of a stream")
        if after is not None and not is_cursor(after):
            raise InvalidInput(f"{after!r:.100} is not the cursor of an item")
        store, codec = await self._open(), codec_for(type)
        partition, changed, cursor = store.partition(execution_id), asyncio.Event(), after or ""

        def heard(message: bytes | None) -> None:
            if message in (None, stream.encode()):
                changed.set()

        ended = partition.done_channel(execution_id)
        async with (
            store.signals.listen(ended, lambda _: changed.set()),
            store.signals.listen(partition.stream_channel(execution_id), heard),
        ):
            while True:
                changed.clear()
                page = await partition.transitions.read_stream(execution_id, stream, cursor, ITEMS_AT_ONCE)
                if page is None:
                    raise ExecutionNotFound(execution_id)
                items = page.items
                if cursor and items:
                    if items[0][0] == cursor:
                        items = items[1:]
                    else:
                        yield Truncated()
                for cursor, item in items:
                    yield _item(execution_id, cursor, item, codec)
                with decoding_errors_for(execution_id):
                    is_over = ExecutionStatus(page.status).is_final
                if page.has_more:
                    continue
                if is_over:
                    return
                await changed.wait()

    @overload
    async def value(self, execution_id: str, key: str, default: Any = None) -> Any: ...
    @overload
    async def value(self, execution_id: str, key: str, default: None = None, *, type: type[T]) -> T | None: ...
    @overload
    async def value(self, execution_id: str, key: str, default: T, *, type: type[T]) -> T: ...
    @overload
    async def value(self, execution_id: str, key: str, default: Any = None, *, type: Any) -> Any: ...
    async def value(self, execution_id: str, key: str, default: Any = None, *, type: Any = Any) -> Any:
        """What the execution has last set by `zart.set_value`, or `default`.

        Raises:
            ExecutionNotFound: there is no execution with this id.
            SerializationError: the value is no `type`.
        """
        names.check_name(execution_id, "an execution id")
        names.check_name(key, "the key of a value")
        exists, value = await (await self._open()).partition(execution_id).queries.value(execution_id, key)
        if not exists:
            raise ExecutionNotFound(execution_id)
        return default if value is None else codec_for(type).decode(value, f"the value of {key!r}")

    async def values(self, execution_id: str) -> dict[str, Any]:
        """All that the execution has set by `zart.set_value`, by key.

        Raises:
            ExecutionNotFound: there is no execution with this id.
        """
        names.check_name(execution_id, "an execution id")
        values = await (await self._open()).partition(execution_id).queries.values(execution_id)
        if values is None:
            raise ExecutionNotFound(execution_id)
        return {key: _ANY.decode(value, f"the value of {key!r}") for key, value in sorted(values.items())}


_ANY: Codec[Any] = codec_for(Any)


def _item(execution_id: str, cursor: str, item: dict[str, bytes], codec: Codec[Any]) -> StreamItem[Any] | Restarted:
    with decoding_errors_for(execution_id):
        step, attempt = item[ItemField.STEP].decode(), int(item[ItemField.ATTEMPT])
        run, at = int(item[ItemField.RUN]), from_ms(int(item[ItemField.AT]))
    if ItemField.VALUE not in item:
        return Restarted(step, attempt)
    value = codec.decode(item[ItemField.VALUE], f"an item of execution {execution_id!r}")
    return StreamItem(value, cursor, run, step or None, attempt, at)
