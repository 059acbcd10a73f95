"""Why an execution failed: from what its body raised, to what is stored, to what `on_failure` is given.

The first run of an on_failure body and every replay of it are given the same: what was stored, decoded.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zart_redis.error_codec import ErrorCodec, summary
from zart_redis.errors import (
    ExecutionTimeout,
    HandlerCrashed,
    MaxRetriesExhausted,
    SerializationError,
    StepError,
    StepFailed,
)
from zart_redis.outcomes import ExecutionDeadlineExceeded, Failure, HandlerError, RetriesExhausted, StepFailure
from zart_redis.registry import StepDefinition, steps

UNDECLARED = ErrorCodec(())
"""Reads and writes errors of which no type is declared."""


class StoredFailure(msgspec.Struct, array_like=True, frozen=True):
    """`error` is encoded by the error codec of the declared step, if a step failed."""

    error: bytes
    step: str | None = None
    declared: str | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(StoredFailure).decode


def as_task_error(error: BaseException) -> Exception:
    """What a body raised, as the error of its execution. The only error in a group, such as a task group makes of one
    that failed, stands for the group; a step's error that escapes fails the execution as `StepFailed` does."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, StepError):
        return StepFailed(error.step, error)
    return error if isinstance(error, Exception) else summary(error)


def own_error(error: Exception) -> Exception:
    """The error of the user's code behind what a body raised; a retry policy judges by it."""
    return error.source.own_error if isinstance(error, StepFailed) else error


def encode_failure(error: Exception, definitions: Mapping[str, StepDefinition]) -> bytes:
    """`error` is what `as_task_error` made; `definitions` are the steps of the pass by the names of their calls."""
    if isinstance(error, StepFailed) and (step := definitions.get(error.step)):
        return _encode(StoredFailure(step.errors.encode(error), error.step, step.name))
    return _encode(StoredFailure(UNDECLARED.encode(error)))


def decode_error(failure: bytes) -> Exception:
    """The error behind a stored failure."""
    try:
        stored = _decode(failure)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"the recorded failure cannot be read: {error}") from None
    step = steps.get(stored.declared) if stored.declared else None
    return (step.errors if step else UNDECLARED).decode(stored.error)


def decode_failure(failure: bytes) -> Failure:
    """What `on_failure` is given."""
    error = decode_error(failure)
    match error:
        case StepFailed():
            own = error.source.own_error
            return StepFailure(error.step, own, summary(own))
        case ExecutionTimeout():
            return ExecutionDeadlineExceeded()
        case MaxRetriesExhausted():
            return RetriesExhausted(error.attempts)
        case _:
            return HandlerError(error)


def is_terminal(error: Exception) -> bool:
    """Whether no attempt follows, whatever the handler's policy."""
    return isinstance(error, ExecutionTimeout | HandlerCrashed)
