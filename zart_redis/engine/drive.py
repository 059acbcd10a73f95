"""Drives one pass of a body: begins it, parks it, and ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from zart_redis.engine.execution import Execution
from zart_redis.engine.observer import CodeMismatch, Continued, PassEnd, PassInterrupted, Raised
from zart_redis.engine.scope import current
from zart_redis.error_codec import summary
from zart_redis.errors import ZartError
from zart_redis.model import Fenced

STEP_UNWIND_SECONDS = 5.0
"""How long cancelled steps may take to end before they are left running."""


async def run_pass(execution: Execution, body: Callable[[], Coroutine[Any, Any, Any]]) -> PassEnd:
    """Run `body` until it ends or the pass is interrupted. A parked body can be resumed, and must else be closed.

    Raises:
        Exception: the store failed.
    """
    context = copy_context()
    context.run(current.set, execution)
    execution.start(_without_exit(body), context)
    return await resume_pass(execution)


async def resume_pass(execution: Execution) -> PassEnd:
    """As `run_pass`, for a body that has begun."""
    end: PassEnd = PassInterrupted.ABORTED
    execution.observer.pass_begun(execution)
    try:
        end = await _watch(execution)
    except Fenced:
        end = PassInterrupted.LOST
    finally:
        if end is not PassInterrupted.PARKED:
            await _close(execution)
        execution.observer.pass_ended(execution, end)
    return end


async def _without_exit(body: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """SystemExit in a body is its failure, not the end of the worker."""
    try:
        return await body()
    except SystemExit as error:
        raise summary(error) from error


async def _watch(execution: Execution) -> PassEnd:
    state = execution.state
    while True:
        await state.changed.wait()
        state.changed.clear()
        if state.revoked:
            return PassInterrupted.LOST
        if state.error is not None:
            raise state.error
        if isinstance(state.end, CodeMismatch):
            if execution.is_busy:
                continue  # running steps may end and be recorded
            return state.end
        if state.end is not None:
            await execution.flush()
            await execution.return_messages()
            if isinstance(state.end, Continued) and await execution.park_until_scheduled_end():
                return PassInterrupted.PARKED
            return state.end
        if state.at_rest and not execution.is_busy:
            try:
                execution.observer.body_blocked(execution)
            except ZartError as error:
                return Raised(error)
            if execution.is_drained:
                return PassInterrupted.DRAINED
            if execution.is_stuck:
                execution.fail_stuck()
                continue
        if (state.at_rest or state.woken) and await execution.exchange():
            return PassInterrupted.PARKED


async def _close(execution: Execution) -> None:
    """End the body and its steps, and wait until they have ended."""
    execution.close()
    if tasks := execution.tasks:
        _, late = await asyncio.wait(tasks, timeout=STEP_UNWIND_SECONDS)
        if late:
            execution.observer.unwind_timed_out(execution)
