"""What every stored name is."""

from __future__ import annotations

from enum import StrEnum


class StoredName(StrEnum):
    """A stored text, which reads as such in messages."""

    def __repr__(self) -> str:
        return repr(self.value)
