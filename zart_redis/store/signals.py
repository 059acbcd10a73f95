"""Pub/sub: one subscriber connection per process, and its listeners by channel.

A message is a hint. Whatever matters is in the keys, so after a gap in the connection every listener is called with
None, which means that it may have missed a message. In a cluster it is called so again and again: a node that dies has
not passed its last messages on to the one that we listen to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import Context
from typing import Any

from redis import exceptions
from redis.asyncio.client import PubSub

from zart_redis.backoff import Backoff
from zart_redis.errors import ConfigurationError
from zart_redis.logs import get_logger
from zart_redis.store.connections import Connections
from zart_redis.store.redis_errors import as_zart_error

log = get_logger()

Listener = Callable[[bytes | None], None]

SILENCE_SECONDS = 10.0
"""Time without a message after which the connection is checked, and time that the check may take."""
RELAY_SECONDS = 5.0
"""How often listeners in a cluster are called with None."""


class Signals:
    """Use as `async with Signals(...)`; `listen` then adds listeners."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._listeners: dict[str, set[Listener]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refusal: ConfigurationError | None = None
        """Why Redis refuses the subscription, for callers that wait for its confirmation."""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    @asynccontextmanager
    async def listen(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Calls `listener` with each message, from the moment the block is entered. It must not block.

        Raises:
            ConfigurationError: Redis refuses the subscription. Once the block is entered, this is only logged.
        """
        await self._add(channel, listener)
        try:
            yield
        finally:
            await self._remove(channel, listener)

    async def _add(self, channel: str, listener: Listener) -> None:
        listeners = self._listeners.setdefault(channel, set())
        listeners.add(listener)
        confirmed = self._confirmed.setdefault(channel, asyncio.Event())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        if len(listeners) == 1:
            self._wanted.set()
            await self._send(lambda pubsub: pubsub.subscribe(channel))
        try:
            await confirmed.wait()
            if self._refusal is not None:
                raise self._refusal
        except BaseException:
            await self._remove(channel, listener)
            raise

    async def _remove(self, channel: str, listener: Listener) -> None:
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if not listeners and self._listeners.pop(channel, None) is not None:
            del self._confirmed[channel]
            await self._send(lambda pubsub: pubsub.unsubscribe(channel))

    async def _send(self, command: Callable[[PubSub], Any]) -> None:
        """A failure here is seen by the reader too, which reconnects and subscribes to every channel that has a
        listener."""
        if (pubsub := self._pubsub) is None:
            return
        try:
            await command(pubsub)
        except exceptions.RedisError as error:
            log.debug("subscription not sent", error=str(error))
        finally:
            if self._pubsub is not pubsub:  # the reader has closed it, and the command may have connected it again
                await pubsub.connection_pool.disconnect()

    async def _run(self) -> None:
        backoff, turn = Backoff(), 0
        while True:
            await self._wanted.wait()
            try:
                async with aclosing(self._connections.pubsub(turn)) as pubsub:
                    try:
                        await self._read(pubsub, backoff)
                    finally:
                        self._pubsub = None
            except Exception as error:
                log.warning("lost the connection that listens to Redis; reconnecting", error=str(error))
                self._refuse(error)
                await self._connections.relocate(error)
                turn += 1
            finally:
                for confirmed in self._confirmed.values():
                    confirmed.clear()
            await backoff.wait()

    def _refuse(self, error: Exception) -> None:
        """Fail callers that wait for a subscription that Redis refuses."""
        shown = as_zart_error(error, self._connections.name)
        self._refusal = shown if isinstance(shown, ConfigurationError) else None
        if self._refusal is not None:
            for confirmed in self._confirmed.values():
                confirmed.set()

    async def _read(self, pubsub: PubSub, backoff: Backoff) -> None:
        channels = list(self._listeners)
        if not channels:
            self._wanted.clear()
            return
        await pubsub.subscribe(*channels)
        self._pubsub = pubsub
        for channel in self._listeners.keys() - set(channels):
            await pubsub.subscribe(channel)
        self._announce_gap()
        asked, announced = False, time.monotonic()
        is_relayed = self._connections.are_messages_relayed
        while True:
            if is_relayed and time.monotonic() - announced >= RELAY_SECONDS:
                self._announce_gap()
                announced = time.monotonic()
            silence = RELAY_SECONDS if is_relayed else SILENCE_SECONDS
            message: dict[str, Any] | None = await pubsub.get_message(timeout=silence)
            if message is None:
                if asked:
                    raise exceptions.TimeoutError("the subscriber connection is silent")
                await pubsub.ping()
                asked = True
                continue
            asked = False
            backoff.reset()
            self._dispatch(message)

    def _announce_gap(self) -> None:
        for listeners in self._listeners.values():
            for listener in list(listeners):
                _call(listener, None)

    def _dispatch(self, message: dict[str, Any]) -> None:
        if message["channel"] is None:
            return
        channel = message["channel"].decode(errors="replace")
        if message["type"] == "subscribe" and channel in self._confirmed:
            self._refusal = None
            self._confirmed[channel].set()
        elif message["type"] == "message":
            for listener in list(self._listeners.get(channel, ())):
                _call(listener, message["data"])


def _call(listener: Listener, message: bytes | None) -> None:
    """An error in one listener, caused by any published message, does not affect the others."""
    try:
        listener(message)
    except Exception:
        log.exception("a pub/sub message could not be handled")
