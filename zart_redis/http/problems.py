"""Errors as `application/problem+json` (RFC 9457), each with a stable code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis import exceptions
from starlette.responses import Response

from zart_redis.client.views import to_json
from zart_redis.errors import (
    ConfigurationError,
    ExecutionNotFound,
    InvalidInput,
    PayloadTooLarge,
    RecurringNotFound,
    RedisUnavailable,
    SchedulerError,
    SerializationError,
    UnknownTask,
    ZartError,
)
from zart_redis.store.redis_errors import as_zart_error
from zart_redis.urls import redacted_text

MEDIA_TYPE = "application/problem+json"

TITLES = {
    "malformed_json": (400, "The body is not JSON"),
    "host_not_allowed": (400, "The host is not allowed"),
    "unauthenticated": (401, "A token is needed"),
    "forbidden": (403, "The token does not allow this"),
    "cross_site": (403, "Requests of other sites are refused"),
    "not_found": (404, "There is no such route"),
    "method_not_allowed": (405, "The route does not have this method"),
    "request_timeout": (408, "The body came too slowly"),
    "payload_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be JSON"),
    "internal_error": (500, "The server has failed"),
    "overloaded": (503, "Too many requests are waiting"),
}
"""The status and the title of each code that is not the code of an error class."""

_STATUSES: tuple[tuple[type[ZartError], int], ...] = (
    (ExecutionNotFound, 404),
    (RecurringNotFound, 404),
    (UnknownTask, 404),
    (SchedulerError, 409),
    (PayloadTooLarge, 413),
    (InvalidInput, 422),
    (ConfigurationError, 503),
    (RedisUnavailable, 503),
    (ZartError, 500),
)
"""The status of the first class that the class of an error is derived from."""


class Problem(Exception):
    """A reply that says what went wrong."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        known, self.title = TITLES.get(code, (500, code.replace("_", " ").capitalize()))
        self.status = status or known
        self.code = code
        self.detail = redacted_text(detail)
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        document: dict[str, Any] = {
            "type": f"urn:zart:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return Response(to_json(document), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: ZartError | exceptions.RedisError, *, writes: bool) -> Problem:
    """The problem that an error is shown as. `writes` says whether the request brought values with it: what cannot be
    encoded is then its fault, and otherwise damage in Redis."""
    if isinstance(error, exceptions.RedisError):
        error = as_zart_error(error, "Redis")
    headers = {"Retry-After": "1"} if isinstance(error, RedisUnavailable) else None
    return Problem(error.code, str(error), status=status_of(type(error), writes=writes), headers=headers)


def status_of(kind: type[ZartError], *, writes: bool) -> int:
    """The status of an error; see `problem_of`."""
    if issubclass(kind, SerializationError):
        return 422 if writes else 500
    return next(status for known, status in _STATUSES if issubclass(kind, known))


def invalid(error: msgspec.ValidationError, where: str) -> Problem:
    """The problem of a body or a query that is not as declared. `where` is its name in the message."""
    text = str(error)
    reason, _, path = text.partition(" - at `")
    pointer = _pointer(path.rstrip("`"))
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", reason):
        pointer = f"{pointer}/{_escaped(unknown[1])}"
    return Problem(
        InvalidInput.code,
        f"{where}: {reason}" + (f" at {pointer}" if pointer else ""),
        status=422,
        errors=[{"pointer": f"#{pointer}", "detail": reason}],
    )


def _pointer(path: str) -> str:
    """A path of msgspec, such as `$.tags[...]`, as a JSON pointer. Keys of mappings are not in it."""
    return "".join(f"/{_escaped(part)}" for part in re.findall(r"[.\[]([^.\[\]]+)", path.removeprefix("$")) if part)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
