"""A worker process: `python -m tests.soak.worker URL TRACES LEASE ACK`.

It says `up` when SIGTERM drains it, which may be before Redis is there.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import redis
import uvloop

import zart_redis as zart
from tests.soak import app
from zart_redis import log_config


async def main(url: str, traces: str, lease: str, ack: str) -> None:
    log_config.configure("warning", "json")
    app.leave_traces_in(Path(traces))
    worker = zart.Worker(url, lease=lease, ack=ack)
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        worker.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    print("up", flush=True)
    while not stopping.is_set():
        try:
            await worker.run()
            break
        except (redis.ConnectionError, redis.TimeoutError):  # away while it begins
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
