"""Groups of scheduled steps that a body waits for, each as a whole."""

from __future__ import annotations

from zart_redis.engine.waits import Wait


class Groups:
    """The groups that are not complete."""

    def __init__(self) -> None:
        self._missing: dict[Wait, set[str]] = {}
        """The steps that a group still waits for."""
        self._waiting: dict[str, list[Wait]] = {}
        """For each step, the groups that wait for it."""

    def add(self, group: Wait, missing: set[str]) -> None:
        self._missing[group] = missing
        for step in missing:
            self._waiting.setdefault(step, []).append(group)

    def missing(self, group: Wait) -> list[str]:
        """The steps that a group still waits for."""
        return sorted(self._missing[group])

    def step_ended(self, step: str) -> list[Wait]:
        """The groups that are complete now that this step has ended."""
        complete = []
        for group in self._waiting.pop(step, ()):
            missing = self._missing[group]
            missing.discard(step)
            if not missing:
                del self._missing[group]
                complete.append(group)
        return complete
