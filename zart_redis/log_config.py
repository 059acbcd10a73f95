"""Configuration of logging, as the commands use it: one format on stderr for every line of the process.

What a line of a body or a step says about where it ran is passed to `configure` as `fields`.
"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor

from zart_redis.printable import printable, printable_json, printable_lines
from zart_redis.urls import redacted_text

_INDENT = "    "


class _Line(dict[str, Any]):
    """A line on its way through `logging`, which handlers without structlog can format too."""

    def __str__(self) -> str:
        parts = [printable(str(self.get("event", "")))]
        parts += [f"{key}={value!r}" for key, value in self.items() if key not in ("event", "exc_info")]
        return redacted_text(" ".join(parts))


def _as_line(_: Any, __: str, event: EventDict) -> EventDict:
    return _Line(event)


TO_LOGGING: tuple[Processor, ...] = (
    structlog.stdlib.filter_by_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _as_line,
    cast(Processor, structlog.stdlib.ProcessorFormatter.wrap_for_formatter),
)


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
        secrets: texts that are replaced by *** wherever they occur.
        fields: called for each line that is shown; its fields are added to the line unless already set.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(format, frozenset(secrets), fields))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=TO_LOGGING,
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
        return redacted_text(line)

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            add_fields,
            structlog.processors.format_exc_info,
            *_renderers(format),
            blot_out,
        ],
    )


def _renderers(format: str) -> list[Processor]:
    is_terminal = sys.stderr.isatty()
    if format == "json" or (format == "auto" and not is_terminal):
        return [structlog.processors.JSONRenderer(ensure_ascii=False, default=str), _escape_json]
    # structlog's own choice of tracebacks would print the local variables, and what is secret in them.
    plain = structlog.dev.plain_traceback
    return [_escape_values, structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=plain)]


def _escape_json(_: Any, __: str, line: Any) -> str:
    return printable_json(str(line))


def _escape_values(_: Any, __: str, event: EventDict) -> EventDict:
    """Escape line breaks and control characters in all texts of a line. The lines of a traceback are indented."""
    return {printable(key): _escaped(key, value) for key, value in event.items()}


def _escaped(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value if isinstance(value, int | float | None) else _Shown(printable(repr(value)))
    return textwrap.indent(printable_lines(value), _INDENT) if key in ("exception", "stack") else printable(value)


class _Shown:
    """A value whose text is ready."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
