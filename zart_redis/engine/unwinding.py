"""Names the coroutines of a body, and ends them where they are: `finally` blocks run, and nothing else does."""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any

from zart_redis.logs import get_logger

log = get_logger()

Suspended = Coroutine[Any, Any, Any] | Generator[Any, None, Any]

MAX_THROWS = 100
"""How often `BodyClosed` is raised in a coroutine before it is abandoned. Whatever it awaits while it unwinds, such as
the tasks of an enclosing task group, takes one."""


class BodyClosed(BaseException):
    """Raised where the coroutines of a body are suspended when its loop is closed, and in all that they await then.

    Unlike GeneratorExit, it unwinds coroutines that await each other one frame at a time.
    """


def unwind_task(task: asyncio.Task[Any]) -> None:
    """End the coroutine of a task; `asyncio.current_task` is this task meanwhile."""
    loop, coro = task.get_loop(), task.get_coro()
    if coro is None:
        return
    previous = _swap_current_task(loop, task)
    try:
        has_ended = unwind(coro)
    finally:
        _swap_current_task(loop, previous)
    _forget_in_anyio(task)
    if not has_ended:
        # Never freed, not even at exit: its finalizer would run it again, perhaps forever.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(coro))
        log.error("a coroutine of a body catches its end; it was abandoned", coroutine=repr(coro))


def _forget_in_anyio(task: asyncio.Task[Any]) -> None:
    """anyio keeps the state of a task until the task is done, and the state keeps the task: neither would ever go."""
    backend = sys.modules.get("anyio._backends._asyncio")
    if backend is not None:
        backend._task_states.pop(task, None)


def unwind(coro: Suspended) -> bool:
    """End a coroutine. Returns False if it is still suspended."""
    for _ in range(MAX_THROWS):
        try:
            coro.throw(BodyClosed())
        except (BodyClosed, StopIteration):
            return True
        except BaseException as error:
            log.debug("a body raised while it was closed", error=repr(error))
            return True
    return False


def unwind_asyncgen(generator: AsyncGenerator[Any, Any]) -> None:
    """Run what an async generator does at its end, which cannot wait for anything."""
    closing = generator.aclose()
    try:
        closing.send(None)
    except (BodyClosed, StopIteration):
        pass
    except BaseException as error:
        log.debug("a body raised while it was closed", error=repr(error))
    else:
        unwind(closing)


def coroutines_of(task: asyncio.Task[Any]) -> str:
    """The coroutines that await each other in a task, from the outermost to the one that is suspended."""
    names: list[str] = []
    coro: Any = task.get_coro()
    while inspect.iscoroutine(coro):
        names.append(coro.__qualname__)
        coro = coro.cr_await
    return " > ".join(names)


def _swap_current_task(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
    if sys.version_info >= (3, 12):
        return asyncio.tasks._swap_current_task(loop, task)
    previous = asyncio.current_task(loop)
    if previous is not None:
        asyncio.tasks._leave_task(loop, previous)
    if task is not None:
        asyncio.tasks._enter_task(loop, task)
    return previous
