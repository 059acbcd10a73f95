"""Routes and what they match. A path is split before it is decoded, so that an id may hold a slash."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from zart_redis.client.scheduler import DurableScheduler
from zart_redis.client.tokens import Scope
from zart_redis.errors import InvalidInput, ZartError
from zart_redis.http.admission import Caller
from zart_redis.http.serving import Serving

Q = TypeVar("Q")
B = TypeVar("B")


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A route without parameters in the query."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """A request that was admitted, with what it brings, checked."""

    scheduler: DurableScheduler
    path: Mapping[str, str]
    query: Q
    body: B
    caller: Caller
    base: str
    """The prefix under which the application is mounted, encoded; "" for none."""
    request: Request
    serving: Serving

    @property
    def sees_payloads(self) -> bool:
        return self.caller.may(Scope.PAYLOADS)

    def address(self, *parts: str) -> str:
        """The path of a resource, for Location."""
        return f"{self.base}/{'/'.join(quote(part, safe='') for part in parts)}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply with a JSON document; without one if the status is 204."""

    value: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Endpoint = Callable[[Call[Any, Any]], Awaitable[Reply | Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table: routing, scopes, validation and OpenAPI follow it."""

    method: str
    path: str
    """Segments in braces are parameters."""
    scope: Scope | None
    """None if no token is needed."""
    endpoint: Endpoint
    summary: str
    query: type = NoQuery
    body: Any = None
    """The type of the body; None if there is none."""
    needs_body: bool = True
    replies: Mapping[int, Any] = field(default_factory=lambda: {200: Any})
    """The type of the document by status."""
    errors: Sequence[type[ZartError]] = ()
    media_type: str = "application/json"

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The parameters of a path that this route matches."""
        own = self.path.split("/")[1:]
        if len(own) != len(segments):
            return None
        found = {}
        for part, segment in zip(own, segments, strict=True):
            if part.startswith("{") and segment:
                found[part[1:-1]] = segment
            elif part != segment:
                return None
        return found


def split_path(scope: AsgiScope) -> tuple[str, list[str]]:
    """The prefix of the application, encoded, and the decoded segments of the path below it.

    Servers and frameworks differ in whether the path includes the prefix; both are understood.

    Raises:
        InvalidInput: a segment is not UTF-8.
    """
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    segments = [unquote_to_bytes(segment) for segment in raw.split(b"?")[0].split(b"/")[1:]]
    base = [part for part in scope.get("root_path", "").split("/") if part]
    if base and segments[: len(base)] == [part.encode() for part in base]:
        segments = segments[len(base) :] or [b""]
    try:
        return "".join(f"/{quote(part, safe='')}" for part in base), [segment.decode() for segment in segments]
    except UnicodeDecodeError:
        raise InvalidInput("the path is not UTF-8") from None
