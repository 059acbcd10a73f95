"""The harness: a server, a worker that can be killed, a scheduler, and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio.to_thread

from zart_redis.client.scheduler import DurableScheduler
from zart_redis.durations import Duration, to_ms
from zart_redis.handlers import Handler, definition_of
from zart_redis.model import ExecutionRecord
from zart_redis.settings import Settings
from zart_redis.store.store import Partition, Store
from zart_redis.testing.clock import ManualClock
from zart_redis.testing.process import Process, install, outside
from zart_redis.testing.rehearsal import Rehearsal
from zart_redis.testing.server import TemporaryServer
from zart_redis.testing.wire import Watch, Wire, WiredWorker

Out = TypeVar("Out")

REDIS_PATIENCE_SECONDS = 10.0
MOST_MOMENTS = 100_000
"""How many different moments one `advance` may stop at."""
_RECORDING = ("record", "settle")
"""The scripts that record a step's result."""
_RECLAIMED_AT_ONCE = 100
_STREAMS = ("q", "b")
"""Those of each queue: see `store/README.md`."""


class StillRunning(TimeoutError):
    """The worker goes on working although the clock stands: a step waits for something, or a body never ends."""


class Harness:
    """Runs handlers on a Redis of its own, in a time of its own. Real steps, real replays, real crashes.

    Args:
        handlers: what the worker knows; by default every handler that has been declared.
        replay: throw each body away after every step, and replay it. A handler that does not ask for the same on each
            replay fails with `ReplayMismatch`.
        crash_after_each_step: kill the worker each time that a step's result has been recorded.
        server: the URL of a Redis to use; by default one is started in a temporary folder, and stopped at the end.
        patience: how long, in real time, the worker may take for what there is to do at one moment of the clock.
        settings: anything else that `Settings` knows, by name: `queues`, `concurrency`, `max_deliveries`, ...

    The clock stands still: a sleep, a retry delay or a timeout of an event ends when the test moves it. What is real is
    the time that a step's own code takes, and a step's `timeout` while its code runs.

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

        The worker is killed after each step, and another one goes on:

        >>> async def test_each_step_runs_once_whatever_dies() -> None:
        ...     async with zart_redis.testing.Harness([trial], crash_after_each_step=True) as h:
        ...         assert await h.run(trial, "trial-ann", "ann") == "invoice for ann"
        ...         assert h.crashes == 2
    """

    scheduler: DurableScheduler
    """Starts and follows executions, in the time of the harness."""

    def __init__(
        self,
        handlers: Iterable[Handler[Any, Any]] | None = None,
        *,
        replay: bool = False,
        crash_after_each_step: bool = False,
        server: str | None = None,
        patience: Duration = "10s",
        **settings: Any,
    ) -> None:
        self.clock = ManualClock()
        self.crashes = 0
        """How often the worker was killed."""
        self._handlers = None if handlers is None else list(handlers)
        self._rehearsal = Rehearsal() if replay else None
        self._watch: Watch | None = self._crash_when_recorded if crash_after_each_step else None
        self._server = server
        self._patience = to_ms(patience) / 1000
        # Leases are real time: a test that stands in a debugger must not lose its worker.
        self._settings = {"namespace": f"harness-{secrets.token_hex(4)}", "lease": "1m", "grace": "1s", **settings}
        self._buried: list[WiredWorker] = []
        self._replacing: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            url = self._server or (await stack.enter_async_context(_temporary_server())).url
            self._url = url
            stack.callback(install(asyncio.get_running_loop()))
            self._scheduler_settings = _shared(self._settings)
            self.scheduler = await stack.enter_async_context(
                DurableScheduler(url, clock=self.clock, **self._scheduler_settings)
            )
            settings = Settings.load(redis_url=url, **self._settings)
            self._store = await stack.enter_async_context(
                Store(settings, patience=REDIS_PATIENCE_SECONDS, clock=self.clock)
            )
            stack.push_async_callback(self._bury)
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
        """The time in the harness."""
        return self.clock.now

    # ---- time ----

    async def advance(self, duration: Duration) -> None:
        """Move the clock. Every timer due on the way fires at its own time, in order, and what it wakes runs as far as
        it gets before the clock goes on.

        Raises:
            StillRunning: something goes on running although the clock stands.
        """
        target = self.clock.ms + to_ms(duration)
        for _ in range(MOST_MOMENTS):
            due = await self._settle()
            self.clock.move_to(target if due is None else min(due, target))
            if due is None or due > target:
                return
        raise StillRunning(f"timers fired at {MOST_MOMENTS} moments, and still there are more before {target} ms")

    async def run(
        self, handler: Handler[Any, Out], execution_id: str, data: Any = None, *, within: Duration = "3650d"
    ) -> Out:
        """Start an execution, move the clock from timer to timer until it has ended, and answer its output.

        Raises:
            ExecutionFailed, Cancelled: so it ended.
            StillRunning: it has not ended, and there is no timer left to wait for, or none `within` this time.
        """
        await self.scheduler.start(execution_id, definition_of(handler).name, data)
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
        """Return when all has been done that can be done at this moment of the clock."""
        await self._settle()

    async def _settle(self) -> int | None:
        """Answers when the next timer is due."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await self._replaced()
            self._look_for_mistakes()
            work, due = await self._look()
            if not work and not self._replacing:
                if due is None or due > self.clock.ms:
                    return due
                await self._fire()
                continue
            waited = loop.time() - began
            if waited > self._patience:
                raise StillRunning(f"after {self._patience:g} s the worker still holds: {', '.join(work)}")
            if waited > 0.1 and self._buried:
                await self._reclaim(self._buried)
            await asyncio.sleep(min(0.0005 + waited / 10, 0.01))

    def _look_for_mistakes(self) -> None:
        if self._rehearsal is not None and self._rehearsal.mistakes:
            raise self._rehearsal.mistakes.pop()

    async def _fire(self) -> None:
        """What is due at this moment of the clock."""
        for partition in self._store.partitions:
            while (answer := await partition.transitions.due(200)).fired:
                pass
            if answer.next_expiry is not None and answer.next_expiry <= answer.now:
                await partition.transitions.purge(1000)

    async def _look(self) -> tuple[list[str], int | None]:
        """What is queued or held by the worker, and when the next timer is due: as they stand at one moment."""
        work: list[str] = []
        due: list[int] = []
        for partition in self._store.partitions:
            streams = [f"{partition.prefix}{stream}:{queue}" for queue in self._queues for stream in _STREAMS]
            entries = [("XRANGE", stream, "-", "+") for stream in streams]
            timers = [("ZRANGE", f"{partition.prefix}{key}", 0, 0, "WITHSCORES") for key in ("timers", "expiring")]
            commands = [("MULTI",), *entries, *timers, ("EXEC",)]
            *_, answers = await self._store.connections.exchange(partition.prefix, commands)
            work += [_words(fields) for stream in answers[: len(entries)] for _, fields in stream]
            due += [int(float(first[1])) for first in answers[len(entries) :] if first]
        return work, min(due, default=None)

    @property
    def _queues(self) -> Sequence[str]:
        return self._worker.settings.queues

    # ---- death ----

    def crash(self) -> asyncio.Task[None]:
        """Kill the worker where it stands, at once, as kill -9 would; another takes over all that it held. Await the
        result to go on when it does.

        No code of the killed worker's bodies and steps runs any more, not even `finally` (that is made up for when the
        harness ends). Only a plain `def` step runs to its end in its thread; its result is lost. May be called
        from within a step.
        """
        dead = self._worker
        dead.kill()
        self.crashes += 1
        self._buried.append(dead)
        task = asyncio.get_running_loop().create_task(self._replace(dead), context=outside())
        self._replacing.add(task)
        task.add_done_callback(self._replacement_done)
        return task

    def _replacement_done(self, task: asyncio.Task[None]) -> None:
        self._replacing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failures.append(error)

    def _crash_when_recorded(self, number: int, command: str, done: bool) -> None:
        if done and command in _RECORDING:
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
        more = True
        while more:
            deliveries = dead.settings.max_deliveries
            more, _ = await partition.transitions.reclaim(dead.id, _RECLAIMED_AT_ONCE, deliveries)

    async def _replaced(self) -> None:
        while self._replacing:
            await asyncio.wait(list(self._replacing))
        if self._failures:
            raise self._failures.pop()

    # ---- the worker ----

    async def _start_worker(self) -> None:
        wire = Wire(Process("worker"), self._watch)
        handlers = self._handlers
        self._worker = WiredWorker(
            wire, self._url, handlers=handlers, clock=self.clock, rehearsal=self._rehearsal, **self._settings
        )
        await self._worker.start()

    async def _finish_worker(self) -> None:
        await self._worker.finish()

    async def _bury(self) -> None:
        for worker in self._buried:
            await worker.finish()


def _shared(settings: dict[str, Any]) -> dict[str, Any]:
    """What a client needs to know of a worker's settings."""
    return {name: value for name, value in settings.items() if name not in ("queues", "concurrency", "grace", "lease")}


def _words(fields: Sequence[bytes]) -> str:
    """An entry of a stream: of whom, and which step."""
    return " ".join(field.decode() for field in fields[1::2])


@asynccontextmanager
async def _temporary_server() -> AsyncIterator[TemporaryServer]:
    server = await anyio.to_thread.run_sync(TemporaryServer().__enter__)
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True), contextlib.suppress(FileNotFoundError):
            await anyio.to_thread.run_sync(server.__exit__)
