"""The library's own logger.

The library writes to the standard logger "zart", as a library should: without configuration, warnings appear on stderr,
and a program that configures `logging` receives the lines there. Importing configures nothing.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


class _LazyLogger:
    """Imports structlog for the first line: it takes as long to import as redis-py."""

    def __getattr__(self, name: str) -> Any:
        return getattr(standard_logger("zart"), name)


def get_logger() -> BoundLogger:
    """The logger for the modules of the library."""
    return cast("BoundLogger", _LazyLogger())


@functools.cache
def standard_logger(name: str) -> BoundLogger:
    """A structlog logger that writes to a standard logger, however structlog is configured."""
    import structlog

    from zart_redis.log_config import TO_LOGGING

    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name), processors=TO_LOGGING, wrapper_class=structlog.stdlib.BoundLogger
    )
    return logger
