"""One attempt of a step, in place or scheduled: run its function, judge how it ended, make the record."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import anyio
import msgspec

from zart_redis.codec import within
from zart_redis.engine.journal import Outcome, encode_note, encode_result
from zart_redis.engine.ports import Surroundings
from zart_redis.engine.scope import StepScope, current
from zart_redis.error_codec import summary
from zart_redis.errors import HandlerCrashed, RetryExhausted, TimedOut, ZartStepError
from zart_redis.model import ExecutionInfo
from zart_redis.outcomes import BusinessErr, Ok, ZartErr
from zart_redis.registry import Call


class _OutOfTime(Exception):
    """Ours, so that a TimedOut which the step's own code raises is not taken for it."""


class Settled(msgspec.Struct, frozen=True):
    """The step has ended: its record, and the outcome that a reader of the record gets."""

    record: bytes
    outcome: Outcome


class Again(msgspec.Struct, frozen=True):
    """The attempt failed, and another follows after a delay; the note is for the log."""

    delay_ms: int
    note: bytes


def settle_value(call: Call[Any, Any], value: Any, attempts: int, ms: int, at: Surroundings) -> Settled:
    """Raises SerializationError or PayloadTooLarge for a value that cannot be recorded."""
    step, what = call.definition, f"the result of step {call.name!r}"
    data, back = step.returns.round_trip(value, what)
    within(at.max_payload, data, what)
    return Settled(encode_result("v", data, call.origin, attempts, ms, at.worker), Ok(back))


def settle_error(call: Call[Any, Any], error: BaseException, attempts: int, ms: int, at: Surroundings) -> Settled:
    step = call.definition
    data = step.errors.encode(error)
    back = step.errors.decode(data)
    if isinstance(error, ZartStepError):
        assert isinstance(back, ZartStepError)
        return Settled(encode_result("z", data, call.origin, attempts, ms, at.worker), ZartErr(back))
    return Settled(encode_result("b", data, call.origin, attempts, ms, at.worker), BusinessErr(back))


async def attempt(
    call: Call[Any, Any], number: int, scope: ExecutionInfo | StepScope, remaining_ms: int | None, at: Surroundings
) -> Settled | Again:
    """Run attempt `number` (from 1) of a step; `remaining_ms` is what a shared deadline leaves of its time.

    Raises:
        SerializationError: the value would not come back equal.
        PayloadTooLarge: the value is too large.
        asyncio.CancelledError: the attempt was cut off from outside.
    """
    token = current.set(scope)
    began = time.monotonic()
    try:
        step = call.definition
        if step.timeout_ms is None and step.is_async:
            value = await step.fn(*call.args, **call.kwargs)
        else:
            value = await _call_in_time(call, remaining_ms, at)
    except asyncio.CancelledError as error:
        if _cancelled_from_outside():
            raise
        return _judge(call, summary(error), number, _since(began), at)
    except _OutOfTime:
        return settle_timeout(call, number, at, _since(began))
    except Exception as error:
        return _judge(call, error, number, _since(began), at)
    except SystemExit as error:
        return _judge(call, summary(error), number, _since(began), at)
    finally:
        current.reset(token)
    return settle_value(call, value, number, _since(began), at)


async def _call_in_time(call: Call[Any, Any], remaining_ms: int | None, at: Surroundings) -> Any:
    """Raises TimedOut, with this call's name, when its time is over."""
    timeout_ms = call.definition.timeout_ms
    if timeout_ms is None:
        return await _call(call, at)
    with anyio.move_on_after((timeout_ms if remaining_ms is None else remaining_ms) / 1000):
        return await _call(call, at)
    raise _OutOfTime


def _judge(call: Call[Any, Any], error: Exception, number: int, ms: int, at: Surroundings) -> Settled | Again:
    retry = call.definition.retry
    if retry.retries and retry.retryable(error):
        if number <= retry.retries:
            note = encode_note(call.name, number, call.definition.errors.encode(error), ms, at.worker)
            return Again(retry.delay_ms(number), note)
        error = RetryExhausted(call.name, number, error)
    return settle_error(call, error, number, ms, at)


def settle_timeout(call: Call[Any, Any], attempts: int, at: Surroundings, ms: int = 0) -> Settled:
    """The time of the step is over, whether an attempt ran or not."""
    return settle_error(call, TimedOut(call.name, (call.definition.timeout_ms or 0) / 1000), attempts, ms, at)


def settle_crashes(call: Call[Any, Any], crashes: int, at: Surroundings) -> Settled:
    """The step has killed its worker too often."""
    return settle_error(call, RetryExhausted(call.name, crashes, HandlerCrashed(crashes)), crashes, 0, at)


async def _call(call: Call[Any, Any], at: Surroundings) -> Any:
    step = call.definition
    if step.is_async:
        return await step.fn(*call.args, **call.kwargs)
    return await anyio.to_thread.run_sync(
        functools.partial(step.fn, *call.args, **call.kwargs), abandon_on_cancel=True, limiter=at.threads
    )


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
