"""Streams of executions as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from redis import exceptions
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from zart_redis import names
from zart_redis.client.views import to_json
from zart_redis.emissions import Restarted, StreamItem, Truncated, is_cursor
from zart_redis.errors import InvalidInput, ZartError
from zart_redis.http.routing import Call, NoQuery, Reply
from zart_redis.http.serving import disconnected
from zart_redis.logs import get_logger

COMMENT_SECONDS = 15.0
"""A silent stream sends a comment this often, so that proxies keep it open."""
CHECK_SECONDS = 30.0
"""How often a stream checks that its token has not been removed."""

Item = StreamItem[Any] | Restarted | Truncated

log = get_logger()


@dataclass(frozen=True, slots=True)
class Position:
    """Where a client resumes: what `id` of the events has, and `Last-Event-ID` brings back."""

    cursor: str = ""
    ended_run: int | None = None
    """The run whose end the client has seen."""

    def __str__(self) -> str:
        return self.cursor if self.ended_run is None else f"end:{self.ended_run}:{self.cursor}"

    @classmethod
    def read(cls, text: str) -> Position:
        """Raises InvalidInput if it is not an id of an event."""
        ended, cursor = None, text
        if text.startswith("end:"):
            _, number, cursor = f"{text}::".split(":")[:3]
            ended = int(number) if number.isascii() and number.isdecimal() else -1
        if (cursor and not is_cursor(cursor)) or ended == -1:
            raise InvalidInput(f"Last-Event-ID {text!r:.100} is not the id of an event")
        return cls(cursor, ended)


async def stream(call: Call[NoQuery, None]) -> Reply | Response:
    names.check_name(call.path["name"], "the name of a stream")
    position = Position.read(call.request.headers.get("last-event-id", ""))
    record = await call.scheduler.status(call.path["id"])
    if record.status.is_final and record.run == position.ended_run:
        return Reply(status=204)
    call.serving.check_place()
    return EventStream(call, position)


class EventStream(Response):
    """Sends events until the execution ends, the client leaves, its token is removed, or the server stops."""

    media_type = "text/event-stream"

    def __init__(self, call: Call[NoQuery, None], position: Position) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._call = call
        self._position = position

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            with self._call.serving.place():
                await self._send_events(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        events = self._events()
        ends = [
            asyncio.ensure_future(self._call.serving.stopping.wait()),
            asyncio.ensure_future(disconnected(self._call.request)),
        ]
        following = asyncio.ensure_future(anext(events))
        loop, checked_at = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        try:
            await _send(send, ": open\n\n")
            while True:
                await asyncio.wait([following, *ends], timeout=COMMENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if any(end.done() for end in ends):
                    return
                text = ": silent\n\n"
                if following.done():
                    text = following.result()
                    following = asyncio.ensure_future(anext(events))
                await _send(send, text)
                if loop.time() - checked_at >= CHECK_SECONDS:
                    if not await self._call.serving.admission.is_valid(self._call.caller):
                        return
                    checked_at = loop.time()
        except StopAsyncIteration:
            pass
        except (ZartError, exceptions.RedisError) as error:
            log.warning("a stream has ended early", execution_id=self._call.path["id"], error=str(error))
        finally:
            for task in (following, *ends):
                task.cancel()
            await asyncio.gather(following, *ends, return_exceptions=True)
            await events.aclose()

    async def _events(self) -> AsyncGenerator[str, None]:
        execution_id, name = self._call.path["id"], self._call.path["name"]
        cursor = self._position.cursor
        while True:
            items = self._call.scheduler.follow(execution_id, name, after=cursor or None)
            async with aclosing(cast("AsyncGenerator[Item, None]", items)):
                async for item in items:
                    match item:
                        case StreamItem():
                            cursor = item.cursor
                            yield _event("", self._shown(item), cursor)
                        case Restarted():
                            yield _event("restarted", item)
                        case Truncated():
                            yield _event("truncated", {})
            record = await self._call.scheduler.status(execution_id)
            if record.status.is_final:
                end = {"status": record.status, "run": record.run}
                yield _event("end", end, str(Position(cursor, record.run)))
                return

    def _shown(self, item: StreamItem[Any]) -> dict[str, Any]:
        value = item.value if self._call.sees_payloads else None
        return {"value": value, "run": item.run, "step": item.step, "attempt": item.attempt, "at": item.at}


def _event(kind: str, data: Any, id: str = "") -> str:
    lines = [f"event: {kind}"] if kind else []
    lines += [f"id: {id}"] if id else []
    return "\n".join([*lines, f"data: {to_json(data)}", "", ""])


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
