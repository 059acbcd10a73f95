"""The server of `zart serve`: the application on a port, in this process."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from zart_redis.errors import ConfigurationError
from zart_redis.http.application import Application

GRACE_SECONDS = 2
"""How long requests that do not wait may take to finish after the server was stopped."""


class Server:
    """Serves an application under a prefix until it is stopped.

    Raises:
        ConfigurationError: it cannot listen on this address.
    """

    def __init__(self, application: Application, host: str, port: int, prefix: str = "") -> None:
        self._application = application
        self._socket = _listen(host, port)
        self._server = _Uvicorn(
            uvicorn.Config(
                _Prefixed(application, prefix),
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_keep_alive=15,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """End the streams, let other requests finish, and return from `run`."""
        self._application.stop()
        self._server.should_exit = True

    def kill(self) -> None:
        """Return from `run` at once."""
        self.stop()
        self._server.force_exit = True


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The command handles signals, and exits with 0."""
        yield


class _Prefixed:
    """An application under a prefix, whether or not a proxy in front of it strips it."""

    def __init__(self, application: ASGIApp, prefix: str) -> None:
        self._application = application
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application({**scope, "root_path": self._prefix}, receive, send)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {error}") from None
