"""`zart dev`: one worker of this folder's app in the foreground, restarted when its code changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from zart_redis import log_config
from zart_redis.cli import output
from zart_redis.cli.options import App, Concurrency, LogLevel, Namespace, Queues, RedisUrl, drop_none
from zart_redis.cli.running import Code, interruptions, run, settings_checked
from zart_redis.errors import ConfigurationError
from zart_redis.settings import Settings
from zart_redis.store.embedded import embedded_server
from zart_redis.store.store import EMBEDDED_FOLDER
from zart_redis.urls import redacted_url
from zart_redis.worker.app import DEFAULT_APP
from zart_redis.worker.pool import Pool

POLL_SECONDS = 0.5
GRACE = "3s"
"""Short: the developer is waiting for the restart."""

Snapshot = Mapping[Path, int]


def dev(
    queue: Queues = None,
    app: App = None,
    concurrency: Concurrency = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    log_level: LogLevel = None,
) -> None:
    """Run an embedded Redis and one worker, restarting it whenever a file of the app changes."""
    arguments = drop_none(
        queues=queue or None,
        app=app,
        concurrency=concurrency,
        redis_url=redis_url,
        namespace=namespace,
        log_level=log_level,
        log_format="console",
        grace=GRACE,
    )
    with settings_checked():
        settings = Settings.load(**arguments)
    log_config.configure(settings.log_level, "console", secrets=settings.hidden)
    run(_develop(arguments, settings))


async def _develop(arguments: Mapping[str, object], settings: Settings) -> Code:
    if settings.redis_url is not None:
        return await _reload_until_stopped(arguments, settings, redacted_url(settings.redis_url))
    async with embedded_server(EMBEDDED_FOLDER) as server:  # kept running between two workers
        return await _reload_until_stopped(arguments, settings, server.url)


async def _reload_until_stopped(arguments: Mapping[str, object], settings: Settings, redis: str) -> Code:
    name = settings.app or DEFAULT_APP
    output.echo_line(f"zart dev: app {name}, Redis at {redis}")
    output.echo_line("in another terminal: zart start TASK --data '{...}' --wait    (Ctrl-C ends this one)")
    stopped = asyncio.Event()
    while True:
        pool = Pool(arguments)
        with interruptions(partial(_stop, pool, stopped), pool.kill):
            running = asyncio.create_task(_run_reporting(pool, stopped))
            await _change_of(name, stopped)
            pool.stop()
            await running
        if stopped.is_set():
            return Code.DONE
        output.echo_line("zart dev: a file has changed; restarting")


def _stop(pool: Pool, stopped: asyncio.Event) -> None:
    stopped.set()
    pool.stop()


async def _run_reporting(pool: Pool, stopped: asyncio.Event) -> None:
    """Run the pool. An app that fails to load is only reported: its next change may fix it."""
    try:
        await pool.run()
    except ConfigurationError as error:
        output.echo_line(f"zart dev: {error}")
    except BaseException:
        stopped.set()
        raise


async def _change_of(app: str, stopped: asyncio.Event) -> None:
    """Return when a file of the app has changed, or when stopped."""
    before = _snapshot(app)
    while not stopped.is_set() and _snapshot(app) == before:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await stopped.wait()


def _snapshot(app: str) -> Snapshot:
    """The modification time of each file of the app in this folder."""
    top = app.partition(".")[0]
    files = [*Path(top).rglob("*.py"), *Path().glob(f"{top}.py")]
    times = {}
    for file in files:
        try:
            times[file] = file.stat().st_mtime_ns
        except FileNotFoundError:
            pass  # removed during the scan
    return times
