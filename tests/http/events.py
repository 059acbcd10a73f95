"""Server-sent events, as a browser reads them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Event:
    kind: str
    data: Any
    id: str


class Events:
    """An open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def __aiter__(self) -> AsyncIterator[Event]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                fields[name] = value
            elif fields:
                yield Event(fields.get("event", "message"), json.loads(fields["data"]), fields.get("id", ""))
                fields = {}

    async def until(self, kind: str) -> list[Event]:
        """The events up to the first of this kind."""
        found = []
        async for event in self:
            found.append(event)
            if event.kind == kind:
                break
        return found


@asynccontextmanager
async def opened(client: httpx.AsyncClient, path: str, after: str = "") -> AsyncIterator[Events]:
    headers = {"Last-Event-ID": after} if after else {}
    async with client.stream("GET", path, headers=headers, timeout=20) as response:
        yield Events(response)
