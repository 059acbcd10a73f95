"""Services: what a worker does in the background. Starts them in order, supervises them, and stops them in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from zart_redis.backoff import Backoff
from zart_redis.errors import ConfigurationError
from zart_redis.logs import get_logger
from zart_redis.store.signals import Listener, Signals

log = get_logger()

FIRST_RESTART_SECONDS, MAX_RESTART_SECONDS = 0.1, 5.0
"""Delays before a failed service is restarted."""

Subscribe = Callable[[str, Listener], Awaitable[None]]
"""Subscribes a message handler to a channel until all services have stopped."""


class Service:
    """A service overrides the methods that it needs."""

    async def listen(self, subscribe: Subscribe) -> None:
        """Subscribe to messages and read what `run` needs. An error here stops the worker."""

    async def run(self) -> None:
        """Work until cancelled. Restarted after an exception, except for ConfigurationError, which stops the worker."""
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Release what the service holds. Called after `run` was cancelled, or if `listen` failed."""


@asynccontextmanager
async def running(services: Sequence[Service], signals: Signals) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run services during the block, and yield their tasks. None of these should end before the block does."""
    async with AsyncExitStack() as subscriptions, AsyncExitStack() as stack:

        async def subscribe(channel: str, listener: Listener) -> None:
            await subscriptions.enter_async_context(signals.listen(channel, listener))

        tasks = []
        for service in services:
            stack.push_async_callback(service.stop)
            await service.listen(subscribe)
            task = asyncio.create_task(_restart_on_error(service), name=f"zart-{type(service).__name__}")
            stack.push_async_callback(_cancel, task)
            tasks.append(task)
        yield tasks


async def _restart_on_error(service: Service) -> None:
    backoff = Backoff(FIRST_RESTART_SECONDS, MAX_RESTART_SECONDS)
    while True:
        try:
            await service.run()
            return
        except ConfigurationError:
            raise
        except Exception as error:
            log.exception(
                "a service of the worker failed; restarting it", service=type(service).__name__, error=str(error)
            )
        await backoff.wait()


async def _cancel(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
