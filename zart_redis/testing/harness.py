"""The harness: a server, a worker that can be killed, a scheduler, and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from zart_redis import registry
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput, UnknownTask
from zart_redis.handlers import Handler, definition_of, definitions
from zart_redis.layout import Cause, Key, streams
from zart_redis.model import ExecutionRecord
from zart_redis.settings import Settings
from zart_redis.store import occurrences
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.replies import Death
from zart_redis.store.store import Partition, Store
from zart_redis.testing.clock import ManualClock
from zart_redis.testing.fakes import Fakes, fake_definitions
from zart_redis.testing.mistakes import Mistakes
from zart_redis.testing.process import Process, install, outside
from zart_redis.testing.rehearsal import Rehearsal
from zart_redis.testing.server import temporary_server
from zart_redis.testing.wire import Watch, Wire, WiredWorker
from zart_redis.worker.known import KnownHandlers
from zart_redis.worker.mail import deliver_all
from zart_redis.worker.recovery import reclaim

Out = TypeVar("Out")

REDIS_PATIENCE_SECONDS = 10.0
CRASHED = Death(Cause.PROOF, "crash() of the harness")
"""A crash counts at once, against all that the worker held."""
MOST_MOMENTS = 100_000
"""How many different moments one `advance` may stop at."""


class StillRunning(TimeoutError):
    """The worker keeps working although the clock is stopped: a step waits for something, or a body never ends."""


class Harness:
    """Runs handlers on a private Redis, with a clock that only the test moves. Real steps, real replays, real crashes.

    Args:
        handlers: the handlers that the worker runs; by default all that have been declared.
        replay: discard each body after every step, and replay it. A handler that does not make the same calls in each
            replay fails with `ReplayMismatch`.
        crash_after_each_step: kill the worker each time that a step's result has been recorded.
        server: the URL of a Redis to use; by default one is started in a temporary folder, and stopped at the end.
        patience: how long, in real time, the worker may take for what there is to do at one moment of the clock.
        steps: fakes, functions that run in place of steps: `steps={charge_card: fake}`. A fake is an `async def` or a
            plain `def`, takes the arguments of its step, and returns or raises what the step would. The step's retry,
            timeout and types stay in force.
        settings: other fields of `Settings`, by name: `queues`, `concurrency`, `max_deliveries`, ... The
            queues are by default those of the handlers, and of steps that name one.

    The clock does not move by itself: a sleep, a retry delay or a timeout of an event ends when the test moves it. What
    is real is the time that a step's own code takes, and a step's `timeout` while its code runs.

    Examples:
        Thirty days in milliseconds:

        >>> @zart_durable("trial")
        ... async def trial(user: str) -> str:
        ...     await welcome(user)
        ...     await zart.sleep("trial-period", "30d")
        ...     return await invoice(user)
        >>>
        >>> async def test_a_trial_ends_with_an_invoice() -> None:
        ...     async with zart_redis.testing.Harness([trial]) as h:
        ...         await h.scheduler.start_for(trial, "trial-ann", "ann")
        ...         await h.advance("29d")
        ...         assert (await h.scheduler.status("trial-ann")).waiting_for == ("sleep trial-period",)
        ...         await h.advance("1d")
        ...         assert await h.scheduler.wait_for(trial, "trial-ann") == "invoice for ann"

        The worker is killed after each step, and another one continues:

        >>> async def test_each_step_runs_once_whatever_dies() -> None:
        ...     async with zart_redis.testing.Harness([trial], crash_after_each_step=True) as h:
        ...         assert await h.run(trial, "trial-ann", "ann") == "invoice for ann"
        ...         assert h.crashes == 2
    """

    scheduler: DurableScheduler
    """Starts and follows executions, using the clock of the harness."""

    def __init__(
        self,
        handlers: Iterable[Handler[Any, Any]] | None = None,
        *,
        replay: bool = False,
        crash_after_each_step: bool = False,
        server: str | None = None,
        patience: Duration = "10s",
        steps: Fakes | None = None,
        **settings: Any,
    ) -> None:
        self.clock = ManualClock()
        self.crashes = 0
        """How often the worker has been killed."""
        self._handlers = None if handlers is None else list(handlers)
        self._rehearsal = Rehearsal() if replay else None
        self._watch: Watch | None = self._crash_when_recorded if crash_after_each_step else None
        self._server = server
        self._patience = to_ms(patience) / 1000
        # Leases are real time: a test that is paused in a debugger must not lose its worker.
        defaults = {"namespace": f"harness-{secrets.token_hex(4)}", "lease": "1m", "grace": "1s"}
        self._settings = {**defaults, "queues": self._declared_queues(), **settings}
        self._fakes = fake_definitions(steps or {})
        self._mistakes = Mistakes(self._settings["namespace"])
        self._killed: list[WiredWorker] = []
        self._replacing: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._has_worker = False
        self._stack = AsyncExitStack()

    def _declared_queues(self) -> list[str]:
        of_steps = (step.queue for step in registry.steps.by_name.values() if step.queue is not None)
        return sorted({"default", *(handler.queue for handler in self._known_handlers()), *of_steps})

    def _known_handlers(self) -> KnownHandlers:
        return KnownHandlers(None if self._handlers is None else definitions(self._handlers))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            url = self._server or (await stack.enter_async_context(temporary_server())).url
            self._url = url
            stack.callback(install(asyncio.get_running_loop()))
            stack.enter_context(self._mistakes)
            stack.push(_collect_cycles)  # when the worker has stopped
            self._scheduler_settings = _shared(self._settings)
            self.scheduler = await stack.enter_async_context(
                DurableScheduler(url, clock=self.clock, **self._scheduler_settings)
            )
            settings = Settings.load(redis_url=url, **self._settings)
            self._store = await stack.enter_async_context(
                Store(settings, patience=REDIS_PATIENCE_SECONDS, clock=self.clock)
            )
            stack.push_async_callback(self._unwind_killed)
            await self._start_worker()
            stack.push_async_callback(self._finish_worker)
            stack.push_async_callback(self._replaced)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)
        if error is None:
            self._look_for_mistakes()

    @property
    def now(self) -> datetime:
        """The time of the clock, in UTC."""
        return self.clock.now

    # ---- time ----

    async def advance(self, duration: Duration) -> None:
        """Move the clock. Every timer that becomes due fires at its time, in order, and what it wakes runs as far as it
        can before the clock moves again. During an outage only the clock moves.

        Raises:
            StillRunning: something keeps running although the clock is stopped.
            ForgottenAwait: a step was called and never awaited.
            UnknownTask, UnknownStep: the worker met a task or a step that it does not know.
        """
        target = self.clock.ms + to_ms(duration)
        if not self._has_worker:
            self.clock.move_to(target)
            return
        for _ in range(MOST_MOMENTS):
            due = await self._settle()
            self.clock.move_to(target if due is None else min(due, target))
            if due is None or due > target:
                return
        raise StillRunning(f"timers fired at {MOST_MOMENTS} moments, and still there are more before {target} ms")

    async def run(
        self, handler: Handler[Any, Out], execution_id: str, data: Any = None, *, within: Duration = "3650d"
    ) -> Out:
        """Start an execution, move the clock from timer to timer until it has ended, and return its output.

        Raises:
            ExecutionFailed, Cancelled: the execution ended so.
            StillRunning: it has not ended, and no timer is left, or none is due `within` this time.
            UnknownTask: the harness was not given this handler.
            ForgottenAwait: a step was called and never awaited.
        """
        task = definition_of(handler).name
        if not self._known_handlers().can_run(task, 0):
            raise UnknownTask(task)
        await self.scheduler.start(execution_id, task, data)
        await self.finish(execution_id, within=within)
        return await self.scheduler.wait_for(handler, execution_id)

    async def finish(self, execution_id: str, *, within: Duration = "3650d") -> ExecutionRecord:
        """Move the clock from timer to timer until this execution has ended, however it ends."""
        limit = self.clock.ms + to_ms(within)
        while True:
            due = await self._settle()
            record = await self.scheduler.status(execution_id)
            if record.status.is_final:
                return record
            if due is None or due > limit:
                waiting = ", ".join(record.waiting_for) or "nothing that time brings"
                raise StillRunning(f"{execution_id!r} is {record.status} and waits for {waiting}")
            self.clock.move_to(due)

    async def settle(self) -> None:
        """Wait until nothing is left to do at this moment of the clock."""
        await self._settle()

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """A period without a worker. What can be done is done before it begins; what becomes due or is started during
        it is done afterwards.

        Example:
            >>> async with h.outage():
            ...     await h.advance("2h")
        """
        if not self._has_worker:
            raise InvalidInput("there is an outage already: no worker to stop")
        await self._settle()
        await self._finish_worker()
        try:
            yield
        finally:
            await self._start_worker()
        await self._settle()

    async def _settle(self) -> int | None:
        """Returns when the next timer is due."""
        if not self._has_worker:
            raise InvalidInput("nothing runs during an outage: leave the block first")
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await self._replaced()
            work, due = await self._look()
            self._look_for_mistakes()
            if not work and not self._replacing:
                if due is not None and due <= self.clock.ms:
                    await self._fire()
                elif not await self._tick():
                    return due
                continue
            waited = loop.time() - began
            if waited > self._patience:
                raise StillRunning(f"after {self._patience:g} s the worker still holds: {', '.join(work)}")
            if waited > 0.1 and self._killed:
                await self._reclaim(self._killed)
            await asyncio.sleep(min(0.0005 + waited / 10, 0.01))

    def _look_for_mistakes(self) -> None:
        if self._rehearsal is not None and self._rehearsal.mistakes:
            raise self._rehearsal.mistakes.pop()
        self._mistakes.raise_first()

    async def _fire(self) -> None:
        """What is due at this moment of the clock."""
        for partition in self._store.partitions:
            while (answer := await partition.transitions.due(200)).fired:
                await deliver_all(self._store, partition, answer.mails)
            if answer.next_expiry is not None and answer.next_expiry <= answer.now:
                await partition.transitions.purge(1000)

    async def _tick(self) -> bool:
        """Handle the ticks of this moment, also those that a worker has been given and may still be handling. Returns
        whether there were any."""
        return await occurrences.handle_all_ticks(self._store, self.clock.ms)

    async def _look(self) -> tuple[list[str], int | None]:
        """What is queued or held by the worker, and when the next timer is due, read at one moment."""
        work: list[str] = []
        due: list[int] = []
        unserved: set[tuple[str, int]] = set()
        for partition in self._store.partitions:
            keys = [key for queue in self._queues for key in streams(partition.prefix, queue).values()]
            entries = [("XRANGE", key, "-", "+") for key in keys]
            timers = [("ZRANGE", key.of(partition.prefix), 0, 0, "WITHSCORES") for key in (Key.TIMERS, Key.EXPIRING)]
            waiting = ("HVALS", Key.UNSERVED_KINDS.of(partition.prefix))
            commands = [("MULTI",), *entries, *timers, waiting, ("EXEC",)]
            *_, (*answers, kinds) = await self._store.connections.exchange(partition.prefix, commands)
            work += [_words(fields) for stream in answers[: len(entries)] for _, fields in stream]
            due += [int(float(first[1])) for first in answers[len(entries) :] if first]
            for task, queue, version in map(_unserved, kinds):
                if self._serves(task, queue, version):
                    work.append(task)  # the worker has just started, and will take it
                else:
                    unserved.add((task, version))
        self._mistakes.unserved(unserved)
        return work, min(due, default=None)

    def _serves(self, task: str, queue: str, version: int) -> bool:
        return queue in self._queues and self._worker._handlers.can_run(task, version)

    @property
    def _queues(self) -> Sequence[str]:
        return self._worker.settings.queues

    # ---- death ----

    def crash(self) -> asyncio.Task[None]:
        """Kill the worker at once, as kill -9 would; another takes over all that it held. Await the
        result to continue when it does.

        No code of the killed worker's bodies and steps runs any more, not even `finally` (it runs when the
        harness ends). Only a plain `def` step runs to its end in its thread; its result is lost. May be called
        from within a step.
        """
        if not self._has_worker:
            raise InvalidInput("there is no worker to kill during an outage")
        dead = self._worker
        dead.kill()
        self.crashes += 1
        self._killed.append(dead)
        task = asyncio.get_running_loop().create_task(self._replace(dead), context=outside())
        self._replacing.add(task)
        task.add_done_callback(self._replacement_done)
        return task

    def _replacement_done(self, task: asyncio.Task[None]) -> None:
        self._replacing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failures.append(error)

    def _crash_when_recorded(self, number: int, command: str, done: bool) -> None:
        if done and command in SCRIPTS and SCRIPTS[command].manifest.records:
            self.crash()

    async def _replace(self, dead: WiredWorker) -> None:
        await self._reclaim([dead])
        await self._start_worker()

    async def _reclaim(self, dead: Iterable[WiredWorker]) -> None:
        """Queue again what they hold, as is done when their leases have ended. What had been sent may still be carried
        out, and a read that blocks be served, until Redis has seen that the sockets are closed."""
        for _ in range(3):
            await asyncio.sleep(0)
        for partition in self._store.partitions:
            await self._store.connections.exchange(partition.prefix, [("PING",)])
            for worker in dead:
                await self._reclaim_in(partition, worker)

    async def _reclaim_in(self, partition: Partition, dead: WiredWorker) -> None:
        await partition.transitions.leave(dead.id)
        await reclaim(partition, dead.id, dead.settings, CRASHED)

    async def _replaced(self) -> None:
        while self._replacing:
            await asyncio.wait(list(self._replacing))
        if self._failures:
            raise self._failures.pop()

    # ---- the worker ----

    async def _start_worker(self) -> None:
        wire = Wire(Process("worker"), self._watch)
        handlers = self._handlers
        observers = [self._mistakes, *([] if self._rehearsal is None else [self._rehearsal])]
        self._worker = WiredWorker(
            wire,
            self._url,
            handlers=handlers,
            clock=self.clock,
            observers=observers,
            fakes=self._fakes,
            **self._settings,
        )
        self._has_worker = True
        await self._worker.start()

    async def _finish_worker(self) -> None:
        self._has_worker = False
        await self._worker.finish()

    async def _unwind_killed(self) -> None:
        for worker in self._killed:
            await worker.finish()


def _shared(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a worker that its client must share."""
    return {name: value for name, value in settings.items() if name not in ("queues", "concurrency", "grace", "lease")}


def _unserved(kind: bytes) -> tuple[str, str, int]:
    return msgspec.json.decode(kind, type=tuple[str, str, int])


def _words(fields: Sequence[bytes]) -> str:
    """An entry of a stream in words: its execution, and its step."""
    return " ".join(field.decode() for field in fields[1::2])


def _collect_cycles(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    """Find calls that were never used and are part of a cycle; after an error all of them, so that none warns in
    another test."""
    gc.collect(1 if error is None else 2)
