"""The base of every client: settings, and a store that is opened at the first use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from zart_redis.engine.ports import StartArguments
from zart_redis.errors import (
    ConfigurationError,
    InvalidInput,
    SerializationError,
    ZartError,
)
from zart_redis.model import Clock, ExecutionStatus, server_clock
from zart_redis.registry import HandlerDefinition
from zart_redis.settings import Settings
from zart_redis.starting import StartRequest, encode_input, start_arguments
from zart_redis.store.store import Partition, Store

PATIENCE_SECONDS = 15.0
"""How long a call retries while Redis is unreachable before it raises RedisUnavailable."""


class Client:
    """Use it as an async context manager, or call `aclose` when done.

    Args:
        url: URL of Redis; by default ZART_REDIS_URL, then [tool.zart], then the embedded server of the folder.
        namespace: the namespace that the workers use.
        settings: other fields of `Settings`, by name.

    Raises:
        ConfigurationError: a setting is invalid; or, from the first call, the server cannot be used.
        RedisUnavailable: from a call: Redis cannot be reached.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str | None = None,
        clock: Clock = server_clock,
        **settings: Any,
    ) -> None:
        self.settings = Settings.load(redis_url=url, namespace=namespace, **settings)
        self._clock = clock
        self._store: Store | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()

    def _new_store(self) -> Store:
        return Store(self.settings, patience=PATIENCE_SECONDS, clock=self._clock)

    async def _open(self) -> Store:
        loop = asyncio.get_running_loop()
        if self._store is not None and self._loop is not loop:
            raise ConfigurationError(
                "this client is open in another event loop: make a client for each loop and close it before its loop "
                "ends, or use zart_redis.sync from threads and scripts"
            )
        async with self._opening:
            if self._store is None:
                self._store, self._loop = await self._new_store().__aenter__(), loop
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

    async def _time(self, partition: Partition) -> int:
        """The time in ms: that of Redis, or of a test."""
        supplied = self._clock()
        return await partition.queries.now() if supplied is None else supplied

    def _start_arguments(self, request: StartRequest, handler: HandlerDefinition | None) -> StartArguments:
        return start_arguments(request, handler, self.settings.max_payload, self.settings.retention)

    def _encode_input(self, handler: HandlerDefinition | None, data: Any, what: str) -> bytes:
        return encode_input(handler, data, what, self.settings.max_payload)


def read_status(value: ExecutionStatus | str | None) -> ExecutionStatus | None:
    """Raises InvalidInput if it is not a status."""
    try:
        return None if value is None else ExecutionStatus(value)
    except ValueError:
        known = ", ".join(ExecutionStatus)
        raise InvalidInput(f"there is no status {value!r}; the statuses are {known}") from None


@contextmanager
def decoding_errors_for(execution_id: str) -> Iterator[None]:
    """Turn any error from decoding the stored fields of an execution into one that names the execution.

    Raises:
        SerializationError: the fields cannot be decoded.
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
