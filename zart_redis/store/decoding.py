"""Decoding what Redis returns. What is stored may be damaged; then these raise SerializationError."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zart_redis.errors import SerializationError
from zart_redis.layout import PARENT_TAG
from zart_redis.model import Blame


def text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise SerializationError(f"stored data is damaged: {error}") from error


def loose_text(value: bytes) -> str:
    """For what a stranger may have written; `to_bytes` restores it."""
    return value.decode(errors="surrogateescape")


def to_bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")


def mapping(flat: Sequence[Any]) -> dict[str, Any]:
    try:
        return {text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    except (ValueError, TypeError, AttributeError) as error:
        raise SerializationError(f"stored data is damaged: {error}") from error


def fields(flat: Sequence[Any]) -> dict[str, Any]:
    """An execution's fields; those that others have added do no harm."""
    try:
        return {name.decode(errors="replace"): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    except (ValueError, TypeError, AttributeError) as error:
        raise SerializationError(f"stored data is damaged: {error}") from error


def waits(flat: Sequence[bytes]) -> dict[tuple[str, str], int | None]:
    """Waits by letter and name (see `layout.Wait`), and when they are due in ms."""
    found: dict[tuple[str, str], int | None] = {}
    for member, score in zip(flat[::2], flat[1::2], strict=True):
        due = float(score)
        found[text(member[:1]), text(member[1:])] = None if math.isinf(due) else int(due)
    return found


def news(flat: Sequence[bytes]) -> list[tuple[str, str, bytes]]:
    """Completions: the letter of `layout.News`, name, record."""
    triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return [(text(letter), text(name), record) for letter, name, record in triples]


_NO_BLAME = Blame()
_decode_blame = msgspec.msgpack.Decoder(Blame, strict=False).decode


def read_blame(packed: bytes) -> Blame:
    """What a body or a step is blamed for."""
    if not packed:
        return _NO_BLAME
    try:
        return _decode_blame(packed)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"stored data is damaged: its blame cannot be read: {error}") from None


_encode_tags = msgspec.msgpack.Encoder().encode
_decode_tags = msgspec.msgpack.Decoder(dict[str, str]).decode


def write_tags(tags: Mapping[str, str]) -> bytes:
    return _encode_tags(tags)


def read_tags(packed: bytes) -> dict[str, str]:
    """The tags of users."""
    tags = read_all_tags(packed)
    tags.pop(PARENT_TAG, None)
    return tags


def read_all_tags(packed: bytes) -> dict[str, str]:
    """Those of users, and `PARENT_TAG`."""
    if not packed:
        return {}
    try:
        return _decode_tags(packed)
    except msgspec.MsgspecError as error:
        raise SerializationError(f"stored data is damaged: its tags cannot be read: {error}") from None


def whole_number(value: Any) -> int:
    try:
        return int(value)
    except (ValueError, TypeError):
        raise SerializationError(f"stored data is damaged: {value!r} is not a number") from None


def optional_int(value: bytes) -> int | None:
    return int(float(value)) if value else None
