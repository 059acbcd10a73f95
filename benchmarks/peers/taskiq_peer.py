# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return"
# pyright: reportMissingImports=false, reportFunctionMemberAccess=false
"""taskiq-redis: `taskiq worker` on a stream broker with a result backend; results are looked for each millisecond."""

from __future__ import annotations

import asyncio

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import timing

backend: RedisAsyncResultBackend[int] = RedisAsyncResultBackend(redis_url=timing.URL)
broker = RedisStreamBroker(url=timing.URL).with_result_backend(backend)


@broker.task(task_name="no-op")
async def no_op(number: int) -> int:
    timing.count(number)
    return number


async def _run_one(number: int) -> int:
    task = await no_op.kiq(number)
    result = await task.wait_result(check_interval=0.001, timeout=30)
    return result.return_value


async def _enqueue(number: int) -> None:
    for start in range(0, number, 100):
        await asyncio.gather(*(no_op.kiq(index) for index in range(start, min(start + 100, number))))


async def main() -> None:
    options = ("--workers", "1", "--max-async-tasks", "100", "--log-level", "ERROR")
    async with timing.worker("taskiq", "worker", f"{__spec__.name}:broker", *options):
        await broker.startup()
        await timing.no_ops(_run_one, _enqueue)
        await broker.shutdown()


if __name__ == "__main__":
    timing.versions("taskiq", "taskiq-redis")
    asyncio.run(main())
