"""One attempt of a step, in place or scheduled: call its function, classify how it ended, encode the record."""

from __future__ import annotations

import functools
import inspect
import time
from typing import Any

import anyio
import msgspec

from zart_redis.codec import check_size
from zart_redis.engine.cancels import CancelWatch
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.journal import Outcome, encode_note, encode_result
from zart_redis.engine.observer import AttemptOutcome, Observer, StepAttempt
from zart_redis.engine.scope import current
from zart_redis.engine.threads import ThreadPlace
from zart_redis.error_codec import summary
from zart_redis.errors import HandlerCrashed, RetryExhausted, TimedOut, ZartError, ZartStepError
from zart_redis.layout import Record
from zart_redis.model import Blame
from zart_redis.outcomes import BusinessErr, Ok, ZartErr
from zart_redis.registry import Call


class _OutOfTime(Exception):
    """Private, so that a TimedOut raised by the step's own code is not mistaken for it."""


class StepDone(msgspec.Struct, frozen=True):
    """The step has ended, with this record. `outcome` is what callers get when they read the record."""

    record: bytes
    outcome: Outcome


class RetryLater(msgspec.Struct, frozen=True):
    """The attempt failed, and another one follows after a delay; `note` goes to the log of attempts."""

    delay_ms: int
    note: bytes


def done_with_value(call: Call[Any, Any], value: Any, attempts: int, ms: int, context: WorkerContext) -> StepDone:
    """Raises SerializationError or PayloadTooLarge for a value that cannot be recorded."""
    step, what = call.definition, f"the result of step {call.name!r}"
    data, back = step.returns.round_trip(value, what)
    check_size(context.max_payload, data, what)
    return StepDone(encode_result(Record.VALUE, data, call.origin, attempts, ms, context.worker), Ok(back))


def done_with_error(
    call: Call[Any, Any], error: BaseException, attempts: int, ms: int, context: WorkerContext
) -> StepDone:
    """The step's code raised an error, of any type."""
    data = call.definition.errors.encode(error, context.max_payload)
    record = encode_result(Record.ERROR, data, call.origin, attempts, ms, context.worker)
    return StepDone(record, BusinessErr(call.definition.errors.decode(data)))


def done_with_failure(
    call: Call[Any, Any], error: ZartStepError, attempts: int, ms: int, context: WorkerContext
) -> StepDone:
    """The framework has failed the step."""
    data = call.definition.errors.encode(error, context.max_payload)
    back = call.definition.errors.decode(data)
    assert isinstance(back, ZartStepError)
    return StepDone(encode_result(Record.FAILURE, data, call.origin, attempts, ms, context.worker), ZartErr(back))


def done_with_timeout(call: Call[Any, Any], attempts: int, context: WorkerContext, ms: int = 0) -> StepDone:
    """The timeout of the step has passed, whether or not an attempt was running."""
    return done_with_failure(call, TimedOut(call.name, (call.definition.timeout_ms or 0) / 1000), attempts, ms, context)


def done_with_crashes(call: Call[Any, Any], blame: Blame, context: WorkerContext) -> StepDone:
    """The step has killed its worker too often."""
    crashed = HandlerCrashed(blame.counted, str(blame))
    return done_with_failure(call, RetryExhausted(call.name, blame.counted, crashed), blame.counted, 0, context)


async def run_attempt(
    attempt: StepAttempt,
    remaining_ms: int | None,
    thread: ThreadPlace | None,
    context: WorkerContext,
    observer: Observer,
) -> StepDone | RetryLater:
    """Run one attempt of a step; `remaining_ms` is what is left of a timeout that all attempts share. A step that is
    not async needs a thread.

    Raises:
        SerializationError: the value would not come back equal.
        PayloadTooLarge: the value is too large.
        asyncio.CancelledError: the attempt was cancelled from outside.
    """
    call = attempt.call
    step = call.definition
    token = current.set(attempt)
    observer.step_begun(attempt)
    began = time.monotonic()
    failure: BaseException | None = None
    value: Any = None
    with CancelWatch() as watch:
        try:
            if step.timeout_ms is None and step.is_async:
                value = await step.fn(*call.args, **call.kwargs)
            else:
                value = await _call_in_time(call, remaining_ms, thread)
        except BaseException as error:
            if watch.ends(error):
                observer.step_ended(attempt, AttemptOutcome.CANCELLED, _since(began), error)
                raise
            failure = error
        finally:
            current.reset(token)
            if attempt.emitter is not None:
                attempt.emitter.close()
            if thread is not None and thread.leave():
                observer.thread_abandoned(attempt)
        ms = _since(began)
        await watch.settle()
    if failure is None:
        return _returned(attempt, value, ms, context, observer)
    if isinstance(failure, _OutOfTime):
        observer.step_ended(attempt, AttemptOutcome.TIMEOUT, ms, None)
        return done_with_timeout(call, attempt.number, context, ms)
    return _failed(attempt, failure, ms, context, observer)


async def _call_in_time(call: Call[Any, Any], remaining_ms: int | None, thread: ThreadPlace | None) -> Any:
    timeout_ms = call.definition.timeout_ms
    if timeout_ms is None:
        return await _call(call, thread)
    with anyio.move_on_after((timeout_ms if remaining_ms is None else remaining_ms) / 1000):
        return await _call(call, thread)
    raise _OutOfTime


async def _call(call: Call[Any, Any], thread: ThreadPlace | None) -> Any:
    step = call.definition
    if thread is None:
        return await step.fn(*call.args, **call.kwargs)
    value = await thread.call(functools.partial(step.fn, *call.args, **call.kwargs))
    return await value if inspect.isawaitable(value) else value


def _returned(attempt: StepAttempt, value: Any, ms: int, context: WorkerContext, observer: Observer) -> StepDone:
    try:
        done = done_with_value(attempt.call, value, attempt.number, ms, context)
    except ZartError as error:
        observer.step_ended(attempt, AttemptOutcome.ERROR, ms, error)
        raise
    observer.step_ended(attempt, AttemptOutcome.OK, ms, None)
    return done


def _failed(
    attempt: StepAttempt, error: BaseException, ms: int, context: WorkerContext, observer: Observer
) -> StepDone | RetryLater:
    """Whether a failed attempt is retried or ends the step."""
    observer.step_ended(attempt, AttemptOutcome.ERROR, ms, error)
    call, number = attempt.call, attempt.number
    retry = call.definition.retry
    if not (retry.retries and retry.retryable(error)):
        return done_with_error(call, error, number, ms, context)
    if number <= retry.retries:
        data = call.definition.errors.encode(error, context.max_payload)
        return RetryLater(retry.delay_ms(number), encode_note(call.name, number, data, ms, context.worker))
    last = error if isinstance(error, Exception) else summary(error)
    return done_with_failure(call, RetryExhausted(call.name, number, last), number, ms, context)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
