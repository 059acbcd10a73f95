"""What the holder of a claim emits, until it is stored.

While some of it is under way the rest gathers, so a busy step pays one round trip for thousands of items, and a single
item is sent at once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context
from threading import get_ident

from zart_redis.engine.emitting import Emitted, Emitter

MAX_ITEMS = 200
MAX_BYTES = 1 << 20
"""Bounds of one script."""
MAX_AT_ONCE = 10_000
"""Items of one round trip."""

Send = Callable[[Emitter, int, Sequence[Emitted]], Awaitable[None]]
"""Stores emissions; the number is that of the first."""


class Outbox:
    """The emissions of one claim, in order.

    Invariant: while anything waits, a task sends it or `_start` is due.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[tuple[Emitter, Emitted]] = deque()
        self._is_due = False
        self._sending: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()

    def __bool__(self) -> bool:
        """Whether anything is to be sent, or could not be."""
        return bool(self._waiting or self._sending or self._error)

    def put(self, emitter: Emitter, emitted: Emitted) -> None:
        """May be called in any thread."""
        self._waiting.append((emitter, emitted))
        if not self._is_due:
            self._is_due = True
            soon = self._loop.call_soon if get_ident() == self._thread else self._loop.call_soon_threadsafe
            soon(self._start, context=Context())

    async def drain(self) -> None:
        """Returns when all is stored. Raises what kept it from being stored."""
        while self._waiting or self._sending:
            self._start()
            if self._sending is not None:
                await asyncio.wait([self._sending])
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        self._is_due = False  # before anything is taken: what is put from now on makes it due again
        if self._waiting and self._sending is None:
            self._sending = self._loop.create_task(self._send_all(), context=Context())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), MAX_AT_ONCE)
                taken = [self._waiting.popleft() for _ in range(count)]
                if self._error is None:
                    await asyncio.gather(*(self._send(*batch) for batch in _batches(taken)))
        except Exception as error:
            self._error = error
            self._waiting.clear()
        finally:
            self._sending = None


def _batches(taken: Sequence[tuple[Emitter, Emitted]]) -> Iterator[tuple[Emitter, int, Sequence[Emitted]]]:
    """What is sent in one script each: the emissions of one emitter that follow each other."""
    for emitter, group in itertools.groupby(taken, key=lambda item: item[0]):
        batch: list[Emitted] = []
        size = 0
        for _, emitted in group:
            if len(batch) == MAX_ITEMS or size > MAX_BYTES:
                yield _numbered(emitter, batch)
                batch, size = [], 0
            batch.append(emitted)
            size += len(emitted.value)
        yield _numbered(emitter, batch)


def _numbered(emitter: Emitter, batch: Sequence[Emitted]) -> tuple[Emitter, int, Sequence[Emitted]]:
    first = emitter.sent + 1
    emitter.sent += len(batch)
    return emitter, first, batch
