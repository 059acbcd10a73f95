"""Reads from one partition, retried while Redis cannot be reached."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from redis import exceptions

from zart_redis.backoff import Backoff
from zart_redis.errors import RedisUnavailable
from zart_redis.logs import get_logger
from zart_redis.store.connections import Connections
from zart_redis.store.redis_errors import as_zart_error, refused, remedy, retryable

log = get_logger()


class Reads:
    """Sends commands that only read to the node of one partition."""

    def __init__(self, connections: Connections, prefix: str, patience: float | None) -> None:
        """`patience` is as for `Commits`: reading again does no harm."""
        self._connections = connections
        self.prefix = prefix
        self._patience = patience

    async def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Raises RedisUnavailable when patience has run out, ConfigurationError for what Redis will never do, and
        redis-py's error if it refuses a command for another reason. Endless patience raises redis-py's error for both.
        """
        answers = await self.ask_each(commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._shown(answer)
        return answers

    async def ask_each(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Like `ask`, but returns the error of a refused command in its place."""
        if not commands:
            return []
        began, backoff = time.monotonic(), Backoff()
        while True:
            try:
                answers = await self._connections.exchange(self.prefix, commands)
                for answer in answers:
                    if isinstance(answer, Exception) and self._may_succeed(answer):
                        raise answer
                return answers
            except exceptions.RedisError as error:
                if not self._may_succeed(error):
                    raise self._shown(error) from None
                if self._patience is not None and time.monotonic() - began >= self._patience:
                    raise RedisUnavailable(str(error)) from error
                await self._connections.relocate(error)
                await backoff.wait()

    def _may_succeed(self, error: Exception) -> bool:
        return retryable(error) or (self._patience is None and refused(error))

    def _shown(self, error: Exception) -> Exception:
        if self._patience is None or remedy(error) is None:
            return error
        return as_zart_error(error, self._connections.name)


def time_ms(reply: Sequence[bytes]) -> int:
    """A reply to TIME, in ms."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def texts(names: Iterable[bytes]) -> Iterator[str]:
    """Decodes names, skipping those that are not UTF-8: the product writes none."""
    for name in names:
        try:
            yield name.decode()
        except UnicodeDecodeError:
            log.warning("skipped a name that is not UTF-8", name=repr(name))
