"""Servers that die in a given way, alone or with a replica that takes over."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from tests.faults.network import Network
from tests.soak.power import AofWatch
from tests.support.servers import RedisProcess, free_port

REPLICATION_DELAY = 0.005
"""Seconds on the way to the replica, as to another zone: within one machine there would be next to nothing to lose."""


class Death(StrEnum):
    KILL = "kill -9, restarted"
    POWER_CUT = "power cut, restarted"
    FAILOVER = "kill -9, replica promoted"


class ServerSetup(Protocol):
    primary: RedisProcess

    async def die(self) -> RedisProcess:
        """Kill the primary. Returns the server that clients would use from then on."""
        ...


@asynccontextmanager
async def server_setup(death: Death, appendfsync: str, binary: Path) -> AsyncIterator[ServerSetup]:
    options = ("--appendfsync", appendfsync, "--repl-diskless-sync-delay", "0")
    with RedisProcess(binary, port=free_port(), appendonly=True, options=options) as primary:
        if death is not Death.FAILOVER:
            async with AofWatch(primary) as watch:
                yield _Single(primary, watch if death is Death.POWER_CUT else None)
            return
        with RedisProcess(binary, appendonly=True, options=options) as replica:
            async with Network(primary.socket, REPLICATION_DELAY) as line:
                await asyncio.to_thread(_replicate, replica, int(line.url.rpartition(":")[2]))
                yield _Replicated(primary, replica, line)


class _Single:
    def __init__(self, primary: RedisProcess, watch: AofWatch | None) -> None:
        self.primary = primary
        self._watch = watch

    async def die(self) -> RedisProcess:
        died = time.time()
        self.primary.kill9()
        if self._watch:
            self._watch.cut(died - random.uniform(0, 1))
        await asyncio.to_thread(self.primary.start)
        return self.primary


class _Replicated:
    """What is in transit to the replica when the primary dies is lost."""

    def __init__(self, primary: RedisProcess, replica: RedisProcess, line: Network) -> None:
        self.primary = primary
        self._replica = replica
        self._line = line

    async def die(self) -> RedisProcess:
        self.primary.kill9()  # nothing moves on the line meanwhile: it is of this event loop
        self._line.reset()
        await asyncio.to_thread(_promote, self._replica)
        return self._replica


def _replicate(replica: RedisProcess, port: int) -> None:
    with replica.connect() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", port)
    _await_link(replica, "up")


def _promote(replica: RedisProcess) -> None:
    """When it has read all that has arrived."""
    _await_link(replica, "down")
    with replica.connect() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")


def _await_link(replica: RedisProcess, state: str) -> None:
    deadline = time.monotonic() + 15
    with replica.connect() as client:
        while True:
            replication: Any = client.info("replication")
            if replication["master_link_status"] == state:
                return
            assert time.monotonic() < deadline, f"the replica's link does not go {state}"
            time.sleep(0.02)
