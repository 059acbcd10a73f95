"""What a scheduled step's stream entry stands for, as bytes: written by the body that schedules it, read by whatever
worker claims it."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from zart_redis.adhoc import seal
from zart_redis.codec import within
from zart_redis.engine.ports import Surroundings
from zart_redis.errors import SerializationError
from zart_redis.model import ExecutionInfo
from zart_redis.registry import Call, define_step


class ScheduledSpec(msgspec.Struct, array_like=True, frozen=True):
    """What a scheduled step's entry stands for: a declared name and encoded arguments, and for an ad-hoc callable,
    which another process may not have, its sealed form."""

    step: str | None
    place: str
    """Tells apart steps of one name, where a process has declared several."""
    arguments: bytes
    sealed: bytes | None


_encode_spec = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(ScheduledSpec).decode


def encode_spec(call: Call[Any, Any], info: ExecutionInfo, at: Surroundings) -> bytes:
    """Raises SerializationError, PayloadTooLarge or UntrustedPayload if the call cannot travel."""
    step, what = call.definition, f"the arguments of step {call.name!r}"
    sealed = None
    if step.is_adhoc or (at.secrets and _is_local(step.place)):
        parts = (
            step.name,
            step.fn,
            step.retry,
            step.timeout_ms,
            step.timeout_scope,
            step.raises,
            step.is_adhoc,
        )
        context = (info.execution_id, info.idempotency_key, call.name)
        sealed = seal(functools.partial(define_step, *parts), secrets=at.secrets, context=context)
    declared = None if step.is_adhoc else step.name
    spec = ScheduledSpec(declared, step.place, step.parameters.encode(call.args, call.kwargs, what), sealed)
    return within(at.max_payload, _encode_spec(spec), what)


def decode_spec(data: bytes) -> ScheduledSpec:
    """Raises SerializationError if this is not what `Execution` wrote."""
    try:
        return _decode_spec(data)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"a scheduled step cannot be read: {error}") from None


def _is_local(place: str) -> bool:
    """Whether no other process can find what was defined there by importing its module."""
    return place.startswith("__main__.") or "<" in place
