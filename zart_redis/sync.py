"""The clients without `await`, for Django, Flask, scripts and notebooks.

Each client wraps an asynchronous one, which runs in its own event loop in a daemon thread. A method sends its call
there and blocks until the call has ended. So any number of threads can share a client, also where an event loop runs,
as in a notebook. Inside an `async def` use `zart_redis.DurableScheduler`, because calls of these clients block the
loop.

A client made before a fork (gunicorn, multiprocessing) works in the child, with its own connections.

Example:
    >>> with DurableScheduler("redis://localhost") as scheduler:
    ...     scheduler.start_for(checkout, "order-1", order)
    ...     receipt = scheduler.wait_for(checkout, "order-1", timeout="1m")
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import os
import selectors
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar

from zart_redis.client import delivery, scheduler
from zart_redis.client.connection import Client

__all__ = ["DurableScheduler", "EventClient"]

P = ParamSpec("P")
R = TypeVar("R")
AsyncClient_co = TypeVar("AsyncClient_co", bound=Client, covariant=True)

CLOSING_SECONDS = 5.0
"""How long `close` and the exit of the interpreter wait for a Redis that does not respond."""


def blocking(
    method: Callable[Concatenate[AsyncClient_co, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingClient[AsyncClient_co], P], R]:
    """A blocking version of `method` for the clients of this module. It keeps the overloads and generics of its
    type."""
    name = method.__name__

    def call(self: BlockingClient[AsyncClient_co], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self._call(name, args, kwargs)

    functools.update_wrapper(call, method)
    return call


def iterating(
    method: Callable[Concatenate[AsyncClient_co, P], AsyncIterator[R]],
) -> Callable[Concatenate[BlockingClient[AsyncClient_co], P], Iterator[R]]:
    """As `blocking`, for an asynchronous iterator."""
    name = method.__name__

    def call(self: BlockingClient[AsyncClient_co], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return self._iterate(name, args, kwargs)

    functools.update_wrapper(call, method)
    return call


class BlockingClient(Generic[AsyncClient_co]):
    """Base of both clients. A subclass gets every coroutine method of the class named by `of`; type checkers see those
    that it declares with `blocking`.

    Connections are opened by the first call, and closed by `close`, by the end of a `with` block, when the client is
    garbage-collected or when the interpreter exits, whichever comes first.

    Args:
        url: URL of Redis; by default ZART_REDIS_URL, then [tool.zart], then the embedded server of the folder.
        namespace: the namespace that the workers use.
        settings: other arguments of the asynchronous client, by name.

    Raises:
        ConfigurationError: a setting is invalid; or, from the first call, the server cannot be used.
        RuntimeError: from a method that is called inside a call of the same client, or while `close` is called.
    """

    _async_class: ClassVar[type[Client]]
    _bridge: _Bridge | None = None

    def __init_subclass__(cls, of: type[Client] | None = None) -> None:
        if of is None:
            return
        cls._async_class = of
        for name, method in inspect.getmembers(of, inspect.isfunction):
            if name.startswith("_") or name == "aclose" or hasattr(cls, name):
                continue
            if inspect.iscoroutinefunction(method):
                setattr(cls, name, blocking(method))
            elif inspect.isasyncgenfunction(method):
                setattr(cls, name, iterating(method))

    def __init__(self, url: str | None = None, *, namespace: str | None = None, **settings: Any) -> None:
        self._make = functools.partial(self._async_class, url, namespace=namespace, **settings)
        self.settings = self._make().settings

    def close(self) -> None:
        """Close the connections. Calls in progress in other threads raise RuntimeError. Using the client again
        opens new connections."""
        with _lock:
            bridge, self._bridge = self._bridge, None
        if bridge in _bridges:
            bridge.stop()
            bridge.join()

    def __enter__(self) -> Self:
        try:
            self._call("__aenter__", (), {})
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, name: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
        args, kwargs = tuple(map(_drawn, args)), {key: _drawn(value) for key, value in kwargs.items()}
        return self._run(name, lambda client: getattr(client, name)(*args, **kwargs))

    def _iterate(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        """What an asynchronous iterator of the client yields."""
        items: Any = None
        bridge, end = None, object()

        async def advance(client: Client) -> Any:
            nonlocal items
            if items is None:
                items = getattr(client, name)(*args, **kwargs)
            return await anext(items, end)

        async def close(_: Client) -> None:
            await items.aclose()

        try:
            while (item := self._run(name, advance)) is not end:
                bridge = self._bridge
                yield item
        finally:
            if items is not None and bridge is self._bridge and bridge in _bridges:
                self._run(name, close)

    def _run(self, name: str, action: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        with _lock:
            if self._bridge not in _bridges:  # none yet, or this is a forked child
                client = self._make()
                client.settings = self.settings  # not those of the environment, which may have changed
                self._bridge = _Bridge(client)
                weakref.finalize(self, self._bridge.stop).atexit = False
            future = self._bridge.submit(name, action)
        try:
            return future.result()
        except futures.CancelledError:
            raise RuntimeError(f"the client was closed while {name}() was in progress") from None
        except BaseException:  # above all KeyboardInterrupt
            future.cancel()
            raise


def _drawn(argument: Any) -> Any:
    """The items of an iterator, fetched in the thread of the caller: its code, such as a database query, may not be
    made for the event loop."""
    return list(argument) if isinstance(argument, Iterator) else argument


class _Bridge:
    """An asynchronous client and its event loop, in a daemon thread."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._thread = threading.Thread(target=self._work, name="zart-sync", daemon=True)
        _bridges.add(self)
        self._thread.start()

    def submit(self, name: str, action: Callable[[Any], Coroutine[Any, Any, Any]]) -> futures.Future[Any]:
        """Submit a call, which sees the context variables of the caller. Cancelling the future cancels the call."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                f"{name}() was called inside a call of the same client, and would wait forever. "
                "Code that runs while a value is encoded or decoded cannot use the client"
            )
        return asyncio.run_coroutine_threadsafe(self._call(action), self._loop)

    def stop(self) -> None:
        """Cancel the calls in progress, close the connections, then end the thread. Returns at once."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        self._thread.join(CLOSING_SECONDS)

    def abandon(self) -> None:
        """In a forked child, which has no such thread: keep the loop, and its garbage collection, away from the sockets
        of the parent. A TLS connection would send a close notification on them."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for key in (self._selector.get_map() or {}).values():
            os.dup2(nowhere, key.fd, inheritable=False)
        os.close(nowhere)

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        finally:
            _bridges.discard(self)

    async def _serve(self) -> None:
        await self._stopping.wait()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._client.aclose()

    async def _call(self, action: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            return await action(self._client)
        finally:
            self._calls.discard(call)


_lock = threading.RLock()
"""Guards the bridge of every client, so that no call is submitted to a bridge that stops."""
_bridges: set[_Bridge] = set()
"""The bridges whose thread is alive."""


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held the old one
    for bridge in _bridges:
        bridge.abandon()
    _bridges.clear()


@atexit.register
def _close_all() -> None:
    closing = list(_bridges)
    for bridge in closing:
        bridge.stop()
    for bridge in closing:
        bridge.join()


os.register_at_fork(after_in_child=_after_fork)


class EventClient(BlockingClient[delivery.EventClient], of=delivery.EventClient):
    """A client for services that only deliver events; it needs no handlers.

    Example:
        >>> events = EventClient("redis://localhost")
        >>> events.offer_event("order-1", "shipped", {"tracking": "ZR-1"})
    """

    offer_event = blocking(delivery.EventClient.offer_event)
    send = blocking(delivery.EventClient.send)


class DurableScheduler(BlockingClient[scheduler.DurableScheduler], of=scheduler.DurableScheduler):
    """Starts and follows executions; the methods are those of `zart_redis.DurableScheduler`.

    Example:
        >>> scheduler = DurableScheduler("redis://localhost")
        >>> scheduler.start("order-1", "checkout", order)
        >>> scheduler.wait_completion("order-1", timeout="1m", type=Receipt)
    """

    # start
    start = blocking(scheduler.DurableScheduler.start)
    start_for = blocking(scheduler.DurableScheduler.start_for)
    start_many = blocking(scheduler.DurableScheduler.start_many)
    start_and_wait_for = blocking(scheduler.DurableScheduler.start_and_wait_for)
    # follow
    status = blocking(scheduler.DurableScheduler.status)
    wait = blocking(scheduler.DurableScheduler.wait)
    wait_completion = blocking(scheduler.DurableScheduler.wait_completion)
    wait_for = blocking(scheduler.DurableScheduler.wait_for)
    follow = iterating(scheduler.DurableScheduler.follow)
    value = blocking(scheduler.DurableScheduler.value)
    values = blocking(scheduler.DurableScheduler.values)
    runs = blocking(scheduler.DurableScheduler.runs)
    detail = blocking(scheduler.DurableScheduler.detail)
    history = blocking(scheduler.DurableScheduler.history)
    list_executions = blocking(scheduler.DurableScheduler.list_executions)
    count_executions = blocking(scheduler.DurableScheduler.count_executions)
    workers = blocking(scheduler.DurableScheduler.workers)
    stats = blocking(scheduler.DurableScheduler.stats)
    # manage
    cancel = blocking(scheduler.DurableScheduler.cancel)
    offer_event = blocking(scheduler.DurableScheduler.offer_event)
    send = blocking(scheduler.DurableScheduler.send)
    retry_step = blocking(scheduler.DurableScheduler.retry_step)
    restart = blocking(scheduler.DurableScheduler.restart)
    rerun_steps = blocking(scheduler.DurableScheduler.rerun_steps)
    queues = blocking(scheduler.DurableScheduler.queues)
    cancel_many = blocking(scheduler.DurableScheduler.cancel_many)
    restart_many = blocking(scheduler.DurableScheduler.restart_many)
    retry_failed = blocking(scheduler.DurableScheduler.retry_failed)
    pause = blocking(scheduler.DurableScheduler.pause)
    resume = blocking(scheduler.DurableScheduler.resume)
    list_pause_rules = blocking(scheduler.DurableScheduler.list_pause_rules)
    set_limit = blocking(scheduler.DurableScheduler.set_limit)
    reset_limit = blocking(scheduler.DurableScheduler.reset_limit)
    limits = blocking(scheduler.DurableScheduler.limits)
    start_recurring = blocking(scheduler.DurableScheduler.start_recurring)
    stop_recurring = blocking(scheduler.DurableScheduler.stop_recurring)
    pause_recurring = blocking(scheduler.DurableScheduler.pause_recurring)
    resume_recurring = blocking(scheduler.DurableScheduler.resume_recurring)
    trigger_recurring = blocking(scheduler.DurableScheduler.trigger_recurring)
    list_recurring = blocking(scheduler.DurableScheduler.list_recurring)
    purge = blocking(scheduler.DurableScheduler.purge)
    doctor = blocking(scheduler.DurableScheduler.doctor)
