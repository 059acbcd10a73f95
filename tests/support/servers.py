"""Redis servers for tests: real processes that a test may stop, kill, freeze and start again."""

import asyncio
import os
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.retry import Retry

from zart_redis.store.embedded import find_redis_server


@cache
def installed_servers() -> dict[str, Path]:
    """The servers to test on by name and version, as in ``{"redis-6.2": ..., "valkey-8.1": ...}``.

    Only that of the variable ZART_TEST_SERVER, a path or a command, if it is set.
    """
    if chosen := os.environ.get("ZART_TEST_SERVER"):
        return {server_name(found): found for found in [_program(chosen)]}
    on_path = shutil.which("redis-server")
    found: dict[str, Path] = {}
    for binary in (find_redis_server(), *([Path(on_path)] if on_path else [])):
        found.setdefault(server_name(binary), binary)
    return found


def default_server() -> Path:
    return next(iter(installed_servers().values()))


def _program(name: str) -> Path:
    found = shutil.which(name)
    assert found, f"ZART_TEST_SERVER: there is no program {name}"
    return Path(found)


def server_name(binary: Path) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"(\w+) server v=(\d+\.\d+)", said)
    assert version, said
    return f"{version[1].lower()}-{version[2]}"


def speaks_tls(binary: Path) -> bool:
    """Whether the server was built with TLS. One that was asks for a certificate, and ends."""
    command = [str(binary), "--port", "0", "--tls-port", str(free_port())]
    return "No tls-cert-file" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


def free_port() -> int:
    """A port that is free, as is the one 10,000 above it, which a cluster node takes for its bus."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as node, socket.socket() as bus, suppress(OSError):
            node.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port


class Proxy:
    """A TCP address that leads to a server's unix socket, and can misbehave as networks do.

    ``delay`` is how many seconds each piece of a reply is held back; ``reset()`` breaks all connections. With ``tls``
    it speaks TLS to its clients.
    """

    def __init__(self, target: Path, delay: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.delay = delay
        self._target = target
        self._tls = tls
        self._clients: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        await asyncio.sleep(0.01)  # for the handlers to notice

    def reset(self) -> None:
        """Break every connection the hard way: the peer gets a RST, not an orderly end."""
        for writer in self._clients:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        upstream, upstream_writer = await asyncio.open_unix_connection(str(self._target))
        try:
            async with asyncio.TaskGroup() as tasks:
                requests = tasks.create_task(self._copy(reader, upstream_writer))
                replies = tasks.create_task(self._copy(upstream, writer, delayed=True))
                await asyncio.wait([requests, replies], return_when=asyncio.FIRST_COMPLETED)
                requests.cancel()
                replies.cancel()
        finally:
            self._clients.discard(writer)
            writer.close()
            upstream_writer.close()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, delayed: bool = False) -> None:
        with suppress(OSError, RuntimeError):  # RuntimeError: uvloop's, for a closed transport
            while piece := await source.read(65536):
                if delayed:
                    await asyncio.sleep(self.delay)
                sink.write(piece)


class RedisProcess:
    """A redis-server in a temporary folder of its own, on a unix socket and, if asked for, a port.

    Without ``appendonly`` it forgets everything when it ends. ``options`` are more arguments for the server.
    """

    def __init__(
        self,
        binary: Path | None = None,
        *,
        port: int = 0,
        appendonly: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="zart-test-"))
        self.socket = self.folder / "redis.sock"
        self.binary = binary or default_server()
        self.port = port
        self.url = f"unix://{self.socket}"
        self.tcp_url = f"redis://127.0.0.1:{port}"
        self._command: list[str | Path] = [
            *(self.binary, "--dir", self.folder, "--save", ""),
            *("--appendonly", "yes" if appendonly else "no", "--appendfsync", "always"),
            *("--unixsocket", self.socket, "--port", str(port), "--bind", "127.0.0.1"),
            *("--logfile", self.folder / "redis.log"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process, "it does not run"
        return self._process.pid

    def start(self) -> Self:
        """Start it, and return when it answers."""
        self.start_without_waiting()
        assert self._process
        deadline = time.monotonic() + 30
        with self.connect() as client:
            while True:
                try:
                    client.ping()
                    return self
                except redis.ConnectionError:
                    assert self._process.poll() is None, (self.folder / "redis.log").read_text()
                    assert time.monotonic() < deadline, "it does not answer"
                    time.sleep(0.01)

    def start_without_waiting(self) -> None:
        """Start it, and return while it may not yet listen."""
        assert self._process is None, "it runs already"
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """End it without a word, as a crash of the machine would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it hold still, its connections open, as a network that swallows everything would."""
        os.kill(self.pid, signal.SIGSTOP)

    def unfreeze(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def aof(self) -> Path | None:
        """The AOF: from Redis 7 on the last of several files. None before the first write."""
        files = [*self.folder.glob("appendonly.aof"), *self.folder.glob("appendonlydir/*.incr.aof")]
        return max(files, key=lambda file: int("0" + "".join(filter(str.isdigit, file.name))), default=None)

    def connect(self) -> redis.Redis:
        """A synchronous client that tries once."""
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def close(self) -> None:
        """End it if it runs, and remove its folder."""
        if self._process:
            self.kill9()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        assert self._process, "it does not run"
        self.unfreeze()
        self._process.send_signal(how)
        self._process.wait(timeout=30)
        self._process = None


@asynccontextmanager
async def cluster(
    masters: int, *, replicas: int = 0, settings: Sequence[str] = (), **options: Any
) -> AsyncIterator[list[RedisProcess]]:
    """A Redis Cluster of so many masters, which share the slots evenly, and then so many replicas of each.

    `settings` are more arguments for the servers, `options` those of `RedisProcess`.
    """
    settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *settings)
    number = masters * (1 + replicas)
    async with AsyncExitStack() as stack:
        nodes = [
            stack.enter_context(RedisProcess(port=free_port(), options=settings, **options)) for _ in range(number)
        ]
        ids: list[Any] = []
        for place, node in enumerate(nodes):
            with node.connect() as client:
                if place < masters:
                    first, last = (SLOTS * edge // masters for edge in (place, place + 1))
                    client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last))
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
                ids.append(client.execute_command("CLUSTER", "MYID"))
        async with asyncio.timeout(20):
            while not all(_sees(node, number) for node in nodes):
                await asyncio.sleep(0.05)
        for place in range(masters, number):
            with nodes[place].connect() as client:
                client.execute_command("CLUSTER", "REPLICATE", ids[place % masters])
        yield nodes


def _sees(node: RedisProcess, number: int) -> bool:
    with node.connect() as client:
        state: Any = client.execute_command("CLUSTER", "INFO")
        return all(sign in state for sign in (b"cluster_state:ok", f"cluster_known_nodes:{number}\r".encode()))
