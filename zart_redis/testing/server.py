"""A Redis for tests: the embedded server, in a temporary folder of its own, which keeps nothing on disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Self

from zart_redis.store.embedded import EmbeddedServer


class TemporaryServer:
    """Use as `with TemporaryServer() as server:`; blocks for the tenth of a second that the server takes to start."""

    url: str

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="zart-harness-"))
        try:
            self._server = EmbeddedServer.start(self._folder, options=("--appendonly", "no"))
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.url = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.release()
        shutil.rmtree(self._folder, ignore_errors=True)
