"""Redis servers whose replicas take over by themselves: under sentinels, and in a cluster."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis import exceptions
from redis.crc import key_slot

from tests.support.servers import RedisProcess, cluster, free_port

PATIENCE_SECONDS = 60.0
REPLICA_OPTIONS = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class FailoverSetup(ABC):
    url: str
    nodes: Sequence[RedisProcess]

    @abstractmethod
    def master_of(self, partition: str) -> RedisProcess:
        """The server that the keys with this prefix are written to."""

    async def fail_over(self, master: RedisProcess) -> None:
        """Kill a master, and return when a replica has taken over."""
        successors = [node for node in self.nodes if node is not master and not _is_master(node)]
        await asyncio.to_thread(master.kill9)
        await _until(lambda: any(map(_is_master, successors)))

    async def bring_back(self, node: RedisProcess) -> None:
        """Start a master that has been replaced, and return when it follows the new one."""
        await asyncio.to_thread(node.start)
        await _until(lambda: all(map(_in_step, self.nodes)))


class SentinelSetup(FailoverSetup):
    def __init__(self, nodes: Sequence[RedisProcess], sentinels: Sequence[RedisProcess]) -> None:
        self.nodes = nodes
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        self.url = f"redis+sentinel://{hosts}/mymaster"

    def master_of(self, partition: str) -> RedisProcess:
        return next(filter(_is_master, self.nodes))


class ClusterSetup(FailoverSetup):
    def __init__(self, nodes: Sequence[RedisProcess]) -> None:
        self.nodes = nodes
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"

    def master_of(self, partition: str) -> RedisProcess:
        slot = key_slot(partition.encode())
        with next(filter(_is_master, self.nodes)).connect() as client:
            found: Any = client.execute_command("CLUSTER", "SLOTS")
        port = next(master[1] for first, last, master, *_ in found if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)


@asynccontextmanager
async def sentinel_setup(binary: Path | None = None) -> AsyncIterator[SentinelSetup]:
    """A master, two replicas and three sentinels."""
    async with AsyncExitStack() as stack:
        master = stack.enter_context(RedisProcess(binary, port=free_port(), options=REPLICA_OPTIONS))
        options = (*REPLICA_OPTIONS, "--replicaof", "127.0.0.1", str(master.port))
        replicas = [stack.enter_context(RedisProcess(binary, port=free_port(), options=options)) for _ in range(2)]
        nodes = [master, *replicas]
        await _until(lambda: all(map(_in_step, nodes)))
        sentinels = [stack.enter_context(_Sentinel(master.port, binary)) for _ in range(3)]
        await _until(lambda: all(_knows_the_others(sentinel) for sentinel in sentinels))
        yield SentinelSetup(nodes, sentinels)


@asynccontextmanager
async def cluster_setup(binary: Path | None = None) -> AsyncIterator[ClusterSetup]:
    """Three masters with a replica each. While one is dead the others serve their slots."""
    settings = (*REPLICA_OPTIONS, "--cluster-require-full-coverage", "no")
    async with cluster(3, replicas=1, settings=settings, binary=binary) as nodes:
        await _until(lambda: all(map(_in_step, nodes)))
        yield ClusterSetup(nodes)


class _Sentinel(RedisProcess):
    def __init__(self, master_port: int, binary: Path | None) -> None:
        super().__init__(binary, port=free_port())
        configuration = self.folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor mymaster 127.0.0.1 {master_port} 2\n"
            f"sentinel down-after-milliseconds mymaster 1000\n"
            "sentinel failover-timeout mymaster 5000\n"
        )
        self._command = [
            *(self.binary, configuration, "--sentinel", "--dir", self.folder, "--port", str(self.port)),
            *("--bind", "127.0.0.1", "--unixsocket", self.socket, "--logfile", self.folder / "redis.log"),
        ]


def _knows_the_others(sentinel: RedisProcess) -> bool:
    with sentinel.connect() as client:
        found: Any = client.execute_command("SENTINEL", "MASTER", "mymaster")
    return [int(found[name]) for name in (b"num-slaves", b"num-other-sentinels")] == [2, 2]


def _replication(node: RedisProcess) -> dict[str, Any]:
    """Empty while it is away or loads."""
    try:
        with node.connect() as client:
            found: Any = client.info("replication")
            return dict(found)
    except exceptions.RedisError:
        return {}


def _is_master(node: RedisProcess) -> bool:
    return _replication(node).get("role") == "master"


def _in_step(node: RedisProcess) -> bool:
    """Whether it is a master that has a replica, or a replica that follows its master."""
    found = _replication(node)
    return found.get("master_link_status") == "up" or (found.get("role") == "master" and found["connected_slaves"] > 0)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)
