"""Merges commands of scripts that take many items (`batch` in their headers), and takes the replies apart again.

One script that records the results of a turn costs Redis less than a script for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zart_redis.store.lua import BY_SHA

Command = tuple[bytes | str | int, ...]

ITEMS = 5
"""Where the items of an EVALSHA of ours begin: behind the key, and the time."""
MAX_ITEMS = 200
MAX_BYTES = 1 << 20
"""Payload of one script, after which no item is added."""


class Batches:
    """Commands as they are sent, and where the reply of each original command is found."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands: list[Command] = []
        self._places: list[tuple[int, int | None]] = []
        """For each original command the index of the sent one, and its index among the items of that one."""
        batches: list[_Batch] = []
        open_batches: dict[tuple[bytes | str | int, ...], _Batch] = {}
        for command in commands:
            if not _takes_items(command):
                self._places.append((len(self.commands), None))
                self.commands.append(command)
                continue
            head = command[:ITEMS]
            batch = open_batches.get(head)
            if batch is None or not batch.fits(command):
                batch = open_batches[head] = _Batch(len(self.commands))
                self.commands.append(head)
                batches.append(batch)
            self._places.append((batch.index, batch.count))
            batch.add(command)
        for batch in batches:
            self.commands[batch.index] = (*self.commands[batch.index], *batch.items)

    def replies(self, sent: Sequence[Any]) -> list[Any]:
        """The reply of each original command."""
        found = []
        for index, item in self._places:
            reply = sent[index]
            found.append(reply if item is None or isinstance(reply, Exception) else reply[item])
        return found


class _Batch:
    def __init__(self, index: int) -> None:
        self.index = index
        self.count = 0
        self.items: list[bytes | str | int] = []
        self._bytes = 0

    def fits(self, command: Command) -> bool:
        return self.count < MAX_ITEMS and self._bytes < MAX_BYTES

    def add(self, command: Command) -> None:
        items = command[ITEMS:]
        self.items += items
        self.count += 1
        for item in items:
            if isinstance(item, bytes):
                self._bytes += len(item)


def _takes_items(command: Command) -> bool:
    script = BY_SHA.get(command[1])  # type: ignore[arg-type]
    return script is not None and script.manifest.batch
