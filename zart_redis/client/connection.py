"""What every client has: settings, and a store that is opened at the first use and closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from zart_redis import names
from zart_redis.codec import codec_for, within
from zart_redis.errors import ExecutionFinished, ExecutionNotFound, InvalidInput, SerializationError, ZartError
from zart_redis.model import EventDelivery, ExecutionStatus
from zart_redis.registry import HandlerDefinition
from zart_redis.settings import Settings
from zart_redis.store.commits import Clock
from zart_redis.store.store import Store

PATIENCE_SECONDS = 15.0
"""How long a call tries again while Redis cannot be reached, before it raises RedisUnavailable."""


class Client:
    """Use it as an async context manager, or call `aclose` when it is not needed any more.

    Args:
        url: where Redis is; by default ZART_REDIS_URL, then [tool.zart], then the embedded server of the folder.
        namespace: that of the workers.
        settings: anything else that `Settings` knows, by name.

    Raises:
        ConfigurationError: a setting cannot work; from the first call, if it is the server that cannot.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        clock: Clock = lambda: None,
        **settings: Any,
    ) -> None:
        self.settings = Settings.load(redis_url=url, namespace=namespace, **settings)
        self._clock = clock
        self._store: Store | None = None
        self._opening = asyncio.Lock()

    def _new_store(self) -> Store:
        return Store(self.settings, patience=PATIENCE_SECONDS, clock=self._clock)

    async def _open(self) -> Store:
        async with self._opening:
            if self._store is None:
                self._store = await self._new_store().__aenter__()
            return self._store

    async def aclose(self) -> None:
        """Close the connections. Using the client again opens new ones."""
        async with self._opening:
            if self._store is not None:
                store, self._store = self._store, None
                await store.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _encode_input(self, handler: HandlerDefinition | None, data: Any, what: str) -> bytes:
        """An execution's input as it is stored; checked where the handler is declared here."""
        if handler is not None and handler.input_parameter is None and data is not None:
            raise InvalidInput(f"{what} must be None: its handler takes none")
        payload = (handler.input if handler else codec_for(Any)).encode(data, what)
        if handler is not None and handler.input_parameter is not None:
            handler.input.decode(payload, what)
        return within(self.settings.max_payload, payload, what)

    async def offer_event(self, execution_id: str, name: str, payload: Any = None) -> EventDelivery:
        """Deliver an event to an execution: the first one of a name stands for the whole run.

        Raises:
            ExecutionNotFound: there is no such execution.
            ExecutionFinished: it has ended.
            SerializationError: the payload cannot be encoded.
            PayloadTooLarge: it is larger than `max_payload`.
        """
        names.check_name(execution_id, "an execution id")
        names.check_name(name, "the name of an event")
        what = f"the payload of event {name!r}"
        data = within(self.settings.max_payload, codec_for(Any).encode(payload, what), what)
        partition = (await self._open()).partition(execution_id)
        answer = await partition.transitions.deliver(execution_id, name, data)
        if answer is None:
            raise ExecutionNotFound(execution_id)
        if not isinstance(answer, EventDelivery):
            with reading(execution_id):
                status = ExecutionStatus(answer)
            raise ExecutionFinished(execution_id, status)
        return answer


class EventClient(Client):
    """The small client of services that only deliver events: it needs no handlers.

    Example:
        >>> async with EventClient("redis://localhost") as events:
        ...     await events.offer_event("order-1", "shipped", {"tracking": "ZR-1"})
    """


def read_status(value: ExecutionStatus | str | None) -> ExecutionStatus | None:
    """Raises InvalidInput for what is no status."""
    try:
        return None if value is None else ExecutionStatus(value)
    except ValueError:
        known = ", ".join(ExecutionStatus)
        raise InvalidInput(f"there is no status {value!r}; the statuses are {known}") from None


@contextmanager
def reading(execution_id: str) -> Iterator[None]:
    """Reads fields of an execution as Redis holds them: whatever is wrong with them is one error, which names it.

    Raises:
        SerializationError: they cannot be read.
    """
    try:
        yield
    except SerializationError as error:
        raise SerializationError(f"what is stored of execution {execution_id!r} is damaged: {error}") from error
    except ZartError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise SerializationError(
            f"what is stored of execution {execution_id!r} is damaged: {type(error).__name__}: {error}"
        ) from error
