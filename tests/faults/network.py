"""A network that fails at the moment a test says: it loses a reply, or a part of it, or leads elsewhere."""

import asyncio
from pathlib import Path
from typing import Self

from tests.support.servers import Proxy
from zart_redis.store.lua import SCRIPTS


class Network(Proxy):
    """The way to a server. ``lose_reply`` breaks the connection in the middle of the next reply to a script."""

    def __init__(self, target: Path, delay: float = 0.0) -> None:
        super().__init__(target, delay)
        self._script: bytes | None = None
        self._kept = 0
        self._sent: dict[str, int] = {}
        self.lost = asyncio.Event()
        """Set when a reply has been lost."""
        self.may_connect = asyncio.Event()
        """While it is not set, a new connection is made and then waits."""
        self.may_connect.set()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    def reset(self) -> None:
        self._clients = {writer for writer in self._clients if not writer.is_closing()}
        super().reset()

    def lose_reply(self, script: str, kept: int) -> None:
        """Of the next reply to this script, let only so many bytes through; then break that connection."""
        self._script, self._kept = SCRIPTS[script].sha, kept
        self.lost.clear()

    def times_sent(self, script: str) -> int:
        return self._sent.get(script, 0)

    def lead_to(self, target: Path) -> None:
        """From now on lead new connections to another server."""
        self._target = target

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.may_connect.wait()
        try:
            upstream, upstream_writer = await asyncio.open_unix_connection(str(self._target))
        except OSError:
            writer.transport.abort()
            return
        self._clients.add(writer)
        doomed = asyncio.Event()

        async def send() -> None:
            while piece := await reader.read(65536):
                for name, script in SCRIPTS.items():
                    self._sent[name] = self._sent.get(name, 0) + piece.count(script.sha)
                if self._script is not None and self._script in piece:
                    self._script = None
                    doomed.set()
                upstream_writer.write(piece)

        async def answer() -> None:
            while piece := await upstream.read(65536):
                await asyncio.sleep(self.delay)
                if doomed.is_set() and not piece.startswith(b"-NOSCRIPT"):
                    writer.write(piece[: self._kept])
                    await asyncio.sleep(0.01)  # for it to leave
                    self.lost.set()
                    return
                writer.write(piece)

        tasks = [asyncio.create_task(send()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._clients.discard(writer)
            writer.transport.abort()
            upstream_writer.close()
