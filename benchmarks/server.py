"""The Redis that is measured: one of its own in a temporary folder, or one that runs already."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from zart_redis.store.embedded import EmbeddedServer

PATIENCE_SECONDS = 120.0
"""How long a read may block."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running Redis, seen from outside of what is measured."""

    url: str
    client: redis.Redis

    def info(self, section: str) -> dict[str, Any]:
        found: Any = self.client.info(section)
        return dict(found)

    @property
    def version(self) -> str:
        """Name and version. Valkey's `redis_version` is the one of Redis that it is compatible with."""
        found = self.info("server")
        return f"Valkey {found['valkey_version']}" if "valkey_version" in found else f"Redis {found['redis_version']}"

    def cpu_seconds(self) -> float:
        """What the server's own process has used, in its threads and in the kernel."""
        cpu = self.info("cpu")
        return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    def calls(self) -> Counter[str]:
        """How often each command was carried out, those that scripts call included."""
        stats = self.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): int(each["calls"]) for name, each in stats.items()})

    def memory_by_kind(self, prefix: str) -> Counter[str]:
        """The bytes of all keys that begin with a prefix, by what stands between it and the next colon."""
        keys: list[bytes] = list(self.client.scan_iter(f"{prefix}*", count=1000))
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.memory_usage(key, samples=0)
        sizes: list[int | None] = pipeline.execute()
        kinds: Counter[str] = Counter()
        for key, size in zip(keys, sizes, strict=True):
            kinds[key.decode().removeprefix(prefix).split(":")[0]] += size or 0
        return kinds

    def forget(self, pattern: str) -> None:
        """Remove the keys that match, a thousand at a time."""
        keys: list[bytes] = []
        for key in self.client.scan_iter(pattern, count=1000):
            keys.append(key)
            if len(keys) == 1000:
                self.client.unlink(*keys)
                keys.clear()
        if keys:
            self.client.unlink(*keys)

    @contextmanager
    def synced(self, how: str) -> Iterator[None]:
        """With another `appendfsync` for the length of a block."""
        before: Any = self.client.config_get("appendfsync")
        self.client.config_set("appendfsync", how)
        try:
            yield
        finally:
            self.client.config_set("appendfsync", before["appendfsync"])


@contextmanager
def running_server(url: str) -> Iterator[Server]:
    """One that somebody else keeps running; nothing but the workload should use it meanwhile."""
    with closing(redis.Redis.from_url(url, socket_timeout=PATIENCE_SECONDS)) as client:
        yield Server(url, client)


@contextmanager
def temporary_server(binary: Path | None = None, *, by_tcp: bool = False) -> Iterator[Server]:
    """The embedded server as users get it, AOF included: by default of the redis-server that comes with it."""
    folder = Path(tempfile.mkdtemp(prefix="zart-bench-"))
    port = _free_port() if by_tcp else 0
    options = ("--bind", "127.0.0.1", "--port", str(port))
    try:
        with (
            EmbeddedServer.start(folder, binary=binary, options=options) as embedded,
            running_server(f"redis://127.0.0.1:{port}" if by_tcp else embedded.url) as server,
        ):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
