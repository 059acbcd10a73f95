"""Running a command: its exit code, errors as one line, signals."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any, NoReturn

import typer
from redis import exceptions

from zart_redis.cli.output import print_json
from zart_redis.errors import (
    ConfigurationError,
    ExecutionNotFound,
    InvalidInput,
    RecurringNotFound,
    RedisUnavailable,
    SchedulerError,
    UnknownTask,
    WaitTimedOut,
    ZartError,
)
from zart_redis.printable import printable
from zart_redis.store.redis_errors import as_zart_error
from zart_redis.urls import redacted_text
from zart_redis.worker.pool import Pool


class Code(IntEnum):
    """Exit codes."""

    DONE = 0
    """The command did its work."""
    FAILED = 1
    """The execution failed or was cancelled, a check found something, or the command could not do its work."""
    USAGE = 2
    """An argument, an option or a setting is invalid."""
    TIMED_OUT = 3
    """The execution had not finished when `--timeout` passed. It continues."""
    NOT_FOUND = 4
    """There is no such execution, or no such task."""
    REFUSED = 5
    """The state of the execution does not allow it: it is live, or it has finished."""
    UNAVAILABLE = 6
    """Redis cannot be reached, or is not set up as it must be."""
    INTERRUPTED = 130
    """Ctrl-C ended the command."""


_CODES: tuple[tuple[type[ZartError], Code], ...] = (
    (WaitTimedOut, Code.TIMED_OUT),
    (InvalidInput, Code.USAGE),
    (ExecutionNotFound, Code.NOT_FOUND),
    (RecurringNotFound, Code.NOT_FOUND),
    (UnknownTask, Code.NOT_FOUND),
    (SchedulerError, Code.REFUSED),
    (ConfigurationError, Code.UNAVAILABLE),
    (RedisUnavailable, Code.UNAVAILABLE),
    (ZartError, Code.FAILED),
)
"""The exit code of the first class that an error is an instance of."""

as_json: ContextVar[bool] = ContextVar("as_json", default=False)
"""Whether the command writes JSON, its errors included."""


def command_line(*, completion: bool = False, **options: Any) -> typer.Typer:
    """An empty application. Tracebacks are Python's own: typer's would show local variables, secrets included."""
    return typer.Typer(add_completion=completion, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def run_command_line(app: typer.Typer) -> None:
    """Run a command. With `--json`, errors in the command line itself are JSON too."""
    if "--json" not in sys.argv:
        app()
    as_json.set(True)
    try:
        sys.exit(app(standalone_mode=False))
    except _UsageError as error:
        message, code, name = error.format_message(), Code.USAGE, InvalidInput.code  # type: ignore[attr-defined]
    except typer.Abort:
        message, code, name = "aborted; nothing was changed", Code.FAILED, "aborted"
    try:
        end(message, code, name)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of errors in a command line. Typer does not export it."""


@contextmanager
def settings_checked() -> Iterator[None]:
    """End the command with a usage error if the settings are invalid."""
    try:
        yield
    except ConfigurationError as error:
        end(str(error), Code.USAGE, error.code)


def run(action: Coroutine[Any, Any, Code]) -> NoReturn:
    """Run a command and exit with the code that it returns, or with an error that says what went wrong."""
    try:
        code = asyncio.run(action)
    except KeyboardInterrupt:
        code = Code.INTERRUPTED
    except exceptions.RedisError as error:
        _end_by(as_zart_error(error, "Redis"))
    except ZartError as error:
        _end_by(error)
    raise typer.Exit(code)


def _end_by(error: ZartError) -> NoReturn:
    why = str(error)
    if isinstance(error, RedisUnavailable):
        why = f"Redis cannot be reached: {why.rstrip('.')}. Is it running, and is --redis-url or ZART_REDIS_URL right?"
    end(why, next(code for kind, code in _CODES if isinstance(error, kind)), error.code)


def end(why: str, exit_code: Code, error_code: str) -> NoReturn:
    """Exit with an error: a line on stderr, or a JSON document on stdout."""
    why = redacted_text(" ".join(why.split()))
    if as_json.get():
        print_json({"error": {"code": error_code, "message": why}})
    else:
        sys.stderr.write(f"error: {printable(why)}\n")
    raise typer.Exit(exit_code)


async def run_pool(pool: Pool) -> Code:
    """Run a pool until SIGTERM or SIGINT, which drains it; a second signal stops it at once."""
    with interruptions(pool.stop, pool.kill):
        return Code.DONE if await pool.run() else Code.FAILED


@contextmanager
def interruptions(first: Callable[[], object], again: Callable[[], object]) -> Iterator[None]:
    """Handle SIGTERM and SIGINT within the block: call `first` for the first signal, `again` for any other."""
    loop = asyncio.get_running_loop()
    called = False

    def interrupt() -> None:
        nonlocal called
        act, called = again if called else first, True
        act()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
