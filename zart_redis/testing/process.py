"""A process within the process: asyncio tasks that can be stopped at any point, as SIGSTOP and kill -9 would.

A frozen task is not cancelled: no `except` and no `finally` of its code runs. It is never scheduled again. What a
plain `def` does in its thread cannot be stopped; its result is discarded.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

T = TypeVar("T")

Factory = Callable[..., "asyncio.Future[Any]"]

_marked: ContextVar[Process | None] = ContextVar("zart_process")
_owner_of: WeakKeyDictionary[asyncio.Future[Any], Process] = WeakKeyDictionary()

UNWIND_SECONDS = 5.0


class Process:
    """Its tasks are those that `run` makes, and all that these make in turn, while `install` is in force."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.gate = threading.RLock()
        """Held by a thread of this process while it does something that must not outlast a freeze."""
        self.awake = threading.Event()
        """For threads of this process to wait for, while it is frozen."""
        self.awake.set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._finished: WeakSet[asyncio.Future[Any]] = WeakSet()
        self._held: list[asyncio.Future[None]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this process."""
        context = copy_context()
        context.run(_marked.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def adopt(self, task: asyncio.Future[Any]) -> None:
        """A task that `end` must end too."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        self._finished.add(task)

    def freeze(self) -> None:
        """No task of it gets a turn until it is thawed."""
        with self.gate:
            self.frozen = True
            self.awake.clear()

    def kill(self) -> None:
        """Frozen until `end` cleans it up."""
        self.dead = True
        self.freeze()

    def thaw(self) -> None:
        """Let its tasks run again, and see what they missed."""
        self.frozen = False
        self.awake.set()
        held, self._held = self._held, []
        for hold in held:
            if not hold.done():
                hold.set_result(None)

    async def forever(self) -> None:
        """Does not return, until the process is ended: then it raises CancelledError."""
        if task := asyncio.current_task():
            self.adopt(task)
        await asyncio.get_running_loop().create_future()

    async def end(self) -> None:
        """Unwind whatever there still is of it. A dead one can do nothing with it: its connections are cut."""
        self.thaw()
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + UNWIND_SECONDS, 0.001
        while self._tasks and loop.time() < deadline:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=pause)
            pause *= 2
        for task in self._finished:
            if self.dead and not task.cancelled():
                task.exception()  # the task that would have asked for it is dead too

    def _hold(self) -> asyncio.Future[None]:
        hold = asyncio.get_running_loop().create_future()
        hold._asyncio_future_blocking = True  # as a coroutine that awaits it would yield it
        self._held.append(hold)
        return hold


class _Stoppable(Coroutine[Any, Any, Any]):
    """A coroutine that does not run while its process is frozen, and remembers how it would have continued."""

    def __init__(self, inner: Coroutine[Any, Any, Any], process: Process) -> None:
        self._inner = inner
        self._process = process
        self._missed: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    def send(self, value: Any) -> Any:
        return self._go_on(self._inner.send, value)

    def throw(self, *error: Any) -> Any:
        return self._go_on(self._inner.throw, *error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # cr_frame and the like, for debuggers

    def _go_on(self, resume: Callable[..., Any], *arguments: Any) -> Any:
        if self._process.frozen:
            if self._missed is None or resume == self._inner.throw:
                self._missed = resume, arguments
            return self._process._hold()
        if self._missed is not None:
            missed, self._missed = self._missed, None
            if resume != self._inner.throw:
                resume, arguments = missed
        return resume(*arguments)


class _Stopping:
    """A task factory that makes the tasks of processes stoppable."""

    def __init__(self, previous: Factory | None) -> None:
        self.previous = previous
        self.users = 0

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any],
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Future[Any]:
        process = _process_of(loop, context)
        if process is not None:
            work = _Stoppable(work, process)
        if context is not None:
            options["context"] = context
        if self.previous is not None:
            task = self.previous(loop, work, **options)
        else:
            task = asyncio.Task(work, loop=loop, **options)
        if process is not None:
            _owner_of[task] = process
            process.adopt(task)
        return task


def _process_of(loop: asyncio.AbstractEventLoop, context: Context | None) -> Process | None:
    """The process that a new task belongs to: the one its context names, else that of the task which makes it."""
    named: Process | None
    try:
        named = _marked.get() if context is None else context[_marked]
    except LookupError:
        task = asyncio.current_task(loop)
        named = _owner_of.get(task) if task is not None else None
    return named


def outside() -> Context:
    """A context of no process, for a task that must live on when the one that makes it is frozen."""
    context = copy_context()
    context.run(_marked.set, None)
    return context


def install(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Make processes possible in this loop. Returns a function that undoes it."""
    found = loop.get_task_factory()
    while found is not None and not isinstance(found, _Stopping):
        found = getattr(found, "previous", None)
    factory = found or _below_others(loop)
    factory.users += 1

    def undo() -> None:
        factory.users -= 1
        if factory.users == 0:
            _take_out(loop, factory)

    return undo


def _below_others(loop: asyncio.AbstractEventLoop) -> _Stopping:
    """A worker that runs already has its own factory, which must see the finished task: this one goes below it."""
    top: Any = loop.get_task_factory()
    if not hasattr(top, "previous"):
        factory = _Stopping(top)
        loop.set_task_factory(factory)  # type: ignore[arg-type]
        return factory
    while hasattr(top.previous, "previous"):
        top = top.previous
    top.previous = _Stopping(top.previous)
    below: _Stopping = top.previous
    return below


def _take_out(loop: asyncio.AbstractEventLoop, factory: _Stopping) -> None:
    top: Any = loop.get_task_factory()
    if top is factory:
        loop.set_task_factory(factory.previous)
    while top is not None and not isinstance(top, _Stopping):
        if getattr(top, "previous", None) is factory:
            top.previous = factory.previous
            return
        top = getattr(top, "previous", None)
