"""The event loop of one body: it has no clock and no selector, and moves only when it is driven.

A worker drives it from a callback in the worker's loop. Between two completions the body runs until all of its tasks
wait: quiescence is detected exactly, at no cost. asyncio's primitives, task groups and anyio work on it unchanged;
anything that reaches outside (sockets, subprocesses, threads, executors, signals) raises `NotDurable`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from enum import Enum, auto
from types import FunctionType, MethodType
from typing import Any, TypeVar, TypeVarTuple, Unpack
from zlib import crc32

from zart_redis.engine.handles import BodyHandle, BodyTimer
from zart_redis.engine.task_order import keep_order
from zart_redis.engine.undurable import UndurableLoop, refuse
from zart_redis.engine.unwinding import coroutines_of, unwind_asyncgen, unwind_task
from zart_redis.errors import NotDurable
from zart_redis.logs import get_logger

log = get_logger()
keep_order()

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CALLBACKS_PER_SLICE = 1_000
"""Callbacks that run before the body lets the worker do something else."""


class Slice(Enum):
    """Why the loop stopped running."""

    QUIESCENT = auto()
    """No callback is left, except those that queue themselves again."""
    MORE = auto()
    """Callbacks are left: drive it again after other work of the loop."""


class BodyFuture(asyncio.Future[T]):
    """A future whose hash is the same in each pass, so that a set of futures is iterated in the same order."""

    def __init__(self, loop: BodyLoop) -> None:
        super().__init__(loop=loop)
        self._hash = loop.next_hash()

    def __hash__(self) -> int:
        return self._hash


class BodyTask(asyncio.Task[T]):
    """A task whose hash is the same in each pass; it keeps its context, in which its coroutine is closed."""

    def __init__(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], loop: BodyLoop, name: str | None, context: Context
    ) -> None:
        self._hash = loop.next_hash()
        self.ordinal = loop.next_task()
        self.timers = 0
        self.context = context
        super().__init__(coro, loop=loop, name=name or f"task-{self.ordinal}", context=context)

    def __hash__(self) -> int:
        return self._hash

    @property
    def waits_for(self) -> asyncio.Future[Any] | None:
        """What the task awaits."""
        task: Any = self  # asyncio does not declare it
        future: asyncio.Future[Any] | None = task._fut_waiter
        return future

    def silence(self) -> None:
        """It is dropped before it has ended, which is not an error."""
        self._log_destroy_pending = False


class BodyLoop(UndurableLoop):
    """The event loop of one pass of a body.

    Args:
        seed: the start of the hashes of tasks and futures: the same in each pass of a run, different between runs.
        now: the time at which the run was started, in seconds.

    Invariants:
        `time()` moves only in `move_to`, between two slices.
        A timer is in `timers` from when it is set until it is cancelled or fired.
        After `close`, no callback runs and none is accepted.
    """

    def __init__(self, seed: str, now: float) -> None:
        self.timers: dict[str, BodyTimer] = {}
        """The timers that are set, by name."""
        self._new_timers: list[BodyTimer] = []
        self._cancelled_timers: list[str] = []
        self._now = now
        self.ready: deque[asyncio.Handle] = deque()
        """The callbacks that are queued."""
        self._turn: list[Any] = []
        """The callbacks that run now. The callback of a handle is private to asyncio."""
        self.timers_changed = False
        """Whether `take_timers` has something to return."""
        self._outer_hooks: Any = None
        self._tasks: dict[BodyTask[Any], None] = {}
        self._hash_base = (crc32(seed.encode()) & 0x0FFF_FFFF) << 32
        self._hashes = 0
        self._task_count = 0
        self._stray_timers = 0
        self._running = False
        self._closed = False
        self._thread = threading.get_ident()
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None

    # ---- driven by the worker ----

    def run_slice(self, limit: int = CALLBACKS_PER_SLICE) -> tuple[Slice, int]:
        """Run callbacks until none is left, or about `limit` have run. Returns which, and how many ran.

        Call it outside of any task of the surrounding loop.
        """
        ready, count = self.ready, 0
        outer = self._enter()
        try:
            while ready and not self._closed:
                turn = self._turn = [*ready]
                ready.clear()
                for handle in turn:
                    if not handle._cancelled:
                        try:
                            handle._context.run(handle._callback, *handle._args)
                        except SystemExit:  # a task has kept it as its error
                            pass
                        except Exception as error:
                            self._callback_failed(handle, error)
                count += len(turn)
                if ready and self._only_repeats(turn):
                    break
                if count >= limit:
                    return Slice.MORE, count
        finally:
            self._turn = []
            self._exit(outer)
        return Slice.QUIESCENT, count

    def _only_repeats(self, turn: list[asyncio.Handle]) -> bool:
        """Whether each callback that is queued has just run and queued itself again, as anyio's delivery of a
        cancellation does for as long as the cancelled task waits."""
        left: Any  # the callback of a handle is private to asyncio
        before: list[Any] = [*turn]
        for left in self.ready:
            if not isinstance(left._callback, MethodType | FunctionType):
                return False  # a task continues
            if not any(left._callback == ran._callback and left._args == ran._args for ran in before):
                return False
        return True

    def _enter(self) -> asyncio.AbstractEventLoop | None:
        """Become the running loop. Returns the surrounding one."""
        outer = events._get_running_loop()
        if self._outer_hooks is None:
            self._outer_hooks = sys.get_asyncgen_hooks()
        self._running = True
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(None, self._finalize_asyncgen)
        return outer

    def _exit(self, outer: asyncio.AbstractEventLoop | None) -> None:
        sys.set_asyncgen_hooks(*self._outer_hooks)
        events._set_running_loop(outer)
        self._running = False

    def _callback_failed(self, handle: asyncio.Handle, error: Exception) -> None:
        message = f"exception in callback of a body: {handle!r}"
        self.call_exception_handler({"message": message, "exception": error, "handle": handle})

    def halt(self) -> None:
        """Called by a callback: no callback runs after it."""
        self.ready.clear()
        for handle in self._turn:
            handle.cancel()

    def move_to(self, now: float) -> None:
        """Set the time; it never goes back."""
        self._now = max(self._now, now)

    def fire(self, name: str) -> None:
        """Queue the callback of a timer."""
        timer = self.timers.pop(name, None)
        if timer is not None:
            self.ready.append(timer)

    def take_timers(self) -> tuple[list[BodyTimer], list[str]]:
        """The timers that were set and the names of those that were cancelled since the last call."""
        new = [timer for timer in self._new_timers if not timer.cancelled()]
        unknown = {timer.name for timer in self._new_timers}
        cancelled = [name for name in self._cancelled_timers if name not in unknown]
        self._new_timers, self._cancelled_timers, self.timers_changed = [], [], False
        return new, cancelled

    def close(self) -> None:
        """Close the body at its current point: its coroutines are unwound, the newest first, and no other code of it
        runs.

        `finally` blocks run, each in its task and its context, and cannot wait for anything.
        """
        if self._closed:
            return
        self._closed = True
        self.ready.clear()
        self.timers.clear()
        outer = self._enter()
        try:
            while self._tasks:
                task, _ = self._tasks.popitem()
                task.silence()
                task.context.run(unwind_task, task)
        finally:
            self._exit(outer)

    def fail_newest_wait(self) -> bool:
        """Raise `NotDurable` in the newest task that waits for a future. Returns False if there is none."""
        for task in reversed(self._tasks):
            future = task.waits_for
            if future is not None and not isinstance(future, asyncio.Task) and not future.done():
                where = coroutines_of(task)
                future.set_exception(NotDurable(f"{where} waits for something that is not durable: make it a step"))
                return True
        return False

    def __str__(self) -> str:
        """The names of the coroutines of its tasks."""
        return ", ".join(map(coroutines_of, self._tasks))

    # ---- used by tasks and futures ----

    def next_hash(self) -> int:
        self._hashes += 1
        return self._hash_base | self._hashes

    def next_task(self) -> int:
        self._task_count += 1
        return self._task_count

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, BodyTimer) and self.timers.pop(handle.name, None) is not None:
            self._cancelled_timers.append(handle.name)
            self.timers_changed = True

    # ---- asyncio's interface ----

    def time(self) -> float:
        """The time of the last completion, in seconds."""
        return self._now

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = BodyHandle(callback, args, self, context)
        if not self._closed:
            self.ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        task = asyncio.current_task(self)
        if isinstance(task, BodyTask):
            task.timers += 1
            name = f"{task.ordinal}.{task.timers}"
        else:
            self._stray_timers += 1
            name = f"0.{self._stray_timers}"
        timer = BodyTimer(name, when, callback, args, self, context)
        if self._closed:
            return timer
        if when <= self._now:
            self.ready.append(timer)
        else:
            timer._scheduled = True  # type: ignore[attr-defined]
            self.timers[name] = timer
            self._new_timers.append(timer)
            self.timers_changed = True
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() == self._thread:
            refuse("call_soon_threadsafe")
        return asyncio.Handle(callback, args, self, context)  # never runs; the body fails because it waits for nothing

    def create_future(self) -> asyncio.Future[Any]:
        return BodyFuture(self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> BodyTask[T]:
        task = BodyTask(coro, self, name, copy_context() if context is None else context)
        self._tasks[task] = None
        task.add_done_callback(self._task_done, context=_NO_CONTEXT)
        return task

    def _task_done(self, task: asyncio.Future[Any]) -> None:
        self._tasks.pop(task, None)  # type: ignore[call-overload]

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        pass

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        return self._exception_handler

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None
    ) -> None:
        self._exception_handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        log.error("error in a callback of a body", message=context.get("message"), exc_info=error)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._exception_handler is None:
            self.default_exception_handler(context)
        else:
            self._exception_handler(self, context)

    async def shutdown_asyncgens(self) -> None:
        pass

    async def shutdown_default_executor(self) -> None:
        pass

    # ---- async generators ----

    def _finalize_asyncgen(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Closes one that was dropped half way, as asyncio does."""
        if not self._closed:
            self.create_task(generator.aclose())
        else:
            unwind_asyncgen(generator)


_NO_CONTEXT = Context()
