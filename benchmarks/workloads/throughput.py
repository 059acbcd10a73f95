"""Many executions of ten trivial steps, in one worker process; the client that starts them is another."""

from __future__ import annotations

from benchmarks.baseline import Bare, baseline
from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.handlers import chain
from benchmarks.scene import Scene, Stage, check

STEPS = 10
FIGURES = (
    Figure("steps", "/s"),
    Figure("pipelined EVALSHAs", "/s"),
    ratio("steps / pipelined EVALSHAs", at_least=0.6),
)


async def steps_per_second(stage: Stage, executions: int) -> float:
    """From the first start to the last completion."""
    seconds = await stage.run_all(chain, [STEPS] * executions)
    check(await stage.outputs(chain, executions) == [STEPS] * executions, "an execution has another result")
    return executions * STEPS / seconds


async def _round(stage: Stage, bare: Bare, executions: int) -> Round:
    pipelined = await bare.pipelined(executions * STEPS)
    steps = await steps_per_second(stage, executions)
    return {"steps": steps, "pipelined EVALSHAs": pipelined, "steps / pipelined EVALSHAs": steps / pipelined}


async def measure(scene: Scene) -> list[Round]:
    async with scene.stage() as stage, baseline(scene) as bare:
        return await scene.repeat(lambda: _round(stage, bare, scene.size(1000, 200)))


WORKLOAD = Workload("throughput", "1,000 executions of 10 trivial steps, one worker process", FIGURES, measure)
