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
from typing import Self

EVERY_SECONDS = 0.01
KEPT_SECONDS = 3.0


class AofWatch:
    """Watches how the AOF in a folder grows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: deque[tuple[float, Path, int, int]] = deque(maxlen=round(KEPT_SECONDS / EVERY_SECONDS))

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()

    def cut(self, back_to: float) -> int:
        """Of a dead server: cut its AOF back to its length at that time. Answers how many bytes went; none if another
        file has taken its place since, as after a rewrite, which is fsynced."""
        newest = self._newest()
        known = [seen for seen in self._seen if seen[0] <= back_to]
        if newest is None or not known:
            return 0
        _, path, inode, length = known[-1]
        file, size, current = newest
        if (file, current) != (path, inode) or length >= size:
            return 0
        os.truncate(file, length)
        return size - length

    async def _watch(self) -> None:
        while True:
            if newest := self._newest():
                path, size, inode = newest
                self._seen.append((time.time(), path, inode, size))
            await asyncio.sleep(EVERY_SECONDS)

    def _newest(self) -> tuple[Path, int, int] | None:
        """The file that is appended to: from Redis 7 on the last of several."""
        files = [*self._folder.glob("appendonly.aof"), *self._folder.glob("appendonlydir/*.incr.aof")]
        found = []
        for file in files:
            try:
                state = file.stat()
            except FileNotFoundError:
                continue  # a rewrite has just put another in its place
            found.append((state.st_mtime_ns, file, state.st_size, state.st_ino))
        return max(found)[1:] if found else None
