"""Why an execution failed: from the exception of its body, to the stored failure, to the argument of `on_failure`.

The on_failure body always gets the decoded stored failure, so that its replays see the same as its first pass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from zart_redis.error_codec import ErrorCodec, add_notes, notes_of, summary
from zart_redis.errors import (
    Cancelled,
    ExecutionTimeout,
    HandlerCrashed,
    MaxRetriesExhausted,
    SerializationError,
    StepError,
    StepFailed,
)
from zart_redis.outcomes import (
    ExecutionCancelled,
    ExecutionDeadlineExceeded,
    Failure,
    HandlerError,
    RetriesExhausted,
    StepFailure,
)
from zart_redis.registry import StepDefinition, steps

UNDECLARED = ErrorCodec(())
"""The codec of errors whose types are not declared."""


class StoredFailure(msgspec.Struct, array_like=True, frozen=True):
    """`error` is encoded by the error codec of the declared step, if a step failed."""

    error: bytes
    step: str | None = None
    declared: str | None = None
    reason: str | None = None
    """Why the execution was cancelled."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredFailure).decode


def as_task_error(error: BaseException, failed: Collection[str] = ()) -> Exception:
    """The exception of a body as the error of its execution; `failed` are the steps that have failed, in order.

    Of several exceptions in a group, as task groups raise, the first failure counts, and the others are its notes. The
    error of a step that the body did not handle becomes `StepFailed`.
    """
    first, *others = _in_order(_leaves(error), list(failed))
    failure = _as_exception(first)
    add_notes(failure, [f"Another failure at the same time: {_description(other)}" for other in others])
    return failure


def _leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group and in the groups inside it."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return list(dict.fromkeys(leaf for inner in error.exceptions for leaf in _leaves(inner)))


def _in_order(leaves: list[BaseException], failed: list[str]) -> list[BaseException]:
    """Failures of steps in the order in which they were recorded. Other failures keep their position between
    them: a task group lists exceptions in the order in which its tasks ended."""
    order = {name: number for number, name in enumerate(failed)}
    numbers = [order.get(leaf.step) if isinstance(leaf, StepError | StepFailed) else None for leaf in leaves]
    numbered = [(number, leaf) for number, leaf in zip(numbers, leaves, strict=True) if number is not None]
    in_order = iter([leaf for _, leaf in sorted(numbered, key=lambda each: each[0])])
    return [leaf if number is None else next(in_order) for number, leaf in zip(numbers, leaves, strict=True)]


def _as_exception(error: BaseException) -> Exception:
    if isinstance(error, StepError):
        return StepFailed(error.step, error)
    return error if isinstance(error, Exception) else summary(error)


def _description(error: BaseException) -> str:
    return str(summary(error))


def note_second(error: Exception, second: BaseException) -> Exception:
    """The error of an execution whose on_failure body failed too."""
    add_notes(error, [f"on_failure failed too: {_description(second)}"])
    return error


def own_error(error: Exception) -> Exception:
    """The error of the user's code behind the error of a body. Retry policies look at this one."""
    return error.source.own_error if isinstance(error, StepFailed) else error


def encode_failure(
    error: Exception, definitions: Mapping[str, StepDefinition], max_payload: int, reason: str | None = None
) -> bytes:
    """`error` comes from `as_task_error`; `definitions` are the steps of the pass by the names of their calls."""
    if isinstance(error, StepFailed) and (step := definitions.get(error.step)):
        return _encode(StoredFailure(step.errors.encode(error, max_payload), error.step, step.name))
    return _encode(StoredFailure(UNDECLARED.encode(error, max_payload), reason=reason))


def _stored(failure: bytes) -> StoredFailure:
    try:
        return _decode(failure)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"the recorded failure cannot be decoded: {error}") from None


def decode_error(failure: bytes) -> Exception:
    """The error behind a stored failure."""
    stored = _stored(failure)
    step = steps.get(stored.declared) if stored.declared else None
    return (step.errors if step else UNDECLARED).decode(stored.error)


def decode_failure(failure: bytes) -> Failure:
    """The argument of `on_failure`."""
    error = decode_error(failure)
    match error:
        case StepFailed():
            own = error.source.own_error
            add_notes(own, notes_of(error))
            return StepFailure(error.step, own, summary(own))
        case ExecutionTimeout():
            return ExecutionDeadlineExceeded()
        case Cancelled():
            return ExecutionCancelled(_stored(failure).reason)
        case MaxRetriesExhausted():
            return RetriesExhausted(error.attempts)
        case _:
            return HandlerError(error)


def is_terminal(error: Exception) -> bool:
    """Whether the execution is never retried, regardless of the handler's policy."""
    return isinstance(error, ExecutionTimeout | HandlerCrashed)
