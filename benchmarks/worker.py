"""A worker process of the benchmarks: `python -m benchmarks.worker SETTINGS`, its settings as JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import uvloop

import zart_redis as zart
from benchmarks import handlers as handlers
from zart_redis import log_config
from zart_redis.worker.collector import collect_less_often


async def main(settings: str) -> None:
    worker = zart.Worker(**json.loads(settings))
    log_config.configure(worker.settings.log_level, worker.settings.log_format)
    collect_less_often()  # as `zart-worker` does
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    running = asyncio.create_task(worker.run())
    ready = asyncio.create_task(worker.ready.wait())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    print("ready", flush=True)
    await running
    ready.cancel()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
