"""A Redis for tests: the embedded server, in a temporary folder, which keeps nothing on disk."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import anyio.to_thread

from zart_redis.store.embedded import EmbeddedServer

_GUARD = 'read -r word; [ -n "$word" ] && exit; kill -9 "$1"; rm -rf -- "$2"'
"""The shell script of a guard: unless it is sent a line, it ends the server when the pipe to its owner closes."""


class TemporaryServer:
    """Use as `with TemporaryServer() as server:`; blocks for the tenth of a second that the server takes to start.

    A guard process ends the server if this process is killed.
    """

    url: str

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="zart-harness-"))
        try:
            self._server = EmbeddedServer.start(self._folder, options=("--appendonly", "no"))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.url = self._server.url
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "zart-guard", str(self._server.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.communicate(b"released\n")
        self._server.release()
        shutil.rmtree(self._folder, ignore_errors=True)


@asynccontextmanager
async def temporary_server() -> AsyncIterator[TemporaryServer]:
    """One that starts and stops in a thread."""
    server = await anyio.to_thread.run_sync(TemporaryServer().__enter__)
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True), suppress(FileNotFoundError):
            await anyio.to_thread.run_sync(server.__exit__)
