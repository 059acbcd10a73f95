# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return"
# pyright: reportMissingImports=false
"""arq: the `arq` command with as many jobs at a time as ours; queue and results are looked at each 10 ms, not 500."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers import timing

REDIS = RedisSettings.from_dsn(timing.URL)


async def no_op(ctx: dict[str, Any], number: int) -> int:
    timing.count(number)
    return number


class WorkerSettings:
    functions = [no_op]  # noqa: RUF012 - as arq's documentation writes it
    redis_settings = REDIS
    max_jobs = 100
    poll_delay = 0.01


async def main() -> None:
    async with timing.worker("arq", f"{__spec__.name}.WorkerSettings"):
        pool = await create_pool(REDIS)

        async def run_one(number: int) -> int:
            job = await pool.enqueue_job("no_op", number)
            assert job is not None
            return int(await job.result(timeout=30, poll_delay=0.001))

        async def enqueue(number: int) -> None:
            for start in range(0, number, 100):
                jobs = (pool.enqueue_job("no_op", index) for index in range(start, min(start + 100, number)))
                await asyncio.gather(*jobs)

        await timing.no_ops(run_one, enqueue)
        await pool.aclose()


if __name__ == "__main__":
    timing.versions("arq")
    asyncio.run(main())
