"""Warns when user code blocks the event loop, with the stack of that code. The heartbeats are not affected."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable

from zart_redis.logs import get_logger

log = get_logger()


def in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    """Have `loop` make a call, from another thread. Does nothing if the loop is closed."""
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise


class Watchdog:
    """Call `look` regularly from another thread: the loop must have responded to the previous call within `seconds`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._asked: float | None = None
        self._warned = False

    def look(self) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked, self._warned = now, False
            in_loop(self._loop, self._respond)
        elif now - self._asked > self._seconds and not self._warned:
            self._warned = True
            frame = sys._current_frames().get(self._thread)
            stack = "".join(traceback.format_stack(frame)[-5:]) if frame else ""
            log.warning(
                "the event loop is blocked, and nothing else runs in this worker; make blocking code a plain def step",
                seconds=round(now - self._asked, 1),
                stack=stack,
            )

    def _respond(self) -> None:
        self._asked = None
