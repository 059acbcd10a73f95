# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return"
# pyright: reportMissingImports=false, reportFunctionMemberAccess=false
"""streaq: `streaq run` with the defaults but for the concurrency, which is ours.

Its `result` closes a subscription, which takes 100 ms of what is measured; the task itself has ended after 8.
"""

from __future__ import annotations

import asyncio

from streaq import Worker

from benchmarks.peers import timing

app = Worker(redis_url=timing.URL, concurrency=100)


@app.task
async def no_op(number: int) -> int:
    timing.count(number)
    return number


async def _run_one(number: int) -> int:
    task = await no_op.enqueue(number)
    result = await task.result(30)
    return int(result.result)


async def _enqueue(number: int) -> None:
    for start in range(0, number, 500):
        await app.enqueue_many([no_op.enqueue(index) for index in range(start, min(start + 500, number))])


async def main() -> None:
    async with timing.worker("streaq", "run", f"{__spec__.name}:app"), app:
        await timing.no_ops(_run_one, _enqueue)


if __name__ == "__main__":
    timing.versions("streaq")
    asyncio.run(main())
