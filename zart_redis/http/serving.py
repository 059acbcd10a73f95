"""What the requests of an application share: how many wait, and whether the server is stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from zart_redis.http.admission import Admission
from zart_redis.http.problems import Problem

T = TypeVar("T")

MAX_WAITING = 2_000
"""Streams and long polls that are open at the same time. Each takes memory here, and no connection to Redis."""


class Serving:
    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.stopping = asyncio.Event()
        self.waiting = 0

    def check_place(self) -> None:
        """Raises Problem if too many requests wait."""
        if self.waiting >= MAX_WAITING:
            raise Problem("overloaded", f"{self.waiting} requests are waiting already", headers={"Retry-After": "5"})

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for a request that waits. Raises Problem if there is none left."""
        self.check_place()
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def unless_over(self, work: Coroutine[Any, Any, T], request: Request) -> T | None:
        """The result of `work`, or None if the server stops, or the client leaves, first."""
        task = asyncio.ensure_future(work)
        ends = [asyncio.ensure_future(self.stopping.wait()), asyncio.ensure_future(disconnected(request))]
        try:
            await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, *ends):
                each.cancel()
            await asyncio.gather(task, *ends, return_exceptions=True)


async def disconnected(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
