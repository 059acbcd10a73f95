"""Tokens of the HTTP API, and the sessions of those who log in with one. Redis holds only their hashes.

Both are random, so one round of SHA-256 is enough to hide them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from zart_redis import names
from zart_redis.client.connection import Client
from zart_redis.errors import InvalidInput
from zart_redis.layout import Key
from zart_redis.logs import get_logger
from zart_redis.store.store import Partition

SESSION_SECONDS = 12 * 3600
_MARK = "zart_"
"""What a token begins with, so that scanners of source code can find one."""

log = get_logger()


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    """To look at everything except payloads."""
    PAYLOADS = "payloads"
    """To see inputs, outputs, results, errors, events, values and streams as well."""
    START = "start"
    """To start executions, and to deliver events and messages."""
    OPERATE = "operate"
    """To cancel, restart, pause, and whatever else operators do."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret."""

    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just added: the only time that its secret is seen."""

    name: str
    token: str = field(repr=False)
    scopes: tuple[Scope, ...]


class _Stored(msgspec.Struct):
    digest: str
    scopes: list[str]
    """A newer version may know more of them."""
    created: datetime


class _Session(msgspec.Struct):
    name: str
    digest: str


class Tokens:
    """The tokens of a namespace.

    Example:
        >>> added = await Tokens(scheduler).add("billing", ["start"])
        >>> print(added.token)
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def add(self, name: str, scopes: Iterable[Scope | str]) -> NewToken:
        """Make a token.

        Raises:
            InvalidInput: a token has this name, there is no such scope, or none is given.
        """
        names.check_name(name, "the name of a token")
        wanted = tuple(sorted({_scope(scope) for scope in scopes}, key=list(Scope).index))
        if not wanted:
            raise InvalidInput(f"a token needs a scope: {', '.join(Scope)}")
        token = _MARK + secrets.token_urlsafe(32)
        stored = _Stored(_digest(token), [str(scope) for scope in wanted], datetime.now(UTC))
        if not await (await self._home()).transitions.set_token(name, msgspec.json.encode(stored)):
            raise InvalidInput(f"there is a token {name!r}: remove it first, or choose another name")
        return NewToken(name, token, wanted)

    async def list(self) -> list[Token]:
        """All tokens, by name."""
        return [_token(name, stored) for name, stored in sorted((await self._stored()).items())]

    async def remove(self, name: str) -> bool:
        """Remove a token, which ends its sessions. Returns True if there was one."""
        names.check_name(name, "the name of a token")
        return await (await self._home()).transitions.set_token(name, b"")

    async def find(self, token: str) -> Token | None:
        """The token with this secret."""
        digest = _digest(token)
        for name, stored in (await self._stored()).items():
            if hmac.compare_digest(digest, stored.digest):
                return _token(name, stored)
        return None

    async def open_session(self, token: Token) -> str:
        """Begin a session, which ends with its token. Returns its secret."""
        stored = (await self._stored())[token.name]
        secret = secrets.token_urlsafe(32)
        session = msgspec.json.encode(_Session(token.name, stored.digest))
        await (await self._home()).transitions.set_session(_digest(secret), session, SESSION_SECONDS * 1000)
        return secret

    async def find_session(self, secret: str) -> Token | None:
        """The token of the session with this secret."""
        encoded = await (await self._home()).queries.session(_digest(secret))
        if encoded is None:
            return None
        session = msgspec.json.decode(encoded, type=_Session)
        stored = (await self._stored()).get(session.name)
        if stored is None or not hmac.compare_digest(stored.digest, session.digest):
            return None
        return _token(session.name, stored)

    async def close_session(self, secret: str) -> None:
        """End a session."""
        await (await self._home()).transitions.set_session(_digest(secret), b"", 0)

    async def _home(self) -> Partition:
        return (await self._client._open()).partitions[0]

    async def _stored(self) -> dict[str, _Stored]:
        flat = await (await self._home()).queries.hash(Key.TOKENS)
        found = {}
        for name, encoded in zip(flat[::2], flat[1::2], strict=True):
            try:
                found[name.decode()] = msgspec.json.decode(encoded, type=_Stored)
            except (msgspec.DecodeError, UnicodeDecodeError):
                log.warning("skipped a token that cannot be read", name=repr(name))
        return found


def _scope(scope: Scope | str) -> Scope:
    try:
        return Scope(scope)
    except ValueError:
        raise InvalidInput(f"there is no scope {scope!r:.100}; the scopes are {', '.join(Scope)}") from None


def _token(name: str, stored: _Stored) -> Token:
    return Token(name, tuple(scope for scope in Scope if scope in stored.scopes), stored.created)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
