"""`zart-worker`: a pool of worker processes, until it is told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_redis import logs
from zart_redis.cli.options import App, Concurrency, LogFormat, LogLevel, Namespace, Queues, RedisUrl, given
from zart_redis.cli.running import command_line, run, run_pool, settings_checked
from zart_redis.worker.pool import Pool

app = command_line(name="zart-worker")


@app.command()
def zart_worker(
    queue: Queues = None,
    app: App = None,
    processes: Annotated[int, typer.Option(min=1, help="Worker processes, each with an event loop.")] = 1,
    concurrency: Concurrency = None,
    grace: Annotated[
        str | None, typer.Option(help="How long running steps may take to end at SIGTERM. [default: 30s]")
    ] = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run handlers and steps. SIGTERM lets running steps end, hands the rest back and exits; a second one ends now."""
    arguments = given(
        queues=queue or None,
        app=app,
        concurrency=concurrency,
        grace=grace,
        redis_url=redis_url,
        namespace=namespace,
        log_level=log_level,
        log_format=log_format,
    )
    with settings_checked():
        pool = Pool(arguments, processes=processes)
    logs.configure(pool.settings.log_level, pool.settings.log_format, secrets=pool.settings.secrets)
    run(run_pool(pool))


def main() -> None:
    """The console script."""
    app()
