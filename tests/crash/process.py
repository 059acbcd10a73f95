"""A worker process of the crash tests: `python -m tests.crash.process URL NAMESPACE LEASE MAX_DELIVERIES`."""

import asyncio
import sys

import zart_redis as zart
from tests.crash import app as app


async def main(url: str, namespace: str, lease: str, max_deliveries: str) -> None:
    worker = zart.Worker(url, namespace=namespace, lease=lease, max_deliveries=max_deliveries, grace="100ms")
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
