"""What a program pays to import the package, beside redis-py: CPU time of fresh interpreters."""

from __future__ import annotations

import asyncio
import statistics
import sys

from benchmarks.figures import Figure, Round, Workload, ratio
from benchmarks.scene import Scene, check

REDIS_PY = "import redis.asyncio"
PACKAGE = "import zart_redis"
HANDLERS = "from zart_redis import zart_durable, zart_step, step"
CLIENT = "from zart_redis import DurableScheduler"
WORKER = "from zart_redis import Worker"

FIGURES = (
    Figure(REDIS_PY, "ms"),
    ratio(f"{PACKAGE} / redis.asyncio", at_most=2.5),
    ratio("what declares handlers / redis.asyncio", at_most=2.5),
    ratio("the client / redis.asyncio"),
    ratio("the worker / redis.asyncio"),
)
TIMED = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


async def _cpu_ms(statement: str, times: int) -> float:
    """The median over as many interpreters."""
    found = []
    for _ in range(times):
        code = TIMED.format(statement)
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        check(process.returncode == 0, f"{statement} failed")
        found.append(float(output) * 1000)
    return statistics.median(found)


async def _round(times: int) -> Round:
    redis_py = await _cpu_ms(REDIS_PY, times)
    return {
        REDIS_PY: redis_py,
        f"{PACKAGE} / redis.asyncio": await _cpu_ms(PACKAGE, times) / redis_py,
        "what declares handlers / redis.asyncio": await _cpu_ms(HANDLERS, times) / redis_py,
        "the client / redis.asyncio": await _cpu_ms(CLIENT, times) / redis_py,
        "the worker / redis.asyncio": await _cpu_ms(WORKER, times) / redis_py,
    }


async def measure(scene: Scene) -> list[Round]:
    return await scene.repeat(lambda: _round(scene.size(5, 1)))


WORKLOAD = Workload("import", "fresh interpreters, CPU time", FIGURES, measure)
