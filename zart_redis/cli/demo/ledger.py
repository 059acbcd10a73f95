"""The ledger in which the census's steps note each of their runs: evidence that is independent of Redis."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


class Ledger:
    """Reads the file from where it stopped the last time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begun: dict[int, set[str]] = {}
        """The files that each process began to parse, by its id."""
        self.ended: set[str] = set()
        self._runs: Counter[str] = Counter()
        self._position = 0

    def read(self) -> None:
        """Read what has been written since the last time."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # its end is still being written
                self._position += len(line)
                self._take_in(line.decode())

    def _take_in(self, line: str) -> None:
        word, pid, path = line.rstrip("\n").split("\t")
        if word == "begin":
            self._runs[path] += 1
            self.begun.setdefault(int(pid), set()).add(path)
        else:
            self.ended.add(path)

    def run_again(self) -> int:
        """How many files were begun more than once."""
        return sum(1 for runs in self._runs.values() if runs > 1)
