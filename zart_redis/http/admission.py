"""Who may make a request: the host that it names, the site that it comes from, its token or its session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request

from zart_redis.client.scheduler import DurableScheduler
from zart_redis.client.tokens import Scope, Token, Tokens
from zart_redis.errors import ConfigurationError
from zart_redis.http.problems import Problem

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
COOKIE = "zart_session"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: a token, or anybody where no tokens are asked for."""

    token: Token | None
    secret: str = field(repr=False, default="")
    is_session: bool = False

    @property
    def name(self) -> str:
        """For the history."""
        return f"{self.token.name} (HTTP)" if self.token else "HTTP"

    def may(self, scope: Scope) -> bool:
        return self.token is None or scope in self.token.scopes


class Admission:
    """Checks requests. Without `auth` there are no tokens, and everybody may do everything."""

    def __init__(self, scheduler: DurableScheduler, auth: str | None, allowed_hosts: Iterable[str]) -> None:
        if auth not in ("tokens", None):
            raise ConfigurationError(f'auth is "tokens", or None for no authentication at all, not {auth!r:.100}')
        if isinstance(allowed_hosts, str):
            raise ConfigurationError('allowed_hosts is a list of names, such as ["zart.example.com"]')
        self.has_tokens = auth is not None
        self.tokens = Tokens(scheduler)
        self._hosts = {host.lower() for host in allowed_hosts}

    def check_host(self, request: Request) -> None:
        """Raises Problem unless the request names an allowed host, which keeps other names that lead here out."""
        named = request.headers.getlist("host")
        host = named[0].lower() if len(named) == 1 else ""
        if not host or not {host, _without_port(host)} & self._hosts:
            raise Problem("host_not_allowed", "the Host of the request is missing, or is not among the allowed hosts")

    def check_site(self, request: Request) -> None:
        """Raises Problem if a page of another site makes the request."""
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none"):
            raise Problem("cross_site", f"the request comes from another site (Sec-Fetch-Site: {site:.20})")
        origin = request.headers.get("origin")
        if origin is not None and not _is_own(origin, request.headers.get("host", "")):
            raise Problem("cross_site", "the request comes from another site: its Origin is not this host")

    async def caller(self, request: Request, scope: Scope | None) -> Caller:
        """Who makes the request.

        Raises:
            Problem: the route needs a token, and there is none, or it lacks the scope.
        """
        if not self.has_tokens or scope is None:
            return Caller(None)
        caller = await self._known(request)
        if caller is None:
            raise Problem(
                "unauthenticated",
                "send a token as `Authorization: Bearer <token>`, or log in; `zart token add` makes one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not caller.may(scope):
            raise Problem("forbidden", f"this needs a token with the scope {scope!s}")
        return caller

    async def is_valid(self, caller: Caller) -> bool:
        """Whether the token, or the session, of a caller is still valid."""
        if caller.token is None:
            return True
        find = self.tokens.find_session if caller.is_session else self.tokens.find
        return await find(caller.secret) is not None

    async def _known(self, request: Request) -> Caller | None:
        header = request.headers.get("authorization")
        if header is not None:
            kind, _, secret = header.partition(" ")
            if kind.lower() != "bearer":
                return None
            token = await self.tokens.find(secret.strip())
            return Caller(token, secret.strip()) if token else None
        secret = session_secret(request)
        token = await self.tokens.find_session(secret) if secret else None
        return Caller(token, secret, is_session=True) if token else None


def session_secret(request: Request) -> str:
    """What the cookie of the session holds; "" without one."""
    return request.cookies.get(COOKIE, "")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_own(origin: str, host: str) -> bool:
    """Whether an origin is the host that the request names. The scheme may be that of a proxy."""
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError:
        return False
    standard = _DEFAULT_PORTS.get(parts.scheme)
    if standard is None or not parts.hostname:
        return False
    name = _without_port(parts.netloc)
    return host.lower() in ({name, f"{name}:{standard}"} if port in (None, standard) else {f"{name}:{port}"})
