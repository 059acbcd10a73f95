"""`zart-worker`: runs a pool of worker processes until a signal stops it."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_redis import log_config
from zart_redis.cli.options import App, Concurrency, LogFormat, LogLevel, Namespace, Queues, RedisUrl, drop_none
from zart_redis.cli.running import command_line, run, run_pool, settings_checked
from zart_redis.worker.pool import Pool

app = command_line(name="zart-worker")


@app.command()
def zart_worker(
    queue: Queues = None,
    app: App = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
    concurrency: Concurrency = None,
    grace: Annotated[
        str | None, typer.Option(help="Time that running steps have to finish after SIGTERM. [default: 30s]")
    ] = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run handlers and steps. SIGTERM lets running steps finish, hands back the rest and exits; a second one kills."""
    arguments = drop_none(
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
    log_config.configure(pool.settings.log_level, pool.settings.log_format, secrets=pool.settings.hidden)
    run(run_pool(pool))


def main() -> None:
    """The console script."""
    app()
