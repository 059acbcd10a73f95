"""Group commit: all transitions asked for in one turn of the event loop leave in one pipeline, and their callers are
woken together.

While a pipeline is on its way the next one gathers, so a busy process pays one round trip for hundreds of
transitions, and a lone transition goes at once. The callers' cancellation never touches the connection.

A pipeline whose connection broke is sent again, whole. That is safe because every script answers a command that is
repeated as it did the first time, or refuses it as fenced. A pipeline with a promise in it may end with a command that
waits for disks or replicas (see `durability`); without its confirmation the promises in it are sent again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from redis import exceptions

from zart_redis.errors import RedisUnavailable
from zart_redis.logs import get_logger
from zart_redis.store.connections import Backoff, Connections, out_of_memory, retryable
from zart_redis.store.lua import BY_SHA, SCRIPTS

log = get_logger()

Command = tuple[bytes | str | int, ...]
CLOCK = 4
"""Where an EVALSHA of ours has the time: see `scripts/lib/base.lua`."""
Clock = Callable[[], int | None]
"""The time in ms that a test harness supplies, or None for Redis's own clock."""
Asked = tuple[Command, asyncio.Future[Any]]

MOST_IN_PIPELINE = 512
"""Commands in one pipeline: bounds how long one caller can hold up another."""
MOST_UNDER_WAY = 2
"""Pipelines under way at once: while Redis works on one, Python prepares the next."""
FULL_PAUSE_SECONDS = 0.5
"""After about this long a command is sent again that a Redis with a full memory has refused."""
FULL_SAID_EVERY_SECONDS = 10.0

_NO_PROMISES = frozenset(
    SCRIPTS[name].sha
    for name in ("claim", "describe", "due", "examine", "leave", "open", "purge", "reclaim", "rows", "runs")
)
"""Scripts that write nothing, or nothing that would be missed: what they do is done again."""


class Commits:
    """The group commit of one partition.

    Args:
        patience: seconds for which a command is tried again while Redis cannot be reached, or does not confirm that
            a write is safe; None is for as long as it takes, also while Redis refuses writes for lack of memory,
            which is what workers do with results.
        confirm: what a pipeline ends with that holds a promise; see `durability`.
        clock: the time that a test harness supplies; a command that is sent again carries it anew.
    """

    def __init__(
        self,
        connections: Connections,
        key: str,
        patience: float | None,
        confirm: Command | None = None,
        clock: Clock = lambda: None,
    ) -> None:
        self._connections = connections
        self._key = key
        self._patience = patience
        self._confirm = confirm
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Asked] = []
        self._flush_is_due = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._refused: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}
        self._said_full = -FULL_SAID_EVERY_SECONDS
        self.interruptions = 0
        """How often a pipeline broke: each time a reply may have been lost, of a claim for example."""

    def submit(self, command: Command) -> asyncio.Future[Any]:
        """The reply of `command`, which leaves at the end of this turn of the event loop.

        The future raises `RedisUnavailable` when patience has run out, and redis-py's error if Redis refuses.
        """
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._add(command, reply)
        return reply

    async def close(self) -> None:
        """Wait for what is under way, and no longer for a Redis that is away or full."""
        self._patience = 0
        for reply, timer in self._refused.items():
            timer.cancel()
            _fail(reply, RedisUnavailable(_FULL))
        self._refused.clear()
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _add(self, command: Command, reply: asyncio.Future[Any]) -> None:
        self._waiting.append((command, reply))
        if not self._flush_is_due:
            self._flush_is_due = True
            # In a context of its own: a pipeline serves many callers, and belongs to none of them.
            self._loop.call_soon(self._flush, context=Context())

    def _flush(self) -> None:
        self._flush_is_due = False
        while self._waiting and len(self._under_way) < MOST_UNDER_WAY:
            batch, self._waiting = self._waiting[:MOST_IN_PIPELINE], self._waiting[MOST_IN_PIPELINE:]
            task = self._loop.create_task(self._exchange(batch))
            self._under_way.add(task)
            task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._waiting:
            self._flush()

    async def _exchange(self, batch: list[Asked]) -> None:
        try:
            began, backoff = self._loop.time(), Backoff()
            while batch:
                batch, failure = await self._send(batch)
                if batch:
                    if self._patience is not None and self._loop.time() - began >= self._patience:
                        raise RedisUnavailable(str(failure)) from failure
                    if not isinstance(failure, exceptions.NoScriptError):
                        await self._connections.relocate(failure)
                    await backoff.wait()
                    batch = [self._at_present(asked) for asked in batch]
        except (TypeError, ValueError) as error:  # an argument that is none, refused before anything was sent
            if len(batch) == 1:
                _fail(batch[0][1], error)
            else:
                for asked in batch:
                    await self._exchange([asked])
        except BaseException as error:
            for _, reply in batch:
                _fail(reply, error if isinstance(error, Exception) else asyncio.CancelledError())
            if not isinstance(error, Exception):
                raise

    async def _send(self, batch: list[Asked]) -> tuple[list[Asked], Exception]:
        """One round trip. Answers what has to be sent again, and why."""
        try:
            answers, confirmed = await self._evaluate([command for command, _ in batch])
        except exceptions.RedisError as error:
            if not retryable(error):
                raise
            self.interruptions += 1
            return batch, error
        again: list[Asked] = []
        failure: Exception = RedisUnavailable("it was written, but not confirmed to be where `ack` wants it")
        for (command, reply), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception) and (retryable(answer) or isinstance(answer, exceptions.NoScriptError)):
                again.append((command, reply))
                failure = answer
            elif reply.done():
                pass
            elif isinstance(answer, Exception) and out_of_memory(answer):
                self._refuse(command, reply)
            elif isinstance(answer, Exception):
                reply.set_exception(answer)
            elif not confirmed and command[1] not in _NO_PROMISES:
                again.append((command, reply))
            else:
                reply.set_result(answer)
        return again, failure

    def _at_present(self, asked: Asked) -> Asked:
        command, reply = asked
        now = self._clock()
        return asked if now is None or command[CLOCK] == "" else ((*command[:CLOCK], now, *command[CLOCK + 1 :]), reply)

    def _refuse(self, command: Command, reply: asyncio.Future[Any]) -> None:
        """Redis's memory is full: without patience that is reported at once, else the command is sent again later. It
        holds up no other meanwhile, since the ends of work free memory."""
        if self._patience is not None:
            _fail(reply, RedisUnavailable(_FULL))
            return
        if self._loop.time() - self._said_full > FULL_SAID_EVERY_SECONDS:
            self._said_full = self._loop.time()
            log.warning("Redis's memory is full, and it refuses writes; they are tried again, and nothing new is begun")

        def again() -> None:
            del self._refused[reply]
            if not reply.done():
                self._add(command, reply)

        pause = random.uniform(FULL_PAUSE_SECONDS / 2, FULL_PAUSE_SECONDS)
        self._refused[reply] = self._loop.call_later(pause, again, context=Context())

    async def _evaluate(self, commands: Sequence[Command]) -> tuple[list[Any], bool]:
        """The answers to EVALSHA commands, and whether what they wrote is where it is wanted. Scripts that this server
        does not know are loaded, and those commands repeated."""
        answers, confirmed = await self._confirmed(commands)
        unknown = [i for i, answer in enumerate(answers) if isinstance(answer, exceptions.NoScriptError)]
        if unknown:
            missing = {bytes(commands[i][1]) for i in unknown}  # type: ignore[arg-type]
            loads: list[Command] = [("SCRIPT", "LOAD", BY_SHA[sha].source) for sha in missing]
            repeated, confirmed = await self._confirmed([*loads, *(commands[i] for i in unknown)])
            for i, answer in zip(unknown, repeated[len(loads) :], strict=True):
                answers[i] = answer
        return answers, confirmed

    async def _confirmed(self, commands: Sequence[Command]) -> tuple[list[Any], bool]:
        confirm = self._confirm
        if confirm is None or all(command[1] in _NO_PROMISES for command in commands):
            return await self._connections.exchange(self._key, commands), True
        *answers, reached = await self._connections.exchange(self._key, [*commands, confirm])
        if isinstance(reached, Exception):
            if "replica instances" in str(reached):  # how WAIT says READONLY
                raise exceptions.ReadOnlyError(str(reached)) from reached
            raise reached
        first = reached[0] if isinstance(reached, list) else reached
        return answers, first >= confirm[1]


_FULL = "its memory is full, and it refuses writes"


def _fail(reply: asyncio.Future[Any], error: BaseException) -> None:
    if not reply.done():
        reply.set_exception(error)
