"""Values to bytes and back, guided by type annotations, and never silently changed on the way.

The bytes are msgpack, so what was recorded can be read without its type. A value that would not come back
equal and of the same type is refused with ``SerializationError`` before anything is written. Two changes are
no harm and pass: an int where a float is annotated comes back a float, and an aware datetime comes back as
the same instant in UTC. Of a pydantic model the values are kept, not which of them were set and which
defaulted.

Errors have a codec of their own in ``error_codec``; callables, in ``adhoc``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NamedTuple,
    TypeGuard,
    TypeVar,
    cast,
    get_args,
    get_origin,
)

import msgspec

from zart_redis.errors import PayloadTooLarge, SerializationError

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")

_SCALARS: Final = frozenset({NoneType, bool, int, float, str, bytes})
_MAX_PATH: Final = 100
_MAX_DEPTH: Final = 200  # fixed, so that what is accepted does not depend on how deep the caller's stack is


class Codec(Generic[T]):
    """Encodes and decodes values annotated as one type. Make it through ``codec_for``.

    Raises ``SerializationError`` if no value of the type could be decoded, as for a union of two dataclasses.
    """

    __slots__ = ("_decode", "_unchanged", "type")

    def __init__(self, type_: Any) -> None:
        self.type = type_
        self._unchanged = _scalars_of(type_)
        try:
            self._decode = msgspec.msgpack.Decoder(type_, dec_hook=_from_builtins).decode
        except Exception as error:  # msgspec resolves annotations here, so anything may come
            raise SerializationError(f"a value annotated {_name(type_)} cannot be recorded: {error}") from error

    def __repr__(self) -> str:
        return f"Codec({_name(self.type)})"

    def encode(self, value: T, what: str = "value") -> bytes:
        """The bytes of a value, without a check that it will come back. ``what`` names it in errors."""
        try:
            return _encode(value)
        except Exception as error:  # a hook runs code of others: validators, properties
            raise SerializationError(f"{what}: this {_name(type(value))} cannot be recorded: {error}") from error

    def decode(self, data: bytes | msgspec.Raw, what: str = "value") -> T:
        """The value of these bytes. Raises ``SerializationError`` if they hold none of this type."""
        try:
            return cast(T, self._decode(data))
        except Exception as error:  # __post_init__ and validators are code of others
            raise SerializationError(
                f"{what}: what is recorded cannot be read as {_name(self.type)}: {error}"
            ) from error

    def round_trip(self, value: Any, what: str = "value") -> tuple[bytes, T]:
        """The bytes of a value, and the value as it comes back from them.

        Raises ``SerializationError`` if it would come back different in value or type, at any depth.
        """
        data = self.encode(value, what)
        if type(value) in self._unchanged:
            return data, value
        try:
            decoded = cast(T, self._decode(data))
            found = difference(value, decoded)
        except Exception as error:  # as in decode; and __eq__ is code of others too
            problem = str(error)
        else:
            if found is None:
                return data, decoded
            problem = str(found)
        raise SerializationError(
            f"{what}: this {_name(type(value))} would not come back the same, read as {_name(self.type)}: "
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


def within(limit: int, data: bytes, what: str) -> bytes:
    """``data`` itself, if it is at most ``limit`` bytes. Raises ``PayloadTooLarge``."""
    if len(data) > limit:
        raise PayloadTooLarge(
            f"{what} is {len(data):,} bytes when encoded; at most {limit:,} are allowed (max_payload)"
        )
    return data


class Parameters:
    """The parameters of a function: binds, encodes and decodes its arguments, each by its annotation.

    Annotations are resolved at first use, when the names they mention exist. One that still cannot be
    resolved counts as ``Any``.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._describe: Callable[[], dict[str, Any]] = functools.partial(resolve_hints, fn)

    def describe(self, hints: Callable[[], dict[str, Any]]) -> None:
        """Take the type hints from ``hints()``, at first use, for a function that has none of its own."""
        self._describe = hints

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self._fn)

    @functools.cached_property
    def returns(self) -> Codec[Any]:
        """The codec of what the function returns; of an ``async def``, what awaiting it gives."""
        return codec_for(self._hints.get("return"))

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> None:
        """Raises ``TypeError`` for a wrong call, as Python does."""
        fewest, names = self._positional
        if kwargs or not fewest <= len(args) <= len(names):
            self.bind(args, kwargs, what)

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        """The arguments by name, with defaults. Raises ``TypeError`` for a wrong call."""
        fewest, names = self._positional
        if not kwargs and fewest <= len(args) == len(names):
            return dict(zip(names, args, strict=True))
        bound = self.bind(args, kwargs, what)
        bound.apply_defaults()
        return bound.arguments

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> inspect.BoundArguments:
        """The arguments by name, without defaults. Raises ``TypeError`` for a wrong call, as Python does."""
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{what}: {error}") from None

    @functools.cached_property
    def _positional(self) -> tuple[int, tuple[str, ...]]:
        """For a call by position alone, which needs no binding: how many arguments at least, and all their names. No
        call can be that short where there are other kinds of parameters."""
        parameters = self.signature.parameters.values()
        if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
            return sys.maxsize, ()
        return sum(p.default is p.empty for p in parameters), tuple(self.signature.parameters)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> bytes:
        """The bytes of a call's arguments, each proved to come back the same."""
        arguments = self.bind(args, kwargs, what).arguments
        return _encode(
            {
                name: msgspec.Raw(self._codecs[name].round_trip(value, f"{what}, argument {name!r}")[0])
                for name, value in arguments.items()
            }
        )

    def decode(self, data: bytes | msgspec.Raw, what: str = "arguments") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``args`` and ``kwargs``. Raises ``SerializationError`` if the function no longer takes them."""
        raw = _RAW_MAP.decode(data, what)
        unknown = raw.keys() - self._codecs.keys()
        if unknown:
            raise SerializationError(f"{what}: {sorted(unknown)} was recorded, which is no parameter now")
        bound = inspect.BoundArguments(self.signature, OrderedDict())
        for name in self.signature.parameters:
            if name in raw:
                bound.arguments[name] = self._codecs[name].decode(raw[name], f"{what}, argument {name!r}")
        try:
            self.signature.bind(*bound.args, **bound.kwargs)
        except TypeError as error:
            raise SerializationError(f"{what}: they are no longer what the function takes: {error}") from None
        return bound.args, bound.kwargs

    def codec(self, name: str) -> Codec[Any]:
        """The codec of one parameter."""
        return self._codecs[name]

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return self._describe()

    @functools.cached_property
    def _codecs(self) -> dict[str, Codec[Any]]:
        return {
            name: codec_for(_whole_type(parameter, self._hints.get(name, Any)))
            for name, parameter in self.signature.parameters.items()
        }


def _whole_type(parameter: inspect.Parameter, hint: Any) -> Any:
    """The type of all that a parameter holds: ``*args: int`` is a tuple of ints."""
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return get_args(hint)[0] if get_origin(hint) is typing.Unpack else dict[str, hint]
    return hint


def resolve_hints(annotated: Any) -> dict[str, Any]:
    """The type hints of a function or class, without those that cannot be resolved."""
    if isinstance(annotated, functools.partial):
        annotated = annotated.func
    if not (isinstance(annotated, type) or hasattr(annotated, "__annotations__")):
        annotated = type(annotated).__call__  # an instance that is callable
    local = _closure(annotated)
    try:
        return typing.get_type_hints(annotated, None, local, include_extras=True)
    except Exception:  # an annotation is any expression
        return _resolvable_hints(annotated, local)


def _resolvable_hints(annotated: Any, local: dict[str, Any] | None) -> dict[str, Any]:
    owners = reversed(annotated.__mro__) if isinstance(annotated, type) else [inspect.unwrap(annotated)]
    hints: dict[str, Any] = {}
    for owner in owners:
        names = vars(sys.modules[owner.__module__]) if isinstance(owner, type) else owner.__globals__
        for name, annotation in inspect.get_annotations(owner).items():
            alone = SimpleNamespace(__annotations__={name: annotation})
            try:
                hints |= typing.get_type_hints(alone, names, local, include_extras=True)
            except Exception:
                hints.pop(name, None)  # one inherited under this name does not describe it
    return hints


def _closure(fn: Any) -> dict[str, Any] | None:
    """What a local function sees of the functions around it, for annotations that name local classes."""
    try:
        return dict(inspect.getclosurevars(inspect.unwrap(fn)).nonlocals) or None
    except (TypeError, ValueError):  # a class, or a cell that is still empty
        return None


# Between msgspec and what it does not know


def _to_builtins(value: Any) -> Any:
    """What msgspec asks for a value it cannot encode. A pydantic model becomes a map of its fields."""
    if _is_model(type(value)):
        return value.model_dump(round_trip=True, warnings=False)
    pydantic_core = sys.modules.get("pydantic_core")
    if pydantic_core is not None:  # a field of a model, such as a Path or a Url
        return pydantic_core.to_jsonable_python(value)
    raise TypeError(f"values of type {_name(type(value))} are not supported")


def _from_builtins(type_: Any, value: Any) -> Any:
    """What msgspec asks for a type it cannot decode."""
    if type_ is object:
        return value
    if not _is_model(type_):
        raise ValueError(f"a value annotated {_name(type_)} cannot be recorded")
    pydantic = sys.modules["pydantic"]
    try:
        return type_.model_validate(value, strict=False, by_alias=True, by_name=True)
    except pydantic.ValidationError as error:  # its own text would show the input
        problems = (f"{'.'.join(map(str, p['loc'])) or 'it'}: {p['msg']}" for p in error.errors())
        raise ValueError("; ".join(problems)) from None


def _is_model(type_: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a pydantic model. Where pydantic was never imported there is none."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(type_, type) and issubclass(type_, pydantic.BaseModel)


def _scalars_of(type_: Any) -> frozenset[type]:
    """The scalar types whose values are sure to come back unchanged under this annotation."""
    if type_ is Any:
        return _SCALARS
    members = get_args(type_) if get_origin(type_) in (typing.Union, UnionType) else (type_,)
    return frozenset(member for member in members if isinstance(member, type) and member in _SCALARS)


def _name(type_: Any) -> str:
    if isinstance(type_, type) and not get_args(type_):
        return type_.__qualname__
    return str(type_).replace("typing.", "")


# Whether two values are the same


def _cached(of_type: Callable[[type], T]) -> Callable[[type], T]:
    return functools.lru_cache(1024)(of_type)


class Difference(NamedTuple):
    """Where in a value, and how, it differs from another. Its text shows types, never values."""

    path: str
    how: str

    def __str__(self) -> str:
        return f"at {self.path[:_MAX_PATH]}, {self.how}" if self.path else self.how


_CHANGED: Final = Difference("", "its value would change")


def difference(one: Any, other: Any, depth: int = 0) -> Difference | None:
    """The first difference in type or value between two values, at any depth; None if they are the same.

    Stricter than ``==``: ``1``, ``True`` and ``1.0`` differ, and objects are compared field by field.
    """
    kind = type(one)
    if kind is not type(other):
        if kind is int and type(other) is float and one == other:
            return None
        return Difference("", f"{_name(kind)} would become {_name(type(other))}")
    take_apart = _take_apart(kind)
    if take_apart is None:
        return None if _same_whole(one, other, depth) else _CHANGED
    if depth > _MAX_DEPTH:
        return Difference("", f"it is nested deeper than {_MAX_DEPTH} levels")
    parts, others = take_apart(one), take_apart(other)
    if len(parts) != len(others):
        return Difference("", "some of its items would be lost")
    for index, (part, again) in enumerate(zip(parts, others, strict=True)):
        if type(part) is type(again) and type(part) in _SCALARS and part == again:
            continue  # most parts by far: no call for them
        found = difference(part, again, depth + 1)
        if found is not None:
            return Difference(_label(one, index) + found.path, found.how)
    if _is_model(kind) and one != other:
        return Difference("", "its private or extra attributes would be lost")
    return None


@_cached
def _take_apart(kind: type) -> Callable[[Any], Sequence[Any]] | None:
    """What gives the parts of a value of this type, in order; None if its values are compared whole."""
    if issubclass(kind, (list, tuple)):
        return _itself
    if issubclass(kind, dict):
        return _keys_and_values
    names = _field_names(kind)
    return None if names is None else lambda value: [getattr(value, name, msgspec.UNSET) for name in names]


def _itself(value: Sequence[Any]) -> Sequence[Any]:
    return value


def _keys_and_values(value: dict[Any, Any]) -> list[Any]:
    return [*value.keys(), *value.values()]


def _label(value: Any, index: int) -> str:
    if isinstance(value, dict):
        keys = list(value)
        return f"key {keys[index]!r}" if index < len(keys) else f"[{keys[index - len(keys)]!r}]"
    names = _field_names(type(value))
    return f"[{index}]" if names is None else f".{names[index]}"


@_cached
def _field_names(cls: type) -> tuple[str, ...] | None:
    """The fields of a dataclass, Struct, attrs class or pydantic model; None for all other classes."""
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if _is_model(cls):
        return tuple(cls.model_fields)
    attributes = getattr(cls, "__attrs_attrs__", None)
    return None if attributes is None else tuple(attribute.name for attribute in attributes)


def _same_whole(one: Any, other: Any, depth: int) -> bool:
    if isinstance(one, (set, frozenset)):
        members = {member: member for member in one}
        return len(one) == len(other) and all(
            member in members and difference(members[member], member, depth + 1) is None for member in other
        )
    return bool(one == other or (one != one and other != other))  # NaN is not equal to itself


_cached_codec: Final = functools.lru_cache(4096)(Codec[Any])
_encode: Final = msgspec.msgpack.Encoder(enc_hook=_to_builtins).encode
_RAW_MAP: Final = codec_for(dict[str, msgspec.Raw])
