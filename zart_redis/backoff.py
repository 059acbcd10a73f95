"""Pauses between attempts."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress


class Backoff:
    """Growing, jittered pauses between attempts, in seconds; `reset` it after a success.

    The default limit is short, since work waits for the rest of a pause after Redis is back.
    """

    def __init__(self, first: float = 0.02, longest: float = 0.5) -> None:
        self._first, self._longest = first, longest
        self._next = first

    async def wait(self, interrupted: asyncio.Event | None = None) -> None:
        """Pause for half to all of the present delay, so that not every process comes back at one moment; at most until
        the event is set."""
        delay, self._next = self._next, min(self._next * 2, self._longest)
        pause = random.uniform(delay / 2, delay)
        if interrupted is None:
            await asyncio.sleep(pause)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await interrupted.wait()

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._next = self._first
