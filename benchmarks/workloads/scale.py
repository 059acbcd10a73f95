"""More worker processes, more partitions, and what each side pays: how far one Redis and one process go."""

from __future__ import annotations

import time

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import lingerer
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.scene import Scene, Stage, check
from benchmarks.workloads.no_op import executions_per_second
from benchmarks.workloads.throughput import STEPS, steps_per_second
from zart_redis.model import ExecutionStatus

FIGURES = (
    Figure("steps, one worker", "/s"),
    ratio("two workers / one"),
    ratio("4 partitions / 1"),
    ratio("16 partitions / 1"),
    Figure("Redis CPU per step, all in", "us", at_most=15),
    Figure("Redis CPU per bare pipelined EVALSHA", "us"),
    Figure("Redis CPU per no-op execution", "us"),
    Figure("worker CPU per step, all in", "us"),
    Figure("worker CPU per no-op execution", "us"),
    Figure("worker memory per 1,000 running bodies", "MiB"),
)
LINGER_SECONDS = 2.0


class _Costs:
    """What Redis and the first worker process of a stage use from now on."""

    def __init__(self, scene: Scene, stage: Stage) -> None:
        self._server, self._pid = scene.server, stage.pids[0]
        self._redis, self._worker = self._now()

    def _now(self) -> tuple[float, float]:
        return self._server.cpu_seconds(), cpu_seconds(self._pid)

    def micros(self, number: int) -> tuple[float, float]:
        """Microseconds of Redis and of the worker for each of so many."""
        redis, worker = self._now()
        return (redis - self._redis) / number * 1e6, (worker - self._worker) / number * 1e6


async def _mebibytes_per_thousand(stage: Stage, bodies: int) -> float:
    """What so many bodies, all within a step, add to the worker's resident memory."""
    before = resident_bytes(stage.pids[0])
    began = time.monotonic()
    await stage.run_all(lingerer, [LINGER_SECONDS] * bodies, ExecutionStatus.RUNNING)
    grown = resident_bytes(stage.pids[0]) - before
    check(time.monotonic() - began < LINGER_SECONDS, "the first bodies had ended before the last ones began")
    await stage.reach(lingerer, ExecutionStatus.COMPLETED, bodies)
    return grown / bodies * 1000 / 2**20


async def _round(scene: Scene, bare: Bare, stages: tuple[Stage, Stage, Stage, Stage], executions: int) -> Round:
    one, two, four, sixteen = stages
    costs = _Costs(scene, one)
    await bare.pipelined(executions * STEPS)
    bare_redis, _ = costs.micros(executions * STEPS)
    costs = _Costs(scene, one)
    alone = await steps_per_second(one, executions)
    step_redis, step_worker = costs.micros(executions * STEPS)
    costs = _Costs(scene, one)
    await executions_per_second(one, executions)
    no_op_redis, no_op_worker = costs.micros(executions)
    return {
        "steps, one worker": alone,
        "two workers / one": await steps_per_second(two, executions) / alone,
        "4 partitions / 1": await steps_per_second(four, executions) / alone,
        "16 partitions / 1": await steps_per_second(sixteen, executions) / alone,
        "Redis CPU per step, all in": step_redis,
        "Redis CPU per bare pipelined EVALSHA": bare_redis,
        "Redis CPU per no-op execution": no_op_redis,
        "worker CPU per step, all in": step_worker,
        "worker CPU per no-op execution": no_op_worker,
    }


async def measure(scene: Scene) -> list[Round]:
    executions, bodies = scene.size(1000, 200), scene.size(2000, 300)
    async with scene.stage(concurrency=bodies) as stage:
        memory = await _mebibytes_per_thousand(stage, bodies)
    async with (
        scene.stage() as one,
        scene.stage(2) as two,
        scene.stage(partitions=4) as four,
        scene.stage(partitions=16) as sixteen,
        baseline(scene) as bare,
    ):
        rounds = await scene.repeat(lambda: _round(scene, bare, (one, two, four, sixteen), executions))
    return [{**each, "worker memory per 1,000 running bodies": memory} for each in rounds]


WORKLOAD = Workload("scale", "two workers, 4 and 16 partitions; what Redis and a worker pay", FIGURES, measure)
