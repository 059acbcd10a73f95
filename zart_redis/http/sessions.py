"""Logging in and out of the page: a session cookie in place of the token, which scripts cannot read."""

from __future__ import annotations

import msgspec

from zart_redis.client.tokens import SESSION_SECONDS, Scope
from zart_redis.http.admission import COOKIE, session_secret
from zart_redis.http.problems import Problem
from zart_redis.http.routing import Call, NoQuery, Reply


class LoginBody(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class LoggedIn(msgspec.Struct):
    """Whose token it is, and what it allows."""

    name: str
    scopes: tuple[Scope, ...]


async def login(call: Call[NoQuery, LoginBody]) -> Reply:
    tokens = call.serving.admission.tokens
    token = await tokens.find(call.body.token)
    if token is None:
        raise Problem("unauthenticated", "there is no such token; `zart token add` makes one")
    secret = await tokens.open_session(token)
    return Reply(LoggedIn(token.name, token.scopes), headers=_cookie(call, secret, SESSION_SECONDS))


async def logout(call: Call[NoQuery, None]) -> Reply:
    if secret := session_secret(call.request):
        await call.serving.admission.tokens.close_session(secret)
    return Reply(status=204, headers=_cookie(call, "", 0))


def _cookie(call: Call[NoQuery, LoginBody] | Call[NoQuery, None], secret: str, seconds: int) -> dict[str, str]:
    """A proxy may have taken TLS away, so the origin of the page says as well whether it is used."""
    origin = call.request.headers.get("origin", "")
    secure = "; Secure" if "https" in (call.request.url.scheme, origin.partition(":")[0]) else ""
    path = call.base or "/"
    return {"Set-Cookie": f"{COOKIE}={secret}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"}
