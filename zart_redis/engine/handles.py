"""The callbacks that the event loop of a body queues."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


class BodyHandle(asyncio.Handle):
    """A queued callback. Unlike `asyncio.Handle` it does not check whether the loop is in debug mode."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class BodyTimer(asyncio.TimerHandle):
    """A callback that is due at a time of the loop; `name` is the same in each pass."""

    __slots__ = ("due_ms", "name")

    def __init__(
        self,
        name: str,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.name = name
        self.due_ms = math.ceil(round(when * 1000, 3))
