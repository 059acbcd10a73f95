"""Inspection of types: resolved hints, fields of classes, names for messages."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Callable
from types import NoneType, SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")

_UNSPECIFIC: Final = (Any, object, typing.Never, typing.NoReturn)
SCALARS: Final = frozenset({NoneType, bool, int, float, str, bytes})


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


def cached_by_type(of_type: Callable[[type], T]) -> Callable[[type], T]:
    """`functools.lru_cache`, whose stub does not take a `type` for hashable."""
    return functools.lru_cache(1024)(of_type)


def is_model(type_: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a pydantic model. False if pydantic has not been imported."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(type_, type) and issubclass(type_, pydantic.BaseModel)


@cached_by_type
def field_names(cls: type) -> tuple[str, ...] | None:
    """The fields of a dataclass, Struct, attrs class or pydantic model; None for all other classes."""
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if is_model(cls):
        return tuple(cls.model_fields)
    attributes = getattr(cls, "__attrs_attrs__", None)
    return None if attributes is None else tuple(attribute.name for attribute in attributes)


def may_fit(given: Any, wanted: Any) -> bool:
    """Whether a value annotated as one type may be used where another is expected. True where annotations do not show
    it."""
    given, wanted = _plain(given), _plain(wanted)
    if given == wanted or any(type_ in _UNSPECIFIC or isinstance(type_, TypeVar) for type_ in (given, wanted)):
        return True
    if _is_union(given):
        return all(may_fit(member, wanted) for member in get_args(given))
    if _is_union(wanted):
        return any(may_fit(given, member) for member in get_args(wanted))
    if get_origin(given) is typing.Literal:
        literals = get_args(given)
        if get_origin(wanted) is typing.Literal:
            return set(literals) <= set(get_args(wanted))
        return all(may_fit(type(literal), wanted) for literal in literals)
    kinds = get_origin(given) or given, get_origin(wanted) or wanted
    if not all(isinstance(kind, type) for kind in kinds) or getattr(kinds[1], "_is_protocol", False):
        return get_origin(wanted) is not typing.Literal
    if typing.is_typeddict(kinds[0]) or typing.is_typeddict(kinds[1]):
        return all(kind is dict or typing.is_typeddict(kind) or kind.__module__ == "collections.abc" for kind in kinds)
    if not (issubclass(*kinds) or kinds == (int, float)):
        return False
    arguments, others = get_args(given), get_args(wanted)
    if kinds[0] is not kinds[1] or Ellipsis in (*arguments, *others):
        return True
    return not (arguments and others) or (len(arguments) == len(others) and all(map(may_fit, arguments, others)))


def _plain(type_: Any) -> Any:
    """A type without what only annotates or renames it."""
    while True:
        if type_ is None:
            return NoneType
        if get_origin(type_) is typing.Annotated:
            type_ = get_args(type_)[0]
        elif isinstance(type_, typing.NewType):
            type_ = type_.__supertype__
        elif hasattr(type_, "__value__"):  # an alias
            type_ = type_.__value__
        else:
            return type_


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (typing.Union, UnionType)


def type_name(type_: Any) -> str:
    if type_ is NoneType:
        return "None"
    if isinstance(type_, type) and not get_args(type_):
        return type_.__qualname__
    return str(type_).replace("typing.", "")
