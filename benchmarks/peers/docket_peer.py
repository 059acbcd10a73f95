# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return"
# pyright: reportMissingImports=false
"""docket: `docket worker` with the defaults but for the concurrency, which is ours."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from docket import Docket

from benchmarks.peers import timing

NAME = "bench"


async def no_op(number: int) -> int:
    timing.count(number)
    return number


TASKS = [no_op]


async def main() -> None:
    arguments = ("--docket", NAME, "--url", timing.URL, "--concurrency", "100", "--logging-level", "ERROR")
    tasks = ("--tasks", f"{__spec__.name}:TASKS")
    async with timing.worker("docket", "worker", *arguments, *tasks), Docket(name=NAME, url=timing.URL) as docket:
        docket.register(no_op)

        async def run_one(number: int) -> int:
            execution = await docket.add(no_op)(number)
            return int(await execution.get_result(timeout=timedelta(seconds=30)))

        async def enqueue(number: int) -> None:
            await docket.add_many(docket.call(no_op)(index) for index in range(number))

        await timing.no_ops(run_one, enqueue)


if __name__ == "__main__":
    timing.versions("pydocket")
    asyncio.run(main())
