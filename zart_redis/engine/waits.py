"""What a body awaits: durable calls."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from zart_redis.engine.journal import Outcome
from zart_redis.registry import Call

Key = tuple[str, str]
"""What a completion ends: a kind of `journal`, and a name."""


class Wait(asyncio.Future[None]):
    """A durable call that the body awaits: a future of the body's loop, done when its completion is delivered."""

    argument = ""
    """What is registered with the store; see `WaitRequest`."""
    members: tuple[str, ...] = ()
    """The scheduled steps of a group."""
    call: Call[Any, Any] | None = None
    """The step that runs in place."""
    function: Callable[[], Coroutine[Any, Any, bytes]] | None = None
    """What `capture` calls; it returns the encoded value."""
    is_own_value = False
    """Whether the value of `function` is the one that is recorded."""
    is_recorded = False
    """Whether it runs in place, and an earlier pass has recorded its result."""
    number = 0
    """Of its completion, if that was known when it was awaited."""
    outcome: Outcome | None = None
    """Of a call that ran in this pass, so that its record need not be decoded."""
    context: contextvars.Context | None = None
    task: asyncio.Task[None] | None = None
    """Runs it in place, on the worker's loop."""

    def __init__(
        self, kind: str, name: str, loop: asyncio.AbstractEventLoop, abandoned: Callable[[Wait], None]
    ) -> None:
        super().__init__(loop=loop)
        self.kind = kind
        self.name = name
        self.key: Key = (kind, name)
        self._abandoned = abandoned
        """Called when the body cancels the call."""

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self._abandoned(self)
        return cancelled

    @property
    def is_in_place(self) -> bool:
        """Whether it runs in this process, and is not ended by others."""
        return self.call is not None or self.function is not None
