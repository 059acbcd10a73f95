"""From kill -9 of a worker process to its work going on in another, with default settings."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import held, release_key, report_key
from benchmarks.processes import ended, worker_process
from benchmarks.scene import Scene, Stage, check

FIGURES = (
    Figure("nobody told: to the first one going on", "s", at_most=5),
    Figure("nobody told: to the last one going on", "s", at_most=5),
    ratio("nobody told: last one / lease"),
    Figure("within a zart-worker pool: to the last one going on", "s", at_most=5),
)
RECOVERY_TIMEOUT = 60


class _Held:
    """Executions whose steps say which process runs them, and go on until they are released."""

    def __init__(self, scene: Scene, stage: Stage, number: int) -> None:
        self._redis, self._scheduler = scene.server.client, stage.scheduler
        self._ids = [stage.new_id() for _ in range(number)]
        self.runs_in: dict[str, int] = {}
        """The process that runs the step of each."""

    async def start(self) -> None:
        for execution_id in self._ids:
            await self._scheduler.start_for(held, execution_id)
        await self._hear(self._ids)

    async def kill(self, pid: int) -> list[float]:
        """Kill a process; after how many seconds each step that it ran was begun again in another one."""
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        lost = [execution_id for execution_id in self._ids if self.runs_in[execution_id] == pid]
        heard = await self._hear(lost)
        check(pid not in self.runs_in.values(), "a dead process runs a step")
        return [moment - killed for moment in heard]

    async def end(self) -> None:
        for execution_id in self._ids:
            self._redis.rpush(release_key(execution_id), 1)
        for execution_id in self._ids:
            pid = await self._scheduler.wait_for(held, execution_id, "30s")
            check(pid == self.runs_in[execution_id], "a step was recorded by another process than ran it last")
            self._redis.delete(report_key(execution_id), release_key(execution_id))

    async def _hear(self, ids: Sequence[str]) -> list[float]:
        return await asyncio.to_thread(self._hear_all, ids)

    def _hear_all(self, ids: Sequence[str]) -> list[float]:
        """When each of these has said where it runs."""
        missing = {report_key(execution_id).encode(): execution_id for execution_id in ids}
        heard = []
        while missing:
            report: tuple[bytes, bytes] | None = self._redis.blpop(sorted(missing), timeout=RECOVERY_TIMEOUT)  # type: ignore[assignment]
            check(report is not None, "the work does not go on")
            assert report is not None
            self.runs_in[missing.pop(report[0])] = int(report[1])
            heard.append(time.monotonic())
        return heard


async def _alone(scene: Scene, stage: Stage, number: int) -> list[float]:
    """The other worker is on its own: it learns of the death by the missing heartbeat."""
    executions = _Held(scene, stage, number)
    settings = {"namespace": stage.namespace, "lease": stage.scheduler.settings.lease / 1000}
    async with worker_process(scene.server.url, **settings) as first:
        await executions.start()
        async with worker_process(scene.server.url, **settings):
            times = await executions.kill(first.pid)
            await executions.end()
    return times


@asynccontextmanager
async def _pool(scene: Scene, stage: Stage) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("zart-worker"),
        *("--app", "benchmarks.handlers", "--processes", "2"),
        env={
            **os.environ,
            "ZART_REDIS_URL": scene.server.url,
            "ZART_NAMESPACE": stage.namespace,
            "ZART_LOG_LEVEL": "error",
        },
        stdin=asyncio.subprocess.DEVNULL,
    )
    async with ended(process):
        yield


async def _in_pool(scene: Scene, stage: Stage, number: int) -> list[float]:
    """The pool sees its process die, and says so at once."""
    executions = _Held(scene, stage, number)
    async with _pool(scene, stage):
        await executions.start()
        times = await executions.kill(next(iter(executions.runs_in.values())))
        await executions.end()
    return times


async def _round(scene: Scene, stage: Stage, number: int) -> Round:
    lease = stage.scheduler.settings.lease / 1000
    alone, pooled = await _alone(scene, stage, number), await _in_pool(scene, stage, number)
    return {
        "nobody told: to the first one going on": alone[0],
        "nobody told: to the last one going on": alone[-1],
        "nobody told: last one / lease": alone[-1] / lease,
        "within a zart-worker pool: to the last one going on": pooled[-1],
    }


async def measure(scene: Scene) -> list[Round]:
    """No warming up: the processes are new each time."""
    async with scene.stage(workers=0, lease="1s" if scene.short else None) as stage:
        return [await _round(scene, stage, scene.size(50, 10)) for _ in range(scene.rounds)]


WORKLOAD = Workload("recovery", "kill -9 of a worker process that runs up to 50 steps", FIGURES, measure)
