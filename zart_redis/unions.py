"""Annotations that pydantic can read and msgspec cannot, such as unions of models."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import msgspec

from zart_redis.type_info import field_names, is_model, resolve_hints

Convert = Callable[[Any], Any]
"""Makes a value of one type from builtins."""


def converter(type_: Any, converter_of: Callable[[Any], Convert]) -> Convert | None:
    """How builtins become a value of a type that has pydantic models in it; None if it has none.

    `converter_of` gives the same for the types inside it.
    """
    if not _mentions_model(type_, set()):
        return None
    if _is_record(type_):
        return functools.partial(_from_fields, type_, converter_of)
    pydantic = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(_readable(type_, converter_of))
    return functools.partial(validated, functools.partial(adapter.validate_python, by_alias=True, by_name=True))


def validated(validate: Convert, value: Any) -> Any:
    """What pydantic makes of a value. Raises ValueError with the places and rules, as its own text shows the input."""
    try:
        return validate(value)
    except sys.modules["pydantic"].ValidationError as error:
        problems = (f"{'.'.join(map(str, p['loc'])) or 'it'}: {p['msg']}" for p in error.errors())
        raise ValueError("; ".join(problems)) from None


def _is_record(type_: Any) -> bool:
    """Whether it is a dataclass, a Struct or an attrs class."""
    return isinstance(type_, type) and field_names(type_) is not None and not is_model(type_)


def _mentions_model(type_: Any, seen: set[Any]) -> bool:
    if is_model(type_):
        return True
    if _is_record(type_) and type_ not in seen:
        seen.add(type_)
        return any(_mentions_model(hint, seen) for hint in resolve_hints(type_).values())
    return any(_mentions_model(argument, seen) for argument in get_args(type_))


def _readable(type_: Any, converter_of: Callable[[Any], Convert]) -> Any:
    """The type with what pydantic does not know, records, replaced by functions."""
    if _is_record(type_):
        validator = sys.modules["pydantic"].PlainValidator

        def read(value: Any) -> Any:
            try:
                return converter_of(type_)(value)
            except Exception as error:  # pydantic accepts only these
                raise ValueError(str(error)) from None

        return Annotated[Any, validator(read)]
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return Annotated[(_readable(arguments[0], converter_of), *arguments[1:])]
    if origin is None or origin is typing.Literal or not arguments:
        return type_
    inner = tuple(argument if argument is ... else _readable(argument, converter_of) for argument in arguments)
    return typing.Union[inner] if origin in (typing.Union, UnionType) else origin[inner]  # noqa: UP007


def _from_fields(cls: type[Any], converter_of: Callable[[Any], Convert], value: Any) -> Any:
    """A dataclass, Struct or attrs class, each field by its annotation."""
    hints = resolve_hints(cls)
    encoded: dict[str, str] = {}
    if issubclass(cls, msgspec.Struct):
        encoded = dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
    names = field_names(cls) or ()
    if isinstance(value, list):  # an array_like Struct
        value = {encoded.get(name, name): item for name, item in zip(names, value, strict=False)}
    fields = {
        name: converter_of(hints.get(name, Any))(value[encoded.get(name, name)])
        for name in names
        if encoded.get(name, name) in value
    }
    late = [field.name for field in dataclasses.fields(cls) if not field.init] if dataclasses.is_dataclass(cls) else []
    made = cls(**{name: item for name, item in fields.items() if name not in late})
    for name in late:
        if name in fields:
            object.__setattr__(made, name, fields[name])
    return made
