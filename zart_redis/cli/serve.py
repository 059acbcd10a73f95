"""`zart serve`: the HTTP API and its page."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from zart_redis import log_config
from zart_redis.cli import output
from zart_redis.cli.options import LogFormat, LogLevel, Namespace, RedisUrl, drop_none
from zart_redis.cli.running import Code, interruptions, run, settings_checked
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.client.tokens import Tokens
from zart_redis.errors import ConfigurationError, InvalidInput
from zart_redis.worker.worker import Worker

if TYPE_CHECKING:
    from zart_redis.http.server import Server

WILDCARDS = ("0.0.0.0", "::", "[::]", "")  # noqa: S104 - addresses that are no names to allow

NO_AUTH_TEXT = "no authentication: everybody who reaches this port may do everything"
LOGIN_TEXT = "log in with a token; `zart token add NAME --scope read` makes one"
MAX_BATCHES = 4
"""Batches that are carried out at the same time."""
BATCH_GRACE = "1s"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8400,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name that requests may give as their host; repeatable.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Path under which it is reached, such as /zart.")] = "",
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask for no token. Only on loopback, and never behind a proxy.")
    ] = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Serve the HTTP API and its page. SIGTERM ends it within 5 s, open streams included."""
    with settings_checked():
        logs = drop_none(log_level=log_level, log_format=log_format)
        client = DurableScheduler(redis_url, namespace=namespace, **logs)
    settings = client.settings
    log_config.configure(settings.log_level, settings.log_format, secrets=settings.hidden)
    hosts = [] if host in WILDCARDS else [f"[{host}]" if ":" in host and "[" not in host else host]
    run(_serve(client, host, port, [*hosts, *(allow_host or [])], prefix, no_auth))


async def _serve(client: DurableScheduler, host: str, port: int, hosts: list[str], prefix: str, no_auth: bool) -> Code:
    if prefix and not prefix.startswith("/"):
        raise InvalidInput(f"--prefix begins with a slash, as /zart does, not {prefix!r:.100}")
    prefix = prefix.rstrip("/")
    async with aclosing(client):
        server = await _server(client, host, port, hosts, prefix, no_auth)
        async with _batch_worker(client) as worker:
            output.echo_line(f"zart serve: listening on http://{hosts[0] if hosts else host}:{server.port}{prefix}/")
            output.echo_line(NO_AUTH_TEXT if no_auth else LOGIN_TEXT)
            with interruptions(partial(_stop, server, worker), server.kill):
                await server.run()
    return Code.DONE


def _stop(server: Server, worker: Worker) -> None:
    worker.stop()
    server.stop()


def _batch_worker(client: DurableScheduler) -> Worker:
    from zart_redis.http import batches

    return Worker(
        client.settings.redis_url,
        namespace=client.settings.namespace,
        queues=[batches.QUEUE],
        handlers=[batches.batch_handler(client)],
        concurrency=MAX_BATCHES,
        grace=BATCH_GRACE,
    )


async def _server(
    client: DurableScheduler, host: str, port: int, hosts: list[str], prefix: str, no_auth: bool
) -> Server:
    """Raises ConfigurationError if it would serve everybody, or nobody, or cannot listen."""
    try:
        from zart_redis.http.admission import LOOPBACK
        from zart_redis.http.application import app
        from zart_redis.http.server import Server, is_loopback
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ConfigurationError(f"{missing} is not installed: pip install 'zart-redis[http]'") from None
    if no_auth and not is_loopback(host):
        raise ConfigurationError(f"--no-auth is for loopback, and {host} can be reached from elsewhere")
    if not no_auth and not await Tokens(client).list():
        raise ConfigurationError(
            "there are no tokens yet, so nobody could log in: make one with `zart token add NAME --scope read`, "
            "or give --no-auth to try it on this machine"
        )
    application = app(client, auth=None if no_auth else "tokens", allowed_hosts=[*LOOPBACK, *hosts])
    return Server(application, host, port, prefix)
