"""Logging: the library's own logger, and the one configuration that the commands use.

The library writes through the standard logger "zart", as a library should: who configures nothing sees warnings on
stderr, and who configures `logging` gets the lines there. Nothing is configured on import. Not here: what a line of
a body or step says about where it ran; whoever calls `configure` hands that in as `fields`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor

from zart_redis.settings import REDIS_SCHEMES, redacted_url

_URL = re.compile(rf"(?:{'|'.join(map(re.escape, REDIS_SCHEMES))})[^\s\"'<>]+")


class _Line(dict[str, Any]):
    """A line on its way through `logging`, readable too for handlers that know nothing of structlog."""

    def __str__(self) -> str:
        parts = [str(self.get("event", ""))]
        parts += [f"{key}={value!r}" for key, value in self.items() if key not in ("event", "exc_info")]
        return redacted(" ".join(parts))


def _as_line(_: Any, __: str, event: EventDict) -> EventDict:
    return _Line(event)


_TO_LOGGING: tuple[Processor, ...] = (
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _as_line,
    cast(Processor, structlog.stdlib.ProcessorFormatter.wrap_for_formatter),
)


def get_logger() -> structlog.stdlib.BoundLogger:
    """The library's logger, for its own modules."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger("zart"), processors=_TO_LOGGING, wrapper_class=structlog.stdlib.BoundLogger
    )
    return logger


def redacted(text: str) -> str:
    """The text without the passwords of Redis URLs in it."""
    return _URL.sub(lambda url: redacted_url(url[0]), text)


def configure(
    level: str = "info",
    format: str = "auto",
    *,
    secrets: Iterable[str] = (),
    fields: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Send every line of this process to stderr in one format: the library's, those of structlog, those of `logging`.

    Args:
        level: the lowest level that is shown.
        format: "json", "console" for people, or "auto": console where stderr is a terminal, else JSON.
        secrets: texts that are blotted out wherever they would show.
        fields: called for each line that is shown; what it answers is added to the line, unless it says it already.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(format, frozenset(secrets), fields))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=_TO_LOGGING,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _formatter(
    format: str, secrets: frozenset[str], fields: Callable[[], Mapping[str, object]]
) -> structlog.stdlib.ProcessorFormatter:
    hidden = secrets | {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in secrets}

    def add_fields(_: Any, __: str, event: EventDict) -> EventDict:
        return {**event, **{key: value for key, value in fields().items() if key not in event}}

    def blot_out(_: Any, __: str, line: Any) -> str:
        for secret in hidden:
            line = line.replace(secret, "***")
        return redacted(line)

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            add_fields,
            *_renderers(format),
            blot_out,
        ],
    )


def _renderers(format: str) -> list[Processor]:
    is_terminal = sys.stderr.isatty()
    if format == "json" or (format == "auto" and not is_terminal):
        as_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        return [structlog.processors.format_exc_info, as_json]
    # structlog's own choice of tracebacks would print the local variables, and what is secret in them.
    return [structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=structlog.dev.plain_traceback)]
