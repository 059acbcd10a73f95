"""A power cut, as far as a process can stage one. kill -9 loses nothing that Redis has written, since the kernel
keeps it; a machine that loses its power loses what was not yet fsynced. So the AOF is cut back to its length at an
earlier time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple, Self

from tests.support.servers import RedisProcess

EVERY_SECONDS = 0.01
KEPT_SECONDS = 3.0


_EXEC = b"*1\r\n$4\r\nEXEC\r\n"


class _Seen(NamedTuple):
    path: Path
    inode: int
    length: int


class AofWatch:
    """Watches how the AOF of a server grows."""

    def __init__(self, server: RedisProcess) -> None:
        self._server = server
        self._seen: deque[tuple[float, _Seen]] = deque(maxlen=round(KEPT_SECONDS / EVERY_SECONDS))

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()

    def cut(self, back_to: float) -> None:
        """Of a dead server: cut its AOF back to its length at that time; not at all if another file has taken its place
        since, as after a rewrite, which is fsynced."""
        now = self._look()
        before = [seen for at, seen in self._seen if at <= back_to]
        if now and before and before[-1][:2] == now[:2] and before[-1].length < now.length:
            os.truncate(now.path, _end_of_transaction(now.path, before[-1].length))

    async def _watch(self) -> None:
        while True:
            if seen := self._look():
                self._seen.append((time.time(), seen))
            await asyncio.sleep(EVERY_SECONDS)

    def _look(self) -> _Seen | None:
        try:
            path = self._server.aof()
            state = path.stat() if path else None
        except FileNotFoundError:
            return None  # a rewrite has just put another in its place
        return _Seen(path, state.st_ino, state.st_size) if path and state else None


def _end_of_transaction(path: Path, length: int) -> int:
    """The last one within this length. Of a transaction that is cut in two Redis 7.0 keeps the first half in its AOF,
    and carries it out when it next starts, before what was appended behind it."""
    with path.open("rb") as aof:
        end = aof.read(length).rfind(_EXEC)
    return 0 if end < 0 else end + len(_EXEC)
