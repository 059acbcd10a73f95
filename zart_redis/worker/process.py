"""One worker process of a pool: `python -m zart_redis.worker.process <fd>`, started by `pool` and by nothing else.

It talks to the pool over a socket, the open file `fd`. The pool sends the arguments in a line of JSON and then
nothing more; when its end is closed, by intention or because the pool has died, the process drains. It answers
`ready <worker>` when it takes work, or `failed <why>` when it cannot.
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
from typing import Any

from redis import exceptions

from zart_redis import logs
from zart_redis.engine.scope import current
from zart_redis.errors import ZartError
from zart_redis.model import ExecutionInfo
from zart_redis.worker.app import load
from zart_redis.worker.worker import Worker

try:
    from uvloop import new_event_loop
except ImportError:  # where it does not exist
    new_event_loop = None  # type: ignore[assignment]

log = logs.get_logger()

LINGER_SECONDS = 0.5
"""How long what still runs may hold up the end of the process: threads of steps that did not end in time."""
LONGEST_REASON = 4000


def main() -> None:
    """Work until told to drain. Exit code 0 in order, 1 after an error, which the pool is told or the log says."""
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
        worker = Worker(arguments.pop("redis_url", None), **arguments)
        settings = worker.settings
        logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets, fields=scope_fields)
        load(settings.app)
        runner.run(_work(worker, pool))
        return 0
    except (ZartError, exceptions.RedisError, OSError) as error:
        if worker is not None and worker.ready.is_set():
            log.exception("the worker has failed")
        else:
            reason = str(error)[:LONGEST_REASON].replace("\n", " ")
            pool.sendall(f"failed {reason}\n".encode())
    except Exception:
        log.exception("the worker has failed")
    return 1


def scope_fields() -> dict[str, object]:
    """Where the code runs that logs a line: which execution, task and attempt, and in a step which step."""
    scope = current.get()
    if scope is None:
        return {}
    info = scope if isinstance(scope, ExecutionInfo) else scope.info
    fields: dict[str, object] = {"execution_id": info.execution_id, "task": info.task_name}
    if info.step is not None:
        fields["step"] = info.step
    return {**fields, "attempt": info.current_attempt}


async def _work(worker: Worker, pool: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=pool)
    interrupts = itertools.count()

    def interrupt() -> None:
        if next(interrupts):
            os._exit(1)  # the second time: others will do again what runs here
        worker.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    running = asyncio.create_task(worker.run())
    ready = asyncio.create_task(worker.ready.wait())
    released = asyncio.create_task(reader.read())
    released.add_done_callback(lambda _: worker.stop())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        writer.write(f"ready {worker.id}\n".encode())
    await running
    released.cancel()


def _end_soon(code: int) -> None:
    """Before the loop is closed, which waits for its threads."""
    thread = threading.Timer(LINGER_SECONDS, os._exit, (code,))
    thread.daemon = True
    thread.start()


if __name__ == "__main__":
    main()
