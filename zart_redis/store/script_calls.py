"""Running a script of one partition."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine
from typing import Any

from redis import exceptions

from zart_redis.errors import SchedulerError, SerializationError
from zart_redis.model import Clock, Fenced
from zart_redis.store.commits import Commits
from zart_redis.store.decoding import text
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.redis_errors import cannot_read


class ScriptCalls:
    """Runs scripts of one partition."""

    def __init__(self, commits: Commits, prefix: str, clock: Clock) -> None:
        self.prefix = prefix
        self._commits = commits
        self._clock = clock

    def _run(self, script: str, *arguments: bytes | str | int) -> Coroutine[Any, Any, Any]:
        return self._run_at(self._clock(), script, *arguments)

    async def _run_at(self, clock: int | None, script: str, *arguments: bytes | str | int) -> Any:
        command = (
            b"EVALSHA",
            SCRIPTS[script].sha,
            1,
            self.prefix,
            "" if clock is None else clock,
            *arguments,
        )
        try:
            while (reply := await self._commits.submit(command)) == b"again":
                pass
        except exceptions.ResponseError as error:
            if not cannot_read(error):
                raise
            subject = f" of {arguments[0]!r}" if arguments else ""
            raise SerializationError(f"stored data{subject} is damaged: {script} cannot read it: {error}") from error
        if reply == b"fenced":
            raise Fenced
        if isinstance(reply, list) and reply and reply[0] == b"needs":
            raise SchedulerError(
                f"execution {arguments[0]!r} needs features that this version lacks ({text(reply[1])}), which must "
                "not end or restart it: use the version that started it"
            )
        return reply


def new_nonce() -> bytes:
    """Distinguishes a command that is sent again from another one like it."""
    return secrets.token_bytes(8)


def or_empty(value: int | None) -> int | str:
    return "" if value is None else value
