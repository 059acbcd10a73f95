"""The threads of plain `def` steps: a limited number of places, each kept until its function has ended."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class StepThreads:
    """Limits how many functions run in threads at a time, those included that nobody waits for any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._limiter = anyio.CapacityLimiter(number)
        self._unlimited = anyio.CapacityLimiter(math.inf)

    async def take(self) -> ThreadPlace:
        """Wait for a free place. Call `ThreadPlace.leave` in the end."""
        place = ThreadPlace(self._limiter, self._unlimited)
        await self._limiter.acquire_on_behalf_of(place)
        return place


class ThreadPlace:
    """A place for one call of a function."""

    def __init__(self, limiter: anyio.CapacityLimiter, unlimited: anyio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._unlimited = unlimited
        self._loop = asyncio.get_running_loop()
        self._unclaimed = [True]
        """Emptied, atomically, by the thread when it begins, or by `leave`."""
        self._is_free = False

    async def call(self, fn: Callable[[], T]) -> T:
        """What `fn()` returns or raises in a thread. If cancelled, the function still ends; its result is dropped."""
        return await anyio.to_thread.run_sync(self._run, fn, abandon_on_cancel=True, limiter=self._unlimited)

    def _run(self, fn: Callable[[], T]) -> T:
        if not self._claim():
            raise RuntimeError("the call was cancelled before it began")
        try:
            return fn()
        finally:
            try:
                self._loop.call_soon_threadsafe(self._free)
            except RuntimeError:  # the loop has been closed meanwhile
                pass

    def leave(self) -> bool:
        """Give the place back now, or when the function ends. Returns whether it still runs."""
        if self._claim():
            self._free()
        return not self._is_free

    def _claim(self) -> bool:
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False

    def _free(self) -> None:
        self._is_free = True
        self._limiter.release_on_behalf_of(self)
