"""Where a workload runs: a Redis, a private namespace, a client in this process and workers in others."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import zart_redis as zart
from benchmarks.processes import worker_process
from benchmarks.server import Server
from zart_redis.model import ExecutionStatus

T = TypeVar("T")

RUN_TIMEOUT = 600.0
POLL_SECONDS = 0.005
"""How closely the end of many executions is seen."""


class WrongResult(Exception):
    """What was timed did not do what it should have done."""


def check(holds: bool, what: str) -> None:
    """Raise WrongResult unless it holds."""
    if not holds:
        raise WrongResult(what)


@dataclass(frozen=True, slots=True)
class Scene:
    """How to measure. A short scene is over in a second or two, as tests want it, and its figures are rough."""

    server: Server
    rounds: int = 5
    short: bool = False
    sleepers: int | None = None
    """How many executions sleep at once, where that is what is measured."""
    reduced: dict[int, int] = field(default_factory=dict)
    """The sizes of a short scene by the full ones that they replace."""

    def size(self, full: int, short: int) -> int:
        if not self.short:
            return full
        self.reduced[full] = short
        return short

    async def repeat(self, measure: Callable[[], Awaitable[T]]) -> list[T]:
        """Each round's result, after one round that only warms up."""
        await measure()
        return [await measure() for _ in range(self.rounds)]

    @asynccontextmanager
    async def stage(self, workers: int = 1, *, partitions: int = 1, **settings: Any) -> AsyncIterator[Stage]:
        """A namespace with workers of these settings, which is removed afterwards."""
        namespace = f"bench-{uuid4().hex[:8]}"
        try:
            async with AsyncExitStack() as stack:
                scheduler = zart.DurableScheduler(
                    self.server.url, namespace=namespace, partitions=partitions, **settings
                )
                await stack.enter_async_context(scheduler)
                started = [worker_process(self.server.url, namespace=namespace, **settings) for _ in range(workers)]
                pids = [(await stack.enter_async_context(worker)).pid for worker in started]
                yield Stage(scheduler, namespace, pids)
        finally:
            self.server.forget(f"{{{namespace}:*")


@dataclass(slots=True)
class Stage:
    scheduler: zart.DurableScheduler
    namespace: str
    pids: Sequence[int]
    """The worker processes."""
    started: int = 0
    """How many executions were started through `start`: no id is used twice."""

    @property
    def prefix(self) -> str:
        """What the keys of the first partition begin with."""
        return f"{{{self.namespace}:0}}:"

    def new_id(self) -> str:
        self.started += 1
        return self.last_id

    @property
    def last_id(self) -> str:
        return f"e-{self.started:07}"

    async def run(self, handler: zart.DurableHandler[Any, T], data: Any = None) -> T:
        """The output of one execution."""
        return await self.scheduler.start_and_wait_for(handler, self.new_id(), data, "120s")

    async def start(self, handler: zart.DurableHandler[Any, Any], inputs: Iterable[Any]) -> None:
        """Start an execution for each input."""
        requests = [zart.StartRequest(self.new_id(), handler.name, data) for data in inputs]
        check(all(await self.scheduler.start_many(requests)), "an execution was not started")

    async def reach(
        self, handler: zart.DurableHandler[Any, Any], status: ExecutionStatus, number: int, every: float = POLL_SECONDS
    ) -> None:
        """Return when this many executions of the handler have a status."""
        async with asyncio.timeout(RUN_TIMEOUT):
            while await self.count(handler, status) < number:  # noqa: ASYNC110 - Redis knows, no event does
                await asyncio.sleep(every)

    async def count(self, handler: zart.DurableHandler[Any, Any], status: ExecutionStatus) -> int:
        return (await self.scheduler.stats()).by_task.get(handler.name, {}).get(status, 0)

    async def run_all(
        self,
        handler: zart.DurableHandler[Any, Any],
        inputs: Sequence[Any],
        until: ExecutionStatus = ExecutionStatus.COMPLETED,
    ) -> float:
        """The seconds from the first start until all have come to a status. Nobody looks before it is nearly so."""
        before = await self.count(handler, until)
        began = time.perf_counter()
        await self.start(handler, inputs)
        if until is ExecutionStatus.COMPLETED:
            await self.scheduler.wait(self.last_id, RUN_TIMEOUT)
        await self.reach(handler, until, before + len(inputs))
        return time.perf_counter() - began

    async def outputs(self, handler: zart.DurableHandler[Any, T], newest: int) -> list[T]:
        """What the newest executions of a handler returned; each of them must have completed."""
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < newest:
            page = await self.scheduler.list_executions(task_name=handler.name, limit=1000, cursor=cursor)
            check(all(record.status == "completed" for record in page), f"a {handler.name} did not complete")
            found += [record.output for record in page]
            cursor = page.cursor
            if cursor is None:
                break
        check(len(found) >= newest, f"{newest} executions of {handler.name} are expected, and {len(found)} found")
        return found[:newest]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "system": os.uname().release}
