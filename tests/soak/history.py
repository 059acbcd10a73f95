"""The recorded history: what was acknowledged to producers, and the traces that steps left. Files of JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec


class _Line(msgspec.Struct, frozen=True, array_like=True):
    def line(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"

    @classmethod
    def read(cls, *files: Path) -> Iterator[Self]:
        decode = msgspec.json.Decoder(cls).decode
        for file in files:
            if file.exists():
                yield from map(decode, file.read_bytes().splitlines())


class Acknowledged(_Line, frozen=True):
    """An answer that a producer got."""

    what: str
    """start, event, cancel or result"""
    id: str
    at: int
    """When it had arrived, in ms."""
    answer: Any
    """Of an event its payload; of a cancel whether the execution was live; of a result status and output."""


class Trace(_Line, frozen=True):
    """One run of a step's code."""

    pid: int
    began: int
    """In ms."""
    id: str
    run: int
    step: str
    attempt: int
    token: str
    after: str | None
    """The token of the step before it, as this run of the code was given it."""
