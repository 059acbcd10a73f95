"""A pool of one worker process: `python -m tests.soak.worker URL TRACES LEASE ACK VERSION`.

It says `up` when SIGTERM drains it, which may be before Redis is there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from zart_redis import log_config
from zart_redis.errors import ConfigurationError, RedisUnavailable
from zart_redis.worker.pool import Pool

MAX_DELIVERIES = 2


async def main(url: str, traces: str, lease: str, ack: str, version: str) -> int:
    log_config.configure("warning", "json")
    os.environ |= {"SOAK_TRACES": traces, "SOAK_VERSION": version}
    settings = {"redis_url": url, "app": "tests.soak.app", "lease": lease, "ack": ack, "max_deliveries": MAX_DELIVERIES}
    pools: list[Pool] = []
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        for pool in pools:
            pool.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    print("up", flush=True)
    while not stopping.is_set():
        pools[:] = [Pool({**settings, "log_level": "warning", "log_format": "json"})]
        try:
            return 0 if await pools[0].run() else 1
        except (ConfigurationError, RedisUnavailable):  # away while it begins, or the password has been changed
            await asyncio.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(*sys.argv[1:])))
