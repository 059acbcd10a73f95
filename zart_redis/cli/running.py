"""Running a command: its exit code, its errors in one line, its signals."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn

import typer
from redis import exceptions

from zart_redis.client.scheduler import DurableScheduler
from zart_redis.errors import ConfigurationError, InvalidInput, RedisUnavailable, WaitTimedOut, ZartError
from zart_redis.logs import redacted
from zart_redis.worker.pool import Pool


class Code(IntEnum):
    """Exit codes."""

    DONE = 0
    FAILED = 1
    """The execution failed or was cancelled, or what was asked for could not be done."""
    USAGE = 2
    TIMED_OUT = 3
    INTERRUPTED = 130


def command_line(*, completion: bool = False, **options: Any) -> typer.Typer:
    """An empty command. Tracebacks are Python's own: a prettier one might show what is secret."""
    return typer.Typer(add_completion=completion, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def scheduler(redis_url: str | None, namespace: str | None) -> DurableScheduler:
    """A client for the command; settings that cannot work end it."""
    with settings_checked():
        return DurableScheduler(redis_url, namespace=namespace)


@contextmanager
def settings_checked() -> Iterator[None]:
    """Settings that cannot work end the command as wrong usage does."""
    try:
        yield
    except ConfigurationError as error:
        end(str(error), Code.USAGE)


def run(action: Coroutine[Any, Any, Code]) -> NoReturn:
    """Run what a command does and end with the code it answers, or with a line on stderr that says what went wrong."""
    try:
        code = asyncio.run(action)
    except KeyboardInterrupt:
        code = Code.INTERRUPTED
    except WaitTimedOut as error:
        end(str(error), Code.TIMED_OUT)
    except InvalidInput as error:
        end(str(error), Code.USAGE)
    except (RedisUnavailable, exceptions.ConnectionError, exceptions.TimeoutError) as error:
        why = str(error).rstrip(".")
        end(f"Redis cannot be reached: {why}. Is it running, and is --redis-url or ZART_REDIS_URL right?")
    except (ZartError, exceptions.RedisError) as error:
        end(str(error))
    raise typer.Exit(code)


def end(why: str, code: Code = Code.FAILED) -> NoReturn:
    """End with a line on stderr."""
    sys.stderr.write(f"error: {redacted(' '.join(why.split()))}\n")
    raise typer.Exit(code)


async def run_pool(pool: Pool) -> Code:
    """Run a pool until SIGTERM or SIGINT, which lets it drain; a second one ends it at once."""
    with interruptions(pool.stop, pool.kill):
        return Code.DONE if await pool.run() else Code.FAILED


@contextmanager
def interruptions(first: Callable[[], object], again: Callable[[], object]) -> Iterator[None]:
    """What SIGTERM and SIGINT do within the block."""
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
