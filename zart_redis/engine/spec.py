"""The encoded call of a scheduled step: written by the body that schedules it, read by the worker that claims it."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from zart_redis.adhoc import seal
from zart_redis.codec import check_size
from zart_redis.engine.context import WorkerContext
from zart_redis.errors import SerializationError
from zart_redis.model import ExecutionInfo
from zart_redis.registry import Call, define_step


class ScheduledSpec(msgspec.Struct, array_like=True, frozen=True):
    """A declared name and encoded arguments. An ad-hoc callable, which other processes may not have, is sealed in."""

    step: str | None
    import_path: str
    """Distinguishes several steps that are declared under one name."""
    arguments: bytes
    sealed: bytes | None


_encode_spec = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(ScheduledSpec).decode


def encode_spec(call: Call[Any, Any], info: ExecutionInfo, worker: WorkerContext) -> bytes:
    """Raises SerializationError, PayloadTooLarge or UntrustedPayload if the call cannot be encoded or signed."""
    step, what = call.definition, f"the arguments of step {call.name!r}"
    sealed = None
    if step.is_adhoc or (worker.secrets and _is_local(step.import_path)):
        parts = (
            step.name,
            step.fn,
            step.retry,
            step.timeout_ms,
            step.timeout_scope,
            step.raises,
            step.is_adhoc,
            step.parameters.result_type,
        )
        context = (info.execution_id, info.idempotency_key, call.name)
        sealed = seal(functools.partial(define_step, *parts), secrets=worker.secrets, context=context)
    declared = None if step.is_adhoc else step.name
    spec = ScheduledSpec(declared, step.import_path, step.parameters.encode(call.args, call.kwargs, what), sealed)
    return check_size(worker.max_payload, _encode_spec(spec), what)


def decode_spec(data: bytes) -> ScheduledSpec:
    """Raises SerializationError if `encode_spec` cannot have written this."""
    try:
        return _decode_spec(data)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"a scheduled step cannot be read: {error}") from None


def _is_local(import_path: str) -> bool:
    """Whether other processes cannot import it."""
    return import_path.startswith("__main__.") or "<" in import_path
