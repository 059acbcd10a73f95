"""The free functions that a body calls. Each finds its execution through a context variable.

Every function that records anything raises `NoExecutionContext` outside a body and `NestedStepError` inside a step.
A name is a key: using one twice in a pass raises `DuplicateStepName`, and using one that another kind of call has
recorded raises `ReplayMismatch`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any, NoReturn, Protocol, overload

from typing_extensions import TypeVar

from zart_redis.codec import Codec, check_size, codec_for
from zart_redis.durations import Duration, to_ms
from zart_redis.emissions import encode_progress
from zart_redis.engine.emitting import Emitted
from zart_redis.engine.journal import receive_argument
from zart_redis.engine.scope import StepHandle, current_body, current_emitter, current_info
from zart_redis.errors import InvalidInput, StepBusinessError, StepFailed
from zart_redis.layout import Emission
from zart_redis.model import ExecutionInfo
from zart_redis.names import check_name
from zart_redis.outcomes import BusinessErr, E_co, Err, Ok, T_co, ZartErr
from zart_redis.registry import Call, call_of, define_step
from zart_redis.retry import RetryConfig
from zart_redis.type_info import resolve_hints

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=Exception)

_ANY: Codec[Any] = codec_for(Any)


class Step(Protocol[T_co, E_co]):
    """A step with its arguments: a `StepCall` or a `ZartStep`."""

    def __zart_call__(self) -> Call[T_co, E_co]: ...


def _call_of(step: object) -> Call[Any, Any]:
    make: Any = getattr(step, "__zart_call__", None)
    if make is None or isinstance(step, type):
        raise InvalidInput(f"expected a step call such as charge_card(account, cents), got {step!r}")
    call: Call[Any, Any] = make()
    return call


def step(step: Step[T, E]) -> Coroutine[Any, Any, Ok[T] | BusinessErr[E] | ZartErr]:
    """Run a step and return how it ended. Never raises for a failure of the step.

    Example:
        >>> match await zart.step(charge_card(account, cents)):
        ...     case Ok(charge): ...
        ...     case BusinessErr(error): ...
        ...     case ZartErr(error): ...
    """
    return _step(_call_of(step))


async def _step(call: Call[T, E]) -> Ok[T] | BusinessErr[E] | ZartErr:
    return await current_body().run(call)


def require(step: Step[T, Any]) -> Coroutine[Any, Any, T]:
    """Run a step and return its value; the same as awaiting it.

    Raises:
        StepFailed: the step failed; its own error is the `__cause__`.
    """
    return _require(_call_of(step))


async def _require(call: Call[T, Any]) -> T:
    match await current_body().run(call):
        case Ok(value):
            return typing.cast(T, value)
        case BusinessErr(error):
            failed = StepFailed(call.name, StepBusinessError(call.name, error))
        case ZartErr(error):
            failed = StepFailed(call.name, error)
    raise failed


def step_or(step: Step[T, Any], default: D) -> Coroutine[Any, Any, T | D]:
    """Run a step and return its value, or `default` if it failed for any reason."""
    return _step_or(_call_of(step), default)


async def _step_or(call: Call[T, Any], default: D) -> T | D:
    match await current_body().run(call):
        case Ok(value):
            return typing.cast(T, value)
        case _:
            return default


@overload
def step_or_else(step: Step[T, E], f: Callable[[E], Awaitable[D]]) -> Coroutine[Any, Any, T | D]: ...
@overload
def step_or_else(step: Step[T, E], f: Callable[[E], D]) -> Coroutine[Any, Any, T | D]: ...
def step_or_else(step: Step[Any, Any], f: Callable[[Any], Any]) -> Coroutine[Any, Any, Any]:
    """Run a step and return its value, or `f(error)` if its code raised. `f` may be async.

    Raises:
        ZartStepError: the framework failed the step, because its attempts or its time are used up.
    """
    return _step_or_else(_call_of(step), f)


async def _step_or_else(call: Call[Any, Any], f: Callable[[Any], Any]) -> Any:
    match await current_body().run(call):
        case Ok(value):
            return value
        case BusinessErr(error):
            made = f(error)
            return await made if inspect.isawaitable(made) else made
        case ZartErr(error):
            raise error


@overload
def schedule(step: Step[T, Any]) -> StepHandle[T]: ...
@overload
def schedule(step: Callable[[], Awaitable[T]]) -> StepHandle[T]: ...
@overload
def schedule(step: Callable[[], T]) -> StepHandle[T]: ...
def schedule(step: Any) -> StepHandle[Any]:
    """Register a step for any worker of the execution's queue, without waiting for it.

    An ad-hoc callable without arguments (a lambda, a closure) is accepted where ZART_SECRET is set; its name is the
    function's.

    Raises:
        UntrustedPayload: it is an ad-hoc callable, and no secret is set to sign it with.
    """
    is_bare = callable(step) and not isinstance(step, type) and not hasattr(step, "__zart_call__")
    call = _adhoc_call(step) if is_bare else _call_of(step)
    return current_body().schedule(call)


def _adhoc_call(fn: Callable[[], Any]) -> Call[Any, Any]:
    name = getattr(fn, "__name__", type(fn).__name__)
    return call_of(define_step(name, fn, RetryConfig.none(), is_adhoc=True), name)


async def wait(handles: Iterable[StepHandle[T]]) -> list[Ok[T] | Err]:
    """Wait for scheduled steps and return their results, in the order of the handles. A failing step cancels nothing.

    Example:
        >>> results = await zart.wait([zart.schedule(check(s)) for s in services])
        >>> reports = [result.unwrap() for result in results if result.is_ok()]
    """
    return await current_body().wait(handles)


async def sleep(name: str, duration: Duration) -> None:
    """Sleep without occupying a worker. The moment it ends is fixed at the first call, for every replay."""
    await current_body().sleep(name, str(to_ms(duration, what=f"the duration of sleep {name!r}")))


async def sleep_until(name: str, when: datetime) -> None:
    """Sleep until a moment, given as an aware datetime.

    Raises:
        InvalidInput: `when` has no timezone.
    """
    if when.tzinfo is None or when.utcoffset() is None:
        raise InvalidInput("sleep_until takes an aware datetime, such as datetime.now(UTC) + timedelta(hours=1)")
    await current_body().sleep(name, f"@{round(when.timestamp() * 1000)}")


@overload
async def wait_for_event(name: str, timeout: Duration | None = None) -> Any: ...
@overload
async def wait_for_event(name: str, timeout: Duration | None = None, *, type: type[T]) -> T: ...
@overload
async def wait_for_event(name: str, timeout: Duration | None = None, *, type: Any) -> Any: ...
async def wait_for_event(name: str, timeout: Duration | None = None, *, type: Any = Any) -> Any:
    """Wait for an event and return its payload. An event that was offered before the wait counts.

    Raises:
        DeadlineExceeded: the timeout, fixed at the first call, has passed.
        SerializationError: the payload cannot be read as `type`.
    """
    argument = "" if timeout is None else str(to_ms(timeout, what="timeout"))
    return await current_body().wait_for_event(name, argument, codec_for(type))


async def send(name: str, execution_id: str, channel: str, payload: Any) -> None:
    """Send a message to another execution, once, however often the body is replayed; see `receive`.

    When this returns, the message is in the mailbox of the execution: messages of one sender keep their order.

    Args:
        name: the key under which it is recorded that the message was sent.

    Raises:
        ExecutionNotFound: there is no such execution.
        ExecutionFinished: it has finished.
        MailboxFull: too many messages wait for it.
        SerializationError: the payload cannot be encoded.
        PayloadTooLarge: it is larger than `max_payload`.

    Example:
        >>> await zart.send("report", parent_id, "results", total)
    """
    body = current_body()
    check_name(execution_id, "an execution id")
    what = f"a message of channel {check_name(channel, 'the name of a channel')!r}"
    data = check_size(body.max_payload, _ANY.encode(payload, what), what)
    await body.send(name, execution_id, channel, data)


@overload
async def receive(name: str, *, channel: str | None = None, timeout: Duration | None = None) -> Any: ...
@overload
async def receive(name: str, *, channel: str | None = None, timeout: Duration | None = None, type: type[T]) -> T: ...
@overload
async def receive(name: str, *, channel: str | None = None, timeout: Duration | None = None, type: Any) -> Any: ...
async def receive(name: str, *, channel: str | None = None, timeout: Duration | None = None, type: Any = Any) -> Any:
    """Take the oldest message of a channel; see `DurableScheduler.send`. Waits for one if there is none.

    Each message is received once, by one name. Several calls that wait for messages of the same channel get them in the
    order of the calls. A call that its body cancels takes no message. Messages belong to the execution's id: those that
    a run has not received are there for the next one.

    Args:
        name: the key under which the message is recorded.
        channel: by default `name`.
        timeout: maximum duration, which is fixed at the first call.
        type: what the payload is read as.

    Raises:
        DeadlineExceeded: the timeout has passed.
        SerializationError: the payload cannot be read as `type`. The message is received nevertheless.

    Example:
        >>> order = await zart.receive(f"order-{n}", channel="orders", timeout="1h", type=Order)
    """
    timeout_ms = None if timeout is None else to_ms(timeout, what="timeout")
    channel = check_name(name if channel is None else channel, "the name of a channel")
    return await current_body().receive(name, receive_argument(timeout_ms, channel), codec_for(type))


@overload
async def capture(name: str, f: Callable[[], Awaitable[T]], *, type: Any = None) -> T: ...
@overload
async def capture(name: str, f: Callable[[], T], *, type: Any = None) -> T: ...
async def capture(name: str, f: Callable[[], Any], *, type: Any = None) -> Any:
    """Call `f` once and record its value, which every replay returns. For values that differ between calls.

    The value is read back as `type`, by default the annotated return type of `f`.

    Example:
        >>> token = await zart.capture("token", lambda: secrets.token_hex(8))
    """
    annotated = resolve_hints(f).get("return") if type is None and hasattr(f, "__annotations__") else type
    return await current_body().capture(name, f, codec_for(annotated))


async def now(name: str) -> datetime:
    """Return the current UTC time, recorded, so that every replay returns the same."""
    body = current_body()
    return await body.capture(name, body.clock, codec_for(datetime))


async def continue_as_new(data: Any = None) -> NoReturn:
    """End this run, and begin the next run of the same execution with `data` and an empty history. Never returns.

    For a handler that loops forever: a replay reads all records of a run, so a run must not grow without bound. Steps
    that were scheduled end first. Events that the body has not received move to the next run, the handler's timeout
    starts again, and clients that wait for the execution keep waiting. No task of the body runs after it; `finally`
    blocks run as they do when a body is parked.

    Raises:
        InvalidInput, SerializationError, PayloadTooLarge: `data` is invalid for the handler; the run continues.

    Example:
        >>> await zart.sleep("poll", "1h")
        >>> await zart.continue_as_new(cursor)
    """
    await current_body().continue_as_new(data)


def emit(value: Any, *, stream: str = "default") -> None:
    """Append a value to a stream of the execution, which clients read by `DurableScheduler.follow`.

    For what is worth seeing while it arises: tokens, log lines, partial results. In a body a value is emitted once,
    however often the body is replayed. A step emits again in each attempt; followers get a `Restarted`.

    Raises:
        InvalidInput: the name of the stream is invalid.
        SerializationError: the value cannot be encoded.
        PayloadTooLarge: it is larger than `max_payload`.
        NoExecutionContext: called outside of an execution.

    Example:
        >>> async for token in model.stream(prompt):
        ...     zart.emit(token, stream="answer")
    """
    _emit(Emission.ITEM, check_name(stream, "the name of a stream"), value, f"a value of stream {stream!r}")


def set_value(key: str, value: Any) -> None:
    """Set what `DurableScheduler.value` returns for a key of this execution. Raises what `emit` raises."""
    _emit(Emission.VALUE, check_name(key, "the key of a value"), value, f"the value of {key!r}")


def _emit(kind: Emission, name: str, value: Any, what: str) -> None:
    emitter = current_emitter()
    data = check_size(emitter.max_payload, _ANY.encode(value, what), what)
    emitter.emit(Emitted(kind, name, data))


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Report how much is done, of how much if that is known; see `ExecutionRecord.progress`.

    Raises:
        InvalidInput: a number is negative or none, or the note is longer than 512 bytes.
        NoExecutionContext: called outside of an execution.
    """
    current_emitter().emit(Emitted(Emission.PROGRESS, "", encode_progress(done, total, note)))


def context() -> ExecutionInfo:
    """Return information on the execution; in a step, with the attempt and the idempotency key of the step.

    Raises:
        NoExecutionContext: it is called outside an execution.
    """
    return current_info()


__all__ = [
    "capture",
    "context",
    "continue_as_new",
    "emit",
    "now",
    "progress",
    "receive",
    "require",
    "schedule",
    "send",
    "set_value",
    "sleep",
    "sleep_until",
    "step",
    "step_or",
    "step_or_else",
    "wait",
    "wait_for_event",
]
