"""The handlers that a worker runs, by task and version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from zart_redis.registry import HandlerDefinition, TaskVersions
from zart_redis.registry import handlers as declared


class KnownHandlers:
    """Those that the worker was given, or all that have been declared, those included that are declared later."""

    def __init__(self, given: Mapping[str, TaskVersions] | None) -> None:
        self.give(given)

    def give(self, given: Mapping[str, TaskVersions] | None) -> None:
        """Replace them."""
        self._given = given
        self._read: tuple[int, Mapping[str, TaskVersions], str] | None = None

    @property
    def may_grow(self) -> bool:
        """Whether handlers that are declared later belong to them."""
        return self._given is None

    def _current(self) -> tuple[int, Mapping[str, TaskVersions], str]:
        declarations = declared.declarations if self._given is None else 0
        if self._read is None or self._read[0] != declarations:
            tasks = declared.versions() if self._given is None else self._given
            ranges = {name: versions.ranges for name, versions in tasks.items()}
            self._read = declarations, tasks, msgspec.json.encode(ranges).decode()
        return self._read

    @property
    def ranges(self) -> str:
        """An argument of `claim`: JSON of the ranges of versions, by task.

        Raises:
            InvalidInput: two declarations of a task run the same version.
        """
        return self._current()[2]

    def find(self, task: str, version: int) -> HandlerDefinition | None:
        """The handler that runs this version of a task."""
        versions = self._current()[1].get(task)
        return None if versions is None else versions.find(version)

    def can_run(self, task: str, version: int) -> bool:
        """Whether one of them runs this version of a task; 0 means any."""
        return task in self._current()[1] if version == 0 else self.find(task, version) is not None

    def __iter__(self) -> Iterator[HandlerDefinition]:
        return (handler for _, versions in sorted(self._current()[1].items()) for handler in versions.handlers)
