"""Identifies the code that a worker runs, so that what other code has held is tried again, and only that."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from zart_redis import registry
from zart_redis.registry import HandlerDefinition, steps

DIGITS = 16
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PACKAGE = Path(registry.__file__).parent
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def code_of(handlers: Iterable[HandlerDefinition]) -> str:
    """Differs if a handler, a step, or a module of the user's differs; the same in each process with the same code.

    Libraries are not compared. Work that only a change of a library can continue is tried again after its delay.
    """
    digest = hashlib.sha256()
    for part in (*_modules(), *_functions(handlers)):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:DIGITS]


def _functions(handlers: Iterable[HandlerDefinition]) -> Iterator[str]:
    for handler in handlers:
        versions = f"{handler.compatible_from}-{handler.version}"
        yield f"{handler.name} {versions} {_text(handler.origin)} {_text(handler.on_failure)}"
    for name, step in sorted(steps.by_name.items()):
        yield f"{name} {_text(step.fn)}"


def _text(function: Callable[..., Any] | None) -> str:
    """The instructions and the annotations of a function; of a class only its name, since its module is compared."""
    code = getattr(function, "__code__", None)
    annotations = getattr(function, "__annotations__", {})
    text = _instructions(code) if isinstance(code, CodeType) else type(function).__qualname__
    return _ADDRESS.sub("", f"{text} {annotations}")


def _instructions(code: CodeType) -> str:
    """Without what depends on where the code is: file and lines."""
    constants = " ".join(map(_constant, code.co_consts))
    return f"{code.co_code.hex()} {code.co_names} {code.co_freevars} {constants}"


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return _instructions(value)
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _modules() -> Iterator[str]:
    """The names of the modules that are neither libraries nor part of this package, and what is in their files."""
    for name, module in sorted(sys.modules.copy().items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not file.startswith(_LIBRARIES) and _PACKAGE not in Path(file).parents:
            yield f"{name} {_file_digest(file)}"


@functools.cache
def _file_digest(file: str) -> str:
    """A file that cannot be read, such as one in an archive, counts by its name."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return file
