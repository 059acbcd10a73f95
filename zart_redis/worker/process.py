"""One worker process of a pool: `python -m zart_redis.worker.process <fd>`, started only by `pool`.

It talks to the pool over a socket, the file descriptor `fd`. The pool sends the arguments as one line of JSON. When the
pool's end is closed, on purpose or because the pool has died, the process drains. It sends `ready` when it takes work,
or `failed <reason>` when it cannot; `beat <worker>` before each heartbeat; and `suspects` when work waits for a
quarantine process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from redis import exceptions

from zart_redis import log_config, logs
from zart_redis.engine.scope import log_fields
from zart_redis.errors import ZartError
from zart_redis.store.store import Store
from zart_redis.worker.app import load
from zart_redis.worker.claim import Gate
from zart_redis.worker.collector import collect_less_often
from zart_redis.worker.execute import Executor
from zart_redis.worker.quarantine import Quarantine, SuspectWatch
from zart_redis.worker.service import Service
from zart_redis.worker.worker import Worker

try:
    from uvloop import new_event_loop
except ImportError:  # not available on this platform
    new_event_loop = None  # type: ignore[assignment]

log = logs.get_logger()

LINGER_SECONDS = 0.5
"""How long threads of steps that did not end in time may delay the end of the process."""
MAX_REASON_CHARS = 4000


def main() -> None:
    """Work until asked to drain. Exits with 0, or with 1 after an error that is reported to the pool or logged."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is work to drain
    pool = socket.socket(fileno=int(sys.argv[1]))
    pool.set_inheritable(False)
    with pool.makefile("rb") as lines:
        line = lines.readline()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = _run(json.loads(line), pool, runner) if line else 1
        _end_soon(code)
    sys.exit(code)


def _run(arguments: dict[str, Any], pool: socket.socket, runner: asyncio.Runner) -> int:
    worker = None
    try:
        worker = PoolWorker(pool, arguments.pop("redis_url", None), **arguments)
        settings = worker.settings
        log_config.configure(settings.log_level, settings.log_format, secrets=settings.hidden, fields=log_fields)
        load(settings.app)
        collect_less_often()
        runner.run(_work(worker, pool))
        return 0
    except (ZartError, exceptions.RedisError, OSError) as error:
        if worker is not None and worker.ready.is_set():
            log.exception("worker failed")
        else:
            reason = str(error)[:MAX_REASON_CHARS].replace("\n", " ")
            pool.sendall(f"failed {reason}\n".encode())
    except Exception:
        log.exception("worker failed")
    return 1


class PoolWorker(Worker):
    """A worker that reports to its pool. With `quarantine` it runs suspects only, and stops when there are none."""

    def __init__(self, pool: socket.socket, *arguments: Any, quarantine: bool = False, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._pool = pool
        self._quarantine = quarantine

    def send(self, line: str) -> None:
        """Send a line to the pool, from any thread. Errors are ignored: the pool may have died."""
        with suppress(OSError):
            self._pool.send(line.encode() + b"\n")

    def _beats(self) -> None:
        self.send(f"beat {self.id}")

    def _sources(self, store: Store, executor: Executor) -> list[Service]:
        partitions, queues = store.partitions, self.settings.queues
        if self._quarantine:
            return [Quarantine(self._trials(store, executor), partitions, queues, executor, self.stop)]
        watch = SuspectWatch(partitions, queues, lambda: self.send("suspects"))
        return [watch, *self._claims(store, executor, Gate())]


async def _work(worker: PoolWorker, pool: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    reader, _ = await asyncio.open_connection(sock=pool)
    interrupts = itertools.count()

    def interrupt(number: int) -> None:
        if next(interrupts):  # the second time: other workers will redo what runs here
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    running = asyncio.create_task(worker.run())
    ready = asyncio.create_task(worker.ready.wait())
    released = asyncio.create_task(reader.read())
    released.add_done_callback(lambda _: worker.stop())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        worker.send("ready")
    await running
    released.cancel()


def _end_soon(code: int) -> None:
    """Bounds how long closing the loop may take, since that waits for its threads."""
    thread = threading.Timer(LINGER_SECONDS, os._exit, (code,))
    thread.daemon = True
    thread.start()


if __name__ == "__main__":
    main()
