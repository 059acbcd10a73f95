"""Group commit: all transitions requested in one turn of the event loop are sent in one pipeline, and their callers are
woken together.

While a pipeline is in flight the next one gathers, so a busy process pays one round trip for hundreds of transitions,
and a lone transition is sent at once. Cancelling a caller never touches the connection.

A pipeline whose connection broke is sent again as a whole. That is safe because every script may be sent twice (see the
headers). A pipeline with a script that needs confirmation ends with a command that waits for disks or replicas (see
`durability`); unless that confirms them, such scripts are sent again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextvars import Context
from typing import Any

from redis import exceptions

from zart_redis.backoff import Backoff
from zart_redis.errors import RedisUnavailable
from zart_redis.logs import get_logger
from zart_redis.model import Clock, server_clock
from zart_redis.store.batches import Batches, Command
from zart_redis.store.connections import Connections
from zart_redis.store.lua import BY_SHA
from zart_redis.store.redis_errors import as_zart_error, out_of_memory, refused, retryable

log = get_logger()

CLOCK = 4
"""Position of the time in an EVALSHA; see `scripts/lib/base.lua`."""
Asked = tuple[Command, asyncio.Future[Any]]

MOST_IN_PIPELINE = 512
"""Commands in one pipeline: bounds how long one caller can delay another."""
MOST_UNDER_WAY = 2
"""Pipelines in flight: while Redis works on one, Python prepares the next."""
FULL_PAUSE_SECONDS = 0.5
"""Delay before a command is sent again that was refused because Redis is out of memory."""
WARNING_SECONDS = 10.0
"""Minimum time between two warnings that Redis refuses commands."""


def _needs_confirmation(command: Command) -> bool:
    """Whether its manifest promises a durable effect. The others read only, or are redone by the next loop."""
    script = BY_SHA.get(command[1])  # type: ignore[arg-type]
    return script is None or script.manifest.confirm


class Commits:
    """The group commit of one partition.

    Args:
        patience: seconds for which a command is tried again while Redis cannot be reached, or does not confirm that
            a write is safe; None is for as long as it takes, also while Redis is out of memory or refuses the user,
            which is what workers do with results.
        confirm: what a pipeline ends with that holds a promise; see `durability`.
        clock: the time that a test harness supplies; a command that is sent again carries the new time.
    """

    def __init__(
        self,
        connections: Connections,
        key: str,
        patience: float | None,
        confirm: Command | None = None,
        clock: Clock = server_clock,
    ) -> None:
        self._connections = connections
        self._key = key
        self._patience = patience
        self._impatient = asyncio.Event()
        self._is_aborted = False
        self._confirm = confirm
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Asked] = []
        self._flush_is_due = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._refused: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}
        self._warned_at = -WARNING_SECONDS
        self.interruptions = 0
        """How often the connection of a pipeline broke. Each time a reply may have been lost, such as that of a
        claim."""

    def submit(self, command: Command) -> asyncio.Future[Any]:
        """The reply to `command`, which is sent at the end of this turn of the event loop.

        The future raises `RedisUnavailable` when patience has run out. If Redis refuses, it raises what users see of
        that where there is an end to patience, else redis-py's error.
        """
        reply: asyncio.Future[Any] = self._loop.create_future()
        if self._is_aborted:
            _fail(reply, RedisUnavailable(_ABORTED))
        else:
            self._add(command, reply)
        return reply

    def lose_patience(self) -> None:
        """From now on, a command fails when Redis cannot be reached or is out of memory."""
        self._patience = 0
        self._impatient.set()
        for reply, timer in self._refused.items():
            timer.cancel()
            _fail(reply, RedisUnavailable(_FULL))
        self._refused.clear()

    def abort(self) -> None:
        """Fail what is in flight, done or not, and all that is still asked: Redis does not reply, and nobody waits."""
        self.lose_patience()
        self._is_aborted = True
        waiting, self._waiting = self._waiting, []
        for _, reply in waiting:
            _fail(reply, RedisUnavailable(_ABORTED))
        for task in self._under_way:
            task.cancel()

    async def close(self) -> None:
        """Wait for what is in flight, but no longer for a Redis that is unreachable or out of memory."""
        self.lose_patience()
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _add(self, command: Command, reply: asyncio.Future[Any]) -> None:
        self._waiting.append((command, reply))
        if not self._flush_is_due:
            self._flush_is_due = True
            # A fresh context: a pipeline serves many callers and belongs to none of them.
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
                    await backoff.wait(self._impatient)
                    batch = [self._at_present(asked) for asked in batch]
        except (TypeError, ValueError) as error:  # an argument that cannot be encoded; nothing was sent
            if len(batch) == 1:
                _fail(batch[0][1], error)
            else:
                for asked in batch:
                    await self._exchange([asked])
        except BaseException as error:
            cancelled = RedisUnavailable(_ABORTED) if self._is_aborted else asyncio.CancelledError()
            for _, reply in batch:
                _fail(reply, self._shown(error) if isinstance(error, Exception) else cancelled)
            if not isinstance(error, Exception):
                raise

    async def _send(self, batch: list[Asked]) -> tuple[list[Asked], Exception]:
        """One round trip. Returns what has to be sent again, and why."""
        try:
            answers, confirmed = await self._evaluate([command for command, _ in batch])
        except exceptions.RedisError as error:
            if not self._may_succeed(error):
                raise
            self.interruptions += 1
            return batch, error
        again: list[Asked] = []
        failure: Exception = RedisUnavailable(_UNCONFIRMED)
        for (command, reply), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception) and self._may_succeed(answer):
                again.append((command, reply))
                failure = answer
            elif reply.done():
                pass
            elif isinstance(answer, Exception) and out_of_memory(answer):
                self._refuse(command, reply)
            elif isinstance(answer, Exception):
                reply.set_exception(self._shown(answer))
            elif not confirmed and _needs_confirmation(command):
                again.append((command, reply))
            else:
                reply.set_result(answer)
        return again, failure

    def _may_succeed(self, error: Exception) -> bool:
        """Whether a command that failed is to be sent again."""
        if self._patience is None and refused(error):
            self._warn("Redis refuses the user of this worker; results are kept and sent again", error=str(error))
            return True
        return retryable(error) or isinstance(error, exceptions.NoScriptError)

    def _warn(self, event: str, **details: str) -> None:
        if self._loop.time() - self._warned_at > WARNING_SECONDS:
            self._warned_at = self._loop.time()
            log.warning(event, **details)

    def _shown(self, error: Exception) -> Exception:
        if self._patience is None or not isinstance(error, exceptions.RedisError):
            return error
        return as_zart_error(error, self._connections.name)

    def _at_present(self, asked: Asked) -> Asked:
        command, reply = asked
        now = self._clock()
        return asked if now is None or command[CLOCK] == "" else ((*command[:CLOCK], now, *command[CLOCK + 1 :]), reply)

    def _refuse(self, command: Command, reply: asyncio.Future[Any]) -> None:
        """Redis is out of memory. A client gets the error at once; a worker's command is sent again later, and delays
        no other command meanwhile, since ending work frees memory."""
        if self._patience is not None:
            _fail(reply, RedisUnavailable(_FULL))
            return
        self._warn("Redis is out of memory; writes are retried, and no new work is claimed")

        def again() -> None:
            del self._refused[reply]
            if not reply.done():
                self._add(command, reply)

        pause = random.uniform(FULL_PAUSE_SECONDS / 2, FULL_PAUSE_SECONDS)
        self._refused[reply] = self._loop.call_later(pause, again, context=Context())

    async def _evaluate(self, commands: Sequence[Command]) -> tuple[list[Any], bool]:
        """The replies to EVALSHA commands, and whether their writes are confirmed. Scripts that the server does not
        know are loaded, and their commands repeated."""
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
        confirm, batches = self._confirm, Batches(commands)
        if confirm is None or not any(map(_needs_confirmation, commands)):
            return batches.replies(await self._connections.exchange(self._key, batches.commands)), True
        *answers, reached = await self._connections.exchange(self._key, [*batches.commands, confirm])
        if isinstance(reached, Exception):
            if "replica instances" in str(reached):  # WAIT's wording for READONLY
                raise exceptions.ReadOnlyError(str(reached)) from reached
            raise reached
        return batches.replies(answers), reached >= confirm[1]


_UNCONFIRMED = "written, but not confirmed as `ack` demands: it may be lost on failover. Repeating the call is safe"
_ABORTED = "it does not reply"
_FULL = "it is out of memory and refuses writes"


def _fail(reply: asyncio.Future[Any], error: BaseException) -> None:
    if not reply.done():
        reply.set_exception(error)
