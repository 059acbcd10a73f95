"""What a body and its steps emit, on its way to the store.

A body emits the same in each pass. So its emissions are numbered, and those that are stored are not sent again.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple, Protocol


class Emitted(NamedTuple):
    """An emission: its `layout.Emission`, the name of the stream or the key, and the encoded value."""

    kind: str
    name: str
    value: bytes


class EmitPort(Protocol):
    """Takes what is emitted. Whatever its claim records later is recorded after it."""

    def emit(self, emitter: Emitter, emitted: Emitted) -> None:
        """Store an emission soon. May be called in any thread."""


class Emitter:
    """A body, or an attempt of a step, that emits."""

    __slots__ = ("_port", "attempt", "is_closed", "max_payload", "sent", "step", "token")

    def __init__(self, port: EmitPort, max_payload: int, step: str, attempt: int) -> None:
        self._port = port
        self.max_payload = max_payload
        self.step = step
        self.attempt = attempt
        """Counted from 0."""
        self.token = ""
        """Distinguishes the attempts of a step."""
        self.sent = 0
        """How many emissions have been sent."""
        self.is_closed = False
        """The attempt has ended; a thread that still runs emits nothing any more."""

    def emit(self, emitted: Emitted) -> None:
        if not self.is_closed:
            self.token = self.token or secrets.token_hex(4)
            self._port.emit(self, emitted)

    def close(self) -> None:
        self.is_closed = True
