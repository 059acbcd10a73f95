"""Reads the replies of `claim`, whose values have names; see `layout.ClaimField`.

A field of `BodyClaim` or `StepClaim` is read from the value of its name, according to its type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zart_redis.errors import SerializationError
from zart_redis.layout import Entry
from zart_redis.model import BodyClaim, StepClaim, Unreadable, Unserved
from zart_redis.store.decoding import loose_text, mapping, news, read_blame, read_tags, text, waits

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "str": text,
    "bytes": lambda value: value,
    "int": int,
    "bool": lambda value: value == b"1",
    "int | None": lambda value: int(value) if value else None,
    "dict[str, bytes]": mapping,
    "dict[str, str]": read_tags,
    "set[str]": lambda names: {text(name) for name in names},
    "dict[tuple[str, str], int | None]": waits,
    "list[tuple[str, str, bytes]]": news,
    "Blame": read_blame,
}


def _plan(kind: type[Any]) -> list[tuple[str, bytes, Callable[[Any], Any]]]:
    """Field, name in the reply, reader."""
    return [(field.name, field.name.encode(), _READERS[str(field.type)]) for field in dataclasses.fields(kind)]


_BODY = _plan(BodyClaim)
_STEP = _plan(StepClaim)


def read_claims(reply: Sequence[Any]) -> list[BodyClaim | StepClaim | Unserved | Unreadable]:
    """The claims of a reply: a list of names for bodies, one for scheduled steps, and the values of each claim."""
    if not reply:
        return []
    names_of_body, names_of_step, claims = reply
    names = {Entry.EXECUTION.encode(): names_of_body or (), Entry.STEP.encode(): names_of_step or ()}
    return [_read_claim(kind, values, names.get(kind, ())) for kind, *values in claims]


def _read_claim(
    kind: bytes, values: Sequence[Any], names: Sequence[bytes]
) -> BodyClaim | StepClaim | Unserved | Unreadable:
    if kind == b"-":
        execution_id, task, version, has_begun = map(text, values)
        return Unserved(execution_id, task, int(version) if version else None, bool(has_begun))
    if not names:
        return read_unreadable(values)[0]
    found = dict(zip(names, values, strict=True))
    try:
        if kind == Entry.EXECUTION.encode():
            return BodyClaim(**{name: read(found[key]) for name, key, read in _BODY})
        return StepClaim(**{name: read(found[key]) for name, key, read in _STEP})
    except (SerializationError, KeyError, ValueError, TypeError, AttributeError) as error:
        entry, queue, execution_id = (loose_text(found[key]) for key in (b"entry", b"queue", b"execution_id"))
        return Unreadable(execution_id, f"{type(error).__name__}: {error}", queue, entry)


def read_unreadable(flat: Sequence[bytes]) -> list[Unreadable]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [Unreadable(loose_text(execution_id), loose_text(why)) for execution_id, why in pairs]
