"""The ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
from redis import exceptions
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from zart_redis.client.scheduler import DurableScheduler
from zart_redis.client.tokens import Scope as Permission
from zart_redis.client.views import to_json
from zart_redis.errors import ZartError
from zart_redis.http import pages
from zart_redis.http.admission import LOOPBACK, Admission
from zart_redis.http.problems import Problem, invalid, problem_of
from zart_redis.http.routes import ROUTES
from zart_redis.http.routing import Call, Route, split_path
from zart_redis.http.serving import Serving
from zart_redis.logs import get_logger

BODY_SECONDS = 30.0
"""How long a body may take to come."""
JSON_OVERHEAD = 64 * 1024
"""Bytes that a body may have besides a payload of the largest size."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Those of every response, unless it has its own."""

log = get_logger()


def app(
    scheduler: DurableScheduler,
    *,
    auth: Literal["tokens"] | None = "tokens",
    allowed_hosts: Iterable[str] = LOOPBACK,
) -> Application:
    """The HTTP API and its page, as an ASGI application to run or to mount under any prefix.

    The scheduler connects at the first request. It is the caller's to close.

    Args:
        auth: "tokens" demands a token that `zart token add` has made; None lets everybody do everything.
        allowed_hosts: the names that requests may give in `Host`, with or without their port.

    Example:
        >>> outer = Starlette(routes=[Mount("/zart", zart_redis.http.app(scheduler, allowed_hosts=["shop.example"]))])
    """
    return Application(scheduler, auth=auth, allowed_hosts=allowed_hosts)


class Application:
    """Made by `app`."""

    def __init__(self, scheduler: DurableScheduler, *, auth: str | None, allowed_hosts: Iterable[str]) -> None:
        self._scheduler = scheduler
        self._admission = Admission(scheduler, auth, allowed_hosts)
        self._serving = Serving(self._admission)
        self._max_body = 2 * scheduler.settings.max_payload + JSON_OVERHEAD

    @property
    def waiting(self) -> int:
        """How many streams and long polls are open."""
        return self._serving.waiting

    def stop(self) -> None:
        """End open streams and long polls, so that the server can stop."""
        self._serving.stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._handle(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except Problem as problem:
            response = problem.response()
        except (ZartError, exceptions.RedisError) as error:
            response = problem_of(error, writes=request.method in ("POST", "PUT")).response()
        except Exception:
            log.exception("a request has failed", method=request.method, path=scope["path"])
            response = Problem("internal_error", "see the log of the server").response()
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.method == "HEAD" and not isinstance(response, StreamingResponse):
            response.body = b""
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        self._admission.check_host(request)
        base, segments = split_path(request.scope)
        method = "GET" if request.method == "HEAD" else request.method
        matching = [(route, path) for route in ROUTES if (path := route.match(segments)) is not None]
        if not matching and (page := pages.find(request, base, segments)) is not None:
            return page
        if not matching:
            raise Problem("not_found", "see /openapi.json for the routes there are")
        for route, path in matching:
            if route.method == method:
                self._admission.check_site(request)
                return await self._call(request, route, path, base)
        allowed = sorted({route.method for route, _ in matching} | {"HEAD" for r, _ in matching if r.method == "GET"})
        raise Problem(
            "method_not_allowed", f"this route has {', '.join(allowed)}", headers={"Allow": ", ".join(allowed)}
        )

    async def _call(self, request: Request, route: Route, path: dict[str, str], base: str) -> Response:
        caller = await self._admission.caller(request, route.scope)
        query = _read_query(route, request.scope.get("query_string", b""))
        body = await self._read_body(request, route) if route.body is not None else None
        call = Call(self._scheduler, path, query, body, caller, base, request, self._serving)
        reply = await route.endpoint(call)
        if route.scope is Permission.OPERATE:
            log.info(
                "an operator's request was carried out", by=caller.name, request=f"{route.method} {request.url.path}"
            )
        if isinstance(reply, Response):
            return reply
        if reply.status == 204:
            return Response(None, 204, dict(reply.headers))
        return Response(to_json(reply.value), reply.status, dict(reply.headers), "application/json")

    async def _read_body(self, request: Request, route: Route) -> Any:
        raw = await self._receive(request)
        if not raw and not route.needs_body:
            return None
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise Problem("unsupported_media_type", "send the body as Content-Type: application/json")
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem("malformed_json", f"the body cannot be read as JSON: {error}") from None
        except RecursionError:
            raise Problem("malformed_json", "the body is nested too deeply") from None
        try:
            return msgspec.convert(value, route.body)
        except msgspec.ValidationError as error:
            raise invalid(error, "the body") from None

    async def _receive(self, request: Request) -> bytes:
        length = request.headers.get("content-length", "0")
        parts, size = [], int(length) if length.isdecimal() else 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if size <= self._max_body:
                    size = 0
                    async for part in request.stream():
                        parts.append(part)
                        size += len(part)
                        if size > self._max_body:
                            break
        except TimeoutError:
            raise Problem("request_timeout", f"the body did not come within {BODY_SECONDS:g} s") from None
        if size > self._max_body:
            headers = {"Connection": "close"}
            raise Problem("payload_too_large", f"the body has more than {self._max_body} bytes", headers=headers)
        return b"".join(parts)


def _read_query(route: Route, raw: bytes) -> Any:
    """The parameters of the query, as the route declares them.

    Raises:
        Problem: one is unknown, invalid, or given twice.
    """
    repeated = {field.name for field in msgspec.structs.fields(route.query) if field.type == list[str]}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise Problem("invalid_input", f"the query cannot be read: {error}", status=422) from None
    values: MutableMapping[str, Any] = {}
    for name, value in pairs:
        if name in repeated:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem("invalid_input", f"the parameter {name!r:.100} is given twice", status=422)
        else:
            values[name] = value
    try:
        return msgspec.convert(values, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, "the query") from None
