"""Names, ids, the placeholders in them and patterns of them: what is allowed, checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any
from zlib import crc32

from zart_redis.errors import InvalidInput
from zart_redis.printable import has_controls, printable

MAX_NAME_BYTES = 512

_HIDDEN = re.compile(r"^__|[.\[]\s*_")


def check_name(value: object, what: str) -> str:
    """Return `value` if it can serve as a name or an id; `what` says which one it is.

    Raises:
        InvalidInput: it is not text, is empty, holds control characters, is longer than 512 bytes as UTF-8, or is
            "." or "..", which clients of HTTP take out of paths.
    """
    text = check_text(value, what)
    if text in (".", ".."):
        raise InvalidInput(f"{what} must not be {text!r}: paths of URLs cannot hold it")
    if not text:
        raise InvalidInput(f"{what} must not be empty")
    if has_controls(text):
        raise InvalidInput(f"{what} must not hold control characters, as {printable(text)!s:.100} does")
    return text


def check_text(value: object, what: str) -> str:
    """Return `value` if it is text of at most 512 bytes as UTF-8, which may be empty, and hold any character.

    Raises:
        InvalidInput: it is not.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{what} must be text, not {type(value).__name__}")
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} holds characters that UTF-8 cannot encode") from None
    if size > MAX_NAME_BYTES:
        raise InvalidInput(f"{what} is {size} bytes long; at most {MAX_NAME_BYTES} are allowed")
    return value


def check_optional(value: object, what: str) -> None:
    """As `check_name`, but None will do, too."""
    if value is not None:
        check_name(value, what)


@dataclass(frozen=True, slots=True)
class Template:
    """A name with placeholders, as "report-{index}"."""

    fingerprint: int
    """Two bytes that distinguish templates, as far as two bytes can."""
    _pattern: re.Pattern[str]

    @classmethod
    def of(cls, name: str) -> Template | None:
        """None if there is no placeholder in this name, or none that can be read."""
        try:
            parts = list(Formatter().parse(name))
        except ValueError:
            return None
        if all(field is None for _, field, _, _ in parts):
            return None
        pattern = "".join(re.escape(literal) + ("" if field is None else ".*") for literal, field, _, _ in parts)
        return cls(crc32(name.encode()) & 0xFFFF, re.compile(pattern, re.DOTALL))

    def can_make(self, name: str) -> bool:
        """Whether filling the placeholders can have made this name."""
        return self._pattern.fullmatch(name) is not None


def placeholders(template: str, what: str, allowed: Collection[str] | None = None) -> frozenset[str]:
    """The parameters that `template` names, as "index" in "report-{index}".

    Raises:
        InvalidInput: a placeholder is malformed, reaches for a name with an underscore in front, or names none of
            `allowed`.
    """
    try:
        fields = list(_fields(template))
    except ValueError as error:
        raise InvalidInput(f"{what} {template!r} is malformed: {error}") from None
    for field in fields:
        if _HIDDEN.search(field):
            raise InvalidInput(f"{what} {template!r}: the placeholder {field!r} reaches for what is not public")
    roots = frozenset(field.split(".")[0].split("[")[0] for field in fields)
    unknown = [] if allowed is None else sorted(roots - set(allowed))
    if unknown:
        known = ", ".join(sorted(allowed or ())) or "none"
        raise InvalidInput(f"{what} {template!r} has the unknown placeholder {unknown[0]!r} (known: {known})")
    return roots


def _fields(template: str) -> Iterator[str]:
    """The fields of a template; a format may hold more of them."""
    for _, field, format, _ in Formatter().parse(template):
        if field is not None:
            yield field
            yield from _fields(format or "")


def render(template: str, values: Mapping[str, Any], what: str) -> str:
    """`template` with its placeholders filled from `values`, checked as a name.

    Raises:
        InvalidInput: a placeholder cannot be filled, or the outcome is no valid name.
    """
    try:
        name = template.format_map(values)
    except (LookupError, AttributeError, ValueError, TypeError) as error:
        raise InvalidInput(f"{what} {template!r} cannot be filled: {error}") from None
    return check_name(name, what)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` matches a pattern in which `*` matches any text and `?` one character."""
    return _regex(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1000)
def _regex(pattern: str) -> re.Pattern[str]:
    """Each literal between two stars is searched for once, from left to right, so no pattern backtracks."""
    first, *rest = [_piece(piece) for piece in pattern.split("*")]
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    return re.compile(f"{first}{''.join(f'(?>.*?{piece})' for piece in middle)}.*{last}", re.DOTALL)


def _piece(text: str) -> str:
    return "".join("." if letter == "?" else re.escape(letter) for letter in text)
