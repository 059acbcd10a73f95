"""A worker process of the crash tests; its arguments are those of `main`."""

import asyncio
import sys

import zart_redis as zart
from tests.crash import app as app
from tests.support.wrong_clock import shift_clock


async def main(url: str, namespace: str, lease: str, max_deliveries: str, clock_shift: str) -> None:
    worker = zart.Worker(url, namespace=namespace, lease=lease, max_deliveries=max_deliveries, grace="100ms")
    if seconds := float(clock_shift):
        shift_clock(seconds)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
