"""The clients without `await`, for Django, Flask, scripts and notebooks.

Nothing is implemented twice. Behind each client is an asynchronous one, in its own event loop in a daemon thread;
a method sends its call there and blocks until the call has ended. So a client may be used by any number of threads at
once, and also where an event loop runs, as in a notebook. Inside an `async def` take `zart_redis.DurableScheduler`:
a call of these would hold up the loop.

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
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent import futures
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar

from zart_redis.client import connection, scheduler
from zart_redis.client.connection import Client

__all__ = ["DurableScheduler", "EventClient"]

P = ParamSpec("P")
R = TypeVar("R")
AsyncClient_co = TypeVar("AsyncClient_co", bound=Client, covariant=True)

CLOSING_SECONDS = 5.0
"""How long `close` and the end of the interpreter wait for a Redis that does not answer."""


def blocking(
    method: Callable[Concatenate[AsyncClient_co, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingClient[AsyncClient_co], P], R]:
    """What `method` does, blocking, as a method of the client here. Type checkers keep its overloads and generics."""
    name = method.__name__

    def call(self: BlockingClient[AsyncClient_co], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return self._call(name, args, kwargs)

    functools.update_wrapper(call, method)
    return call


class BlockingClient(Generic[AsyncClient_co]):
    """What both clients have. A subclass gets each coroutine method of the class it is made `of`; those that it
    declares by `blocking` are known to type checkers too.

    Connections are opened by the first call, and closed by `close`, by the end of a `with` block, when the client is
    garbage or when the interpreter ends, whichever comes first.

    Args:
        url: where Redis is; by default ZART_REDIS_URL, then [tool.zart], then the embedded server of the folder.
        namespace: that of the workers.
        settings: anything else that the asynchronous client takes, by name.

    Raises:
        ConfigurationError: a setting cannot work; from the first call, if it is the server that cannot.
        RuntimeError: from a method: it was called inside a call of the same client, or `close` was called meanwhile.
    """

    _async_class: ClassVar[type[Client]]
    _bridge: _Bridge | None = None

    def __init_subclass__(cls, of: type[Client] | None = None) -> None:
        if of is None:
            return
        cls._async_class = of
        for name, method in inspect.getmembers(of, inspect.iscoroutinefunction):
            if not name.startswith("_") and name != "aclose" and not hasattr(cls, name):
                setattr(cls, name, blocking(method))

    def __init__(self, url: str | None = None, *, namespace: str | None = None, **settings: Any) -> None:
        self._make = functools.partial(self._async_class, url, namespace=namespace, **settings)
        self.settings = self._make().settings

    def close(self) -> None:
        """Close the connections. Calls of other threads that are under way raise RuntimeError. Using the client again
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
        with _lock:
            if self._bridge not in _bridges:  # none yet, or this is a forked child
                client = self._make()
                client.settings = self.settings  # whatever the environment says by now
                self._bridge = _Bridge(client)
                weakref.finalize(self, self._bridge.stop).atexit = False
            future = self._bridge.submit(name, args, kwargs)
        try:
            return future.result()
        except futures.CancelledError:
            raise RuntimeError(f"the client was closed while {name}() was under way") from None
        except BaseException:  # above all KeyboardInterrupt
            future.cancel()
            raise


def _drawn(argument: Any) -> Any:
    """An iterator's items, drawn in the thread of the caller: the code behind it, a database query say, is not made for
    the event loop."""
    return list(argument) if isinstance(argument, Iterator) else argument


class _Bridge:
    """An asynchronous client and the event loop that it lives in, in a daemon thread."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._thread = threading.Thread(target=self._work, name="zart-sync", daemon=True)
        _bridges.add(self)
        self._thread.start()

    def submit(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> futures.Future[Any]:
        """The outcome of a call, which sees the context variables of the caller. Cancelling it cancels the call."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                f"{name}() was called inside a call of the same client, and would wait forever. "
                "Code that runs while a value is encoded or decoded cannot use the client"
            )
        return asyncio.run_coroutine_threadsafe(self._call(name, args, kwargs), self._loop)

    def stop(self) -> None:
        """End the calls under way, close the connections, then end the thread. Returns at once."""
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self) -> None:
        self._thread.join(CLOSING_SECONDS)

    def abandon(self) -> None:
        """In a forked child, where the thread is missing: let nothing that becomes of the loop here, such as garbage
        collection, reach the sockets, which are the parent's. A TLS connection would say goodbye on them."""
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

    async def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            return await getattr(self._client, name)(*args, **kwargs)
        finally:
            self._calls.discard(call)


_lock = threading.RLock()
"""Guards the bridge of every client, so that no call is submitted to one that stops."""
_bridges: set[_Bridge] = set()
"""Those whose thread lives."""


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


class EventClient(BlockingClient[connection.EventClient], of=connection.EventClient):
    """The small client of services that only deliver events: it needs no handlers.

    Example:
        >>> events = EventClient("redis://localhost")
        >>> events.offer_event("order-1", "shipped", {"tracking": "ZR-1"})
    """

    offer_event = blocking(connection.EventClient.offer_event)


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
    runs = blocking(scheduler.DurableScheduler.runs)
    detail = blocking(scheduler.DurableScheduler.detail)
    history = blocking(scheduler.DurableScheduler.history)
    list_executions = blocking(scheduler.DurableScheduler.list_executions)
    workers = blocking(scheduler.DurableScheduler.workers)
    stats = blocking(scheduler.DurableScheduler.stats)
    # manage
    cancel = blocking(scheduler.DurableScheduler.cancel)
    offer_event = blocking(scheduler.DurableScheduler.offer_event)
    retry_step = blocking(scheduler.DurableScheduler.retry_step)
    restart = blocking(scheduler.DurableScheduler.restart)
    rerun_steps = blocking(scheduler.DurableScheduler.rerun_steps)
    pause = blocking(scheduler.DurableScheduler.pause)
    resume = blocking(scheduler.DurableScheduler.resume)
    list_pause_rules = blocking(scheduler.DurableScheduler.list_pause_rules)
    purge = blocking(scheduler.DurableScheduler.purge)
    doctor = blocking(scheduler.DurableScheduler.doctor)
