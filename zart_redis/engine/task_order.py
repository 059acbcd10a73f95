"""Makes asyncio and anyio treat the tasks of a body in the same order in each pass.

Both keep objects in sets that are iterated by memory address, which differs between passes: `asyncio.as_completed` the
coroutines that it makes tasks of, a cancel scope of anyio the scopes within it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Iterable
from typing import Any

from anyio._backends._asyncio import CancelScope


class _InOrder(dict[CancelScope, None]):
    """A set that is iterated in the order in which its members were added."""

    def add(self, scope: CancelScope) -> None:
        self[scope] = None

    def remove(self, scope: CancelScope) -> None:
        del self[scope]

    def discard(self, scope: CancelScope) -> None:
        self.pop(scope, None)


def _unique(items: Iterable[Any] | None = None) -> Collection[Any]:
    """What the module `asyncio.tasks` calls `set`: of given items it keeps the order."""
    return set() if items is None else dict.fromkeys(items)


@functools.cache
def keep_order() -> None:
    """Have asyncio and anyio keep the order of tasks in this process."""
    asyncio.tasks.set = _unique  # type: ignore[attr-defined]
    begin = CancelScope.__init__

    def begin_in_order(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        self._child_scopes = _InOrder()

    CancelScope.__init__ = begin_in_order  # type: ignore[method-assign]
