"""`zart.logger`: a structlog logger for handlers and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from zart_redis.engine.scope import current, log_fields
from zart_redis.logs import standard_logger
from zart_redis.model import ExecutionInfo

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

NAME = "zart.app"
"""The standard logger to which lines go where structlog is not configured."""


class _BodyLogger:
    """Looks up the execution and the configuration of structlog for each line, so it can be used anywhere."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def bind(self, **values: Any) -> _BodyLogger:
        return _BodyLogger({**self._values, **values})

    def new(self, **values: Any) -> _BodyLogger:
        return _BodyLogger(values)

    def unbind(self, *names: str) -> _BodyLogger:
        """Raises KeyError for a name that is not bound."""
        values = dict(self._values)
        for name in names:
            del values[name]
        return _BodyLogger(values)

    def try_unbind(self, *names: str) -> _BodyLogger:
        return _BodyLogger({name: value for name, value in self._values.items() if name not in names})

    def __getattr__(self, name: str) -> Any:
        scope = current.get()
        if scope is not None and not isinstance(scope, ExecutionInfo) and scope.info.is_replaying:
            return _write_nothing
        return getattr(_target().bind(**{**log_fields(), **self._values}), name)


def _write_nothing(*_: object, **__: object) -> None:
    """Replaces the methods of a logger during a replay."""


def _target() -> BoundLogger:
    import structlog  # imported for the first line only: it takes as long to import as redis-py

    return cast("BoundLogger", structlog.get_logger(NAME)) if structlog.is_configured() else standard_logger(NAME)


logger: BoundLogger = cast("BoundLogger", _BodyLogger({}))
"""A structlog logger whose lines name the execution, the task, the step and the attempt. A replay does not
repeat lines that were written before; after the death of a worker some may appear twice.

The lines go where structlog is configured to send them, else to the standard logger "zart.app".
"""
