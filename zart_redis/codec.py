"""Values to bytes and back, guided by type annotations, and never silently changed on the way.

The bytes are msgpack, so what was recorded can be read without its type. A value that would not come back
equal and of the same type is refused with ``SerializationError`` before anything is written. One change is no
harm and passes: an int where a float is annotated comes back a float. Aware datetimes keep their zone, see
``zones``. Of a pydantic model the values are kept, not which of them were set and which defaulted. Unions that
pydantic can tell apart are read by ``unions``.

Errors are encoded by ``error_codec``, callables by ``adhoc``.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable
from datetime import datetime
from types import UnionType
from typing import (
    Any,
    Final,
    Generic,
    TypeVar,
    cast,
    get_args,
    get_origin,
)

import msgspec
import msgspec.inspect

from zart_redis.difference import difference
from zart_redis.errors import PayloadTooLarge, SerializationError
from zart_redis.type_info import SCALARS, is_model, type_name
from zart_redis.unions import converter, validated
from zart_redis.zones import ZonedTime, may_hold_times, may_hold_zones, read_ext, with_zones

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes values annotated as one type. Make it through ``codec_for``.

    Raises ``SerializationError`` if no value of the type could be decoded, as for a union of two dataclasses.
    """

    __slots__ = ("_decode", "_unchanged", "convert", "type")

    def __init__(self, type_: Any) -> None:
        self.type = type_
        self._unchanged = _scalars_of(type_)
        self.convert: Callable[[Any], Any]
        """Makes a value from builtins."""
        try:
            self._decode, self.convert = _readers(type_)
        except Exception as error:  # msgspec resolves annotations here, so anything may come
            raise SerializationError(f"a value annotated {type_name(type_)} cannot be recorded: {error}") from error

    def __repr__(self) -> str:
        return f"Codec({type_name(self.type)})"

    def encode(self, value: T, what: str = "value") -> bytes:
        """The bytes of a value, without a check that it will come back. ``what`` names it in errors."""
        try:
            return _encode(value)
        except Exception as error:  # a hook runs code of others: validators, properties
            raise SerializationError(f"{what}: this {type_name(type(value))} cannot be recorded: {error}") from error

    def decode(self, data: bytes | msgspec.Raw, what: str = "value") -> T:
        """The value of these bytes. Raises ``SerializationError`` if they hold none of this type."""
        try:
            return self._read(data)
        except Exception as error:  # __post_init__ and validators are code of others
            raise SerializationError(
                f"{what}: what is recorded cannot be read as {type_name(self.type)}: {error}"
            ) from error

    def _read(self, data: bytes | msgspec.Raw) -> T:
        try:
            return cast(T, self._decode(data))
        except Exception:
            if not may_hold_zones(data):
                raise
        return cast(T, self.convert(_decode_any(data)))  # msgspec takes a zone only where nothing is annotated

    def round_trip(self, value: Any, what: str = "value") -> tuple[bytes, T]:
        """The bytes of a value, and the value as it comes back from them.

        Raises ``SerializationError`` if it would come back different in value or type, at any depth.
        """
        data = self.encode(value, what)
        if type(value) in self._unchanged:
            return data, value
        try:
            decoded = self._read(data)
            found = difference(value, decoded)
        except Exception as error:  # as in decode; and __eq__ is code of others too
            problem = str(error)
        else:
            if found is None:
                return data, decoded
            problem = _FORGOTTEN if hasattr(type(value), "__zart_call__") else str(found)
        raise SerializationError(
            f"{what}: this {type_name(type(value))} would not come back the same, read as {type_name(self.type)}: "
            f"{problem}. What is recorded is read by its annotation: annotate the exact type, by a name that "
            "the module of the annotation knows"
        )


def codec_for(type_: Any) -> Codec[Any]:
    """The codec of an annotation, made once for each. None, or a signature's "empty", means ``Any``."""
    if type_ is None or type_ is inspect.Signature.empty or type_ is object:
        type_ = Any
    try:
        return _cached_codec(type_)
    except TypeError:  # unhashable, as Annotated with a list in it
        return Codec(type_)


def check_type(value: Any, type_: Any, what: str = "value") -> None:
    """Raise ``SerializationError``, naming ``what``, unless the value can be recorded and read as ``type_``.

    >>> check_type("order-1", Order, "input of task 'checkout'")
    Traceback (most recent call last):
    SerializationError: input of task 'checkout': this str would not come back the same, read as Order: ...
    """
    codec_for(type_).round_trip(value, what)


def check_annotation(type_: Any, what: str) -> None:
    """Raise ``SerializationError``, naming ``what``, if no value annotated so can be recorded. An annotation that names
    what does not exist yet is not refused."""
    try:
        codec_for(type_)
        problem = _unreadable(msgspec.inspect.type_info(type_))
    except SerializationError as error:
        if isinstance(error.__cause__, NameError):
            return
        raise SerializationError(f"{what}: {error}") from error.__cause__
    except Exception:  # pydantic reads it, not msgspec
        return
    if problem is not None:
        raise SerializationError(f"{what}: a value annotated {type_name(problem)} cannot be recorded")


def _unreadable(info: msgspec.inspect.Type) -> Any:
    """A class in an annotation that neither msgspec nor pydantic can read; fields of classes are not looked at."""
    if isinstance(info, msgspec.inspect.Metadata):
        return _unreadable(info.type)
    if isinstance(info, msgspec.inspect.CustomType):
        return None if is_model(info.cls) or info.cls is object else info.cls
    inner: list[Any] = []
    for part in ("types", "item_types", "item_type", "key_type", "value_type"):
        found = getattr(info, part, ())
        inner += found if isinstance(found, tuple) else [found]
    return next((problem for each in inner if (problem := _unreadable(each)) is not None), None)


def check_size(limit: int, data: bytes, what: str) -> bytes:
    """``data`` itself, if it is at most ``limit`` bytes. Raises ``PayloadTooLarge``."""
    if len(data) > limit:
        raise PayloadTooLarge(
            f"{what} is {len(data):,} bytes when encoded; at most {limit:,} are allowed (max_payload)"
        )
    return data


# Between msgspec and what it does not know


def _readers(type_: Any) -> tuple[Callable[[bytes | msgspec.Raw], Any], Callable[[Any], Any]]:
    """How a value of this type is made from bytes, and from builtins."""
    try:
        decode = msgspec.msgpack.Decoder(type_, dec_hook=_from_builtins, ext_hook=read_ext).decode
    except Exception:
        convert = converter(type_, lambda inner: codec_for(inner).convert)
        if convert is None:
            raise
        return lambda data: convert(_decode_any(data)), convert
    return decode, functools.partial(msgspec.convert, type=type_, dec_hook=_from_builtins)


def _encode(value: Any) -> bytes:
    data = _encode_natively(value)
    if type(value) not in SCALARS and may_hold_times(data):
        builtins = msgspec.to_builtins(value, builtin_types=_KEPT, enc_hook=_to_builtins)
        return _encode_natively(with_zones(builtins))
    return data


def _to_builtins(value: Any) -> Any:
    """What msgspec asks for a value it cannot encode. A pydantic model becomes a map of its fields."""
    if isinstance(value, ZonedTime):
        return value.ext
    if hasattr(type(value), "__zart_call__"):
        raise TypeError(f"it is the call of step {value.__zart_call__().name!r}, {_FORGOTTEN}")
    if is_model(type(value)):
        return value.model_dump(round_trip=True, warnings=False)
    pydantic_core = sys.modules.get("pydantic_core")
    if pydantic_core is not None:  # a field of a model, such as a Path or a Url
        return pydantic_core.to_jsonable_python(value)
    raise TypeError(f"values of type {type_name(type(value))} are not supported")


def _from_builtins(type_: Any, value: Any) -> Any:
    """What msgspec asks for a type it cannot decode."""
    if type_ is object:
        return value
    if not is_model(type_):
        raise ValueError(f"a value annotated {type_name(type_)} cannot be recorded")
    return validated(functools.partial(type_.model_validate, strict=False, by_alias=True, by_name=True), value)


def _scalars_of(type_: Any) -> frozenset[type]:
    """The scalar types whose values are sure to come back unchanged under this annotation."""
    if type_ is Any:
        return SCALARS
    members = get_args(type_) if get_origin(type_) in (typing.Union, UnionType) else (type_,)
    return frozenset(member for member in members if isinstance(member, type) and member in SCALARS)


_FORGOTTEN: Final = "not what the step returns: did you forget await?"
_cached_codec: Final = functools.lru_cache(4096)(Codec[Any])
_KEPT: Final = (datetime, bytes, bytearray, memoryview)
_encode_natively: Final = msgspec.msgpack.Encoder(enc_hook=_to_builtins).encode
_decode_any: Final = msgspec.msgpack.Decoder(ext_hook=read_ext).decode
