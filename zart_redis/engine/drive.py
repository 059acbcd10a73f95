"""Drives one pass of a body from outside: lets it run, parks it, resumes it, puts it away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from zart_redis.engine.execution import Execution
from zart_redis.engine.scope import current
from zart_redis.error_codec import summary
from zart_redis.logs import get_logger
from zart_redis.model import Fenced

log = get_logger()

UNWIND_SECONDS = 5.0
"""How long a body that is put away may take to unwind before it is left to itself."""


class Gone(Enum):
    """How a pass can end without the body having ended."""

    PARKED = auto()
    LOST = auto()
    DRAINED = auto()


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


PassEnd = Returned | Raised | Gone


async def run_pass(execution: Execution, body: Callable[[], Awaitable[Any]]) -> PassEnd:
    """Run `body` until it ends, is parked, is lost to another claim, or has been drained."""
    context = copy_context()
    context.run(current.set, execution)
    main = asyncio.get_running_loop().create_task(_as_coroutine(body), context=context)
    main.add_done_callback(lambda _: execution.signals.changed.set())
    try:
        return await _watch(execution, main)
    except Fenced:
        return Gone.LOST
    finally:
        await _put_away(execution, main)


async def _as_coroutine(body: Callable[[], Awaitable[Any]]) -> Any:
    """A SystemExit that a task ends with would end the event loop, and the worker with all it runs."""
    try:
        return await body()
    except SystemExit as error:
        raise summary(error) from error


async def _watch(execution: Execution, main: asyncio.Task[Any]) -> PassEnd:
    signals = execution.signals
    while True:
        await signals.changed.wait()
        signals.changed.clear()
        if signals.lost:
            return Gone.LOST
        if signals.broken is not None:
            raise signals.broken
        if main.done():
            await execution.flush()
            if signals.broken is not None:
                raise signals.broken
            return Gone.LOST if signals.lost else _ended(main)
        if signals.quiet and (wrong := execution.skipped()):
            return Raised(wrong)
        if signals.quiet and execution.is_drained:
            return Gone.DRAINED
        if (signals.quiet or signals.poked) and await execution.park():
            _warn_of_idle_tasks(execution)
            return Gone.PARKED


def _ended(main: asyncio.Task[Any]) -> Returned | Raised:
    if main.cancelled():
        return Raised(RuntimeError("the body cancelled itself"))
    error = main.exception()
    return Returned(main.result()) if error is None else Raised(error)


def _warn_of_idle_tasks(execution: Execution) -> None:
    for task in execution.idle_tasks():
        log.warning(
            "a body awaits something that is not durable beside a durable call; it is cut off, "
            "and begun again when the body resumes: make it a step",
            execution_id=execution.info.execution_id,
            task=execution.info.task_name,
            awaiting=getattr(task.get_coro(), "__qualname__", "?"),
        )


async def _put_away(execution: Execution, main: asyncio.Task[Any]) -> None:
    """Cancel whatever of the body still runs, and wait until it has unwound."""
    execution.close()
    if main.done() and not main.cancelled():
        main.exception()  # of a pass that was lost, or broke off, it is nobody's concern
    if not execution.tasks:
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + UNWIND_SECONDS
    while execution.tasks and loop.time() < deadline:
        if not main.done():
            main.cancel()
        else:
            for task in list(execution.tasks):
                task.cancel()
        await asyncio.wait(list(execution.tasks), timeout=UNWIND_SECONDS / 5)
    if execution.tasks:
        log.error(
            "a body does not end when it is cancelled; it is left running, and can record nothing",
            execution_id=execution.info.execution_id,
            task=execution.info.task_name,
        )
