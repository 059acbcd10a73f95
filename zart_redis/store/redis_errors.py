"""Classification of the errors that redis-py raises, and what users see of them."""

from __future__ import annotations

import re

from redis import exceptions

from zart_redis.errors import ConfigurationError, RedisUnavailable, SerializationError, ZartError

_PASSING = (
    exceptions.ConnectionError,  # LOADING included
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.AskError,  # MOVED included
    exceptions.TryAgainError,
    exceptions.ClusterDownError,  # MASTERDOWN included
)
_PASSING_CODES = {"BUSY", "MISCONF", "NOREPLICAS", "READONLY", "UNBLOCKED"}
# Connection errors to redis-py, but no new connection helps.
_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)

_FORBIDDEN = re.compile(r"NOPERM|The user executing the script")  # by an ACL
# Redis 6.2 wraps the error of a command in a script: "... @user_script: 3: -OOM command not allowed ...".
_CODE = re.compile(r"(?:^|@user_script: ?\d+: -)([A-Z]+) ")


def _codes(error: BaseException) -> set[str]:
    return set(_CODE.findall(str(error))) if isinstance(error, exceptions.ResponseError) else set()


def retryable(error: BaseException) -> bool:
    """Whether the same command may succeed later, when Redis is back, has failed over or has moved the slot.

    It says nothing about whether the command was carried out.
    """
    if isinstance(error, _REFUSED):
        return False
    return isinstance(error, _PASSING) or not _PASSING_CODES.isdisjoint(_codes(error))


def refused(error: BaseException) -> bool:
    """Whether Redis refuses this user, who may be let in again: a password or an ACL has been changed."""
    return isinstance(error, _REFUSED) or is_forbidden(error)


def out_of_memory(error: BaseException) -> bool:
    """Whether Redis refused a write for lack of memory: finishing work frees some, new work adds to it."""
    return isinstance(error, exceptions.OutOfMemoryError) or "OOM" in _codes(error)


def is_forbidden(error: BaseException) -> bool:
    """Whether the user of this connection may not do what was asked."""
    return isinstance(error, exceptions.ResponseError | exceptions.AuthorizationError) and (
        isinstance(error, exceptions.NoPermissionError | exceptions.AuthorizationError)
        or _FORBIDDEN.search(str(error)) is not None
    )


def cannot_read(error: BaseException) -> bool:
    """Whether a script failed because of the contents of the keys, so that it would fail again."""
    passing = retryable(error) or out_of_memory(error)
    in_script = isinstance(error, exceptions.ResponseError) and "user_script" in str(error)
    return in_script and not passing and not _FORBIDDEN.search(str(error))


def remedy(error: BaseException) -> str | None:
    """Why Redis will never carry out a command, and the remedy; None if it may do so later."""
    text = str(error)
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthenticationWrongNumberOfArgsError):
        if "Authentication required" in text:
            return "it demands a password, and the URL has none: write redis://user:password@host or :password@host"
        if "without any password configured" in text or "no password is set" in text:
            return "it has no password, but the URL has one: remove it from the URL, or set requirepass or an ACL"
        return f"wrong password, or no such user ({text}): check the user name and the password in the URL"
    if is_forbidden(error):
        return (
            f"its user lacks a right ({text}): grant it with ACL SETUSER; docs/deployment.md has an ACL that suffices"
        )
    if isinstance(error, exceptions.MovedError):
        return "it is a node of a cluster: write the URL as redis+cluster://"
    if "DB index is out of range" in text:
        return "it has no database with this number: use a lower one, or raise `databases` in redis.conf"
    if "protected mode" in text:
        return "it is in protected mode and accepts no remote connections: set a password, or bind addresses"
    if "unknown command" in text.lower():
        return f"it does not know a command that is needed ({text}): Redis 6.2 or later, or Valkey, is needed"
    return None


def as_zart_error(error: Exception, server: str) -> ZartError:
    """The error that users see; `server` is the URL without its password."""
    if isinstance(error, ZartError):
        return error
    if (why := remedy(error)) is not None:
        return ConfigurationError(f"{server}: {why}")
    if cannot_read(error):
        return SerializationError(
            f"{server}: a script failed on what is stored: {error}. `zart doctor` may find the cause"
        )
    if retryable(error) or out_of_memory(error):
        return RedisUnavailable(f"{server}: {_reason(error)}")
    return ZartError(f"{server} refused a command: {error}")


def _reason(error: Exception) -> str:
    """The text of an error; asyncio and uvloop word it differently when nothing listens at an address."""
    cause = error.__cause__ or error.__context__
    return "Connection refused: no server listens there" if isinstance(cause, ConnectionRefusedError) else str(error)
