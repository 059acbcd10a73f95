"""Whether two values are the same, in type and value, at any depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time
from typing import Any, Final, NamedTuple

import msgspec

from zart_redis.type_info import SCALARS, cached_by_type, field_names, is_model, type_name
from zart_redis.zones import same_time

_MAX_PATH: Final = 100
_MAX_DEPTH: Final = 200  # fixed, so that what is accepted does not depend on how deep the caller's stack is


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
        return Difference("", f"{type_name(kind)} would become {type_name(type(other))}")
    take_apart = _take_apart(kind)
    if take_apart is None:
        return None if _same_whole(one, other, depth) else _CHANGED
    if depth > _MAX_DEPTH:
        return Difference("", f"it is nested deeper than {_MAX_DEPTH} levels")
    parts, others = take_apart(one), take_apart(other)
    if len(parts) != len(others):
        return Difference("", "some of its items would be lost")
    for index, (part, again) in enumerate(zip(parts, others, strict=True)):
        if type(part) is type(again) and type(part) in SCALARS and part == again:
            continue  # most parts by far: no call for them
        found = difference(part, again, depth + 1)
        if found is not None:
            return Difference(_label(one, index) + found.path, found.how)
    if is_model(kind) and one != other:
        return Difference("", "its private or extra attributes would be lost")
    return None


@cached_by_type
def _take_apart(kind: type) -> Callable[[Any], Sequence[Any]] | None:
    """What gives the parts of a value of this type, in order; None if its values are compared whole."""
    if issubclass(kind, (list, tuple)):
        return _itself
    if issubclass(kind, dict):
        return _keys_and_values
    names = field_names(kind)
    return None if names is None else lambda value: [getattr(value, name, msgspec.UNSET) for name in names]


def _itself(value: Sequence[Any]) -> Sequence[Any]:
    return value


def _keys_and_values(value: dict[Any, Any]) -> list[Any]:
    return [*value.keys(), *value.values()]


def _label(value: Any, index: int) -> str:
    if isinstance(value, dict):
        keys = list(value)
        return f"key {keys[index]!r}" if index < len(keys) else f"[{keys[index - len(keys)]!r}]"
    names = field_names(type(value))
    return f"[{index}]" if names is None else f".{names[index]}"


def _same_whole(one: Any, other: Any, depth: int) -> bool:
    if isinstance(one, (set, frozenset)):
        members = {member: member for member in one}
        return len(one) == len(other) and all(
            member in members and difference(members[member], member, depth + 1) is None for member in other
        )
    if isinstance(one, datetime):
        return same_time(one, other)
    if isinstance(one, time):
        return one == other and one.utcoffset() == other.utcoffset() and (one.tzinfo is None) is (other.tzinfo is None)
    return bool(one == other or (one != one and other != other))  # NaN is not equal to itself
