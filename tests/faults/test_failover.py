"""A replica is promoted and the old master demoted, under one URL: what wrote to the old one finds the new one."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.faults.app import chain, job, parked
from tests.faults.network import Network
from tests.support.servers import RedisProcess, free_port
from tests.support.waiting import SOON, reaches, until
from tests.support.workers import running_worker

pytestmark = pytest.mark.anyio


@dataclass
class Pair:
    """A master and its replica; `fail_over` swaps them."""

    master: RedisProcess
    replica: RedisProcess

    def catch_up(self) -> None:
        with self.replica.connect() as replica:
            deadline = time.monotonic() + 15
            while _replication(replica).get("master_link_status") != "up":
                assert time.monotonic() < deadline, "the replica does not come up"
                time.sleep(0.02)

    def cut_off(self) -> None:
        """The replica hears nothing any more, and does not know it."""
        with self.replica.connect() as replica:
            replica.execute_command("REPLICAOF", "127.0.0.1", "1")

    def fail_over(self) -> None:
        with self.master.connect() as old, self.replica.connect() as new:
            new.execute_command("REPLICAOF", "NO", "ONE")
            old.execute_command("REPLICAOF", "127.0.0.1", str(self.replica.port))
        self.master, self.replica = self.replica, self.master


def _replication(client: redis.Redis) -> Any:
    return client.info("replication")


@pytest.fixture
def pair(redis_server: RedisProcess) -> Iterator[Pair]:
    options = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--appendfsync", "no")
    with (
        RedisProcess(redis_server.binary, port=free_port(), options=options) as master,
        RedisProcess(redis_server.binary, port=free_port(), options=options) as replica,
    ):
        with replica.connect() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", str(master.port))
        pair = Pair(master, replica)
        pair.catch_up()
        yield pair


async def test_work_goes_on_at_the_new_master(pair: Pair) -> None:
    """Connections to the old one are left open: it says READONLY, and has to be left."""
    async with (
        Network(pair.master.socket) as network,
        zart.DurableScheduler(network.url, ack="replicas:1") as scheduler,
    ):
        async with running_worker(scheduler, lease="2s", ack="replicas:1"):
            await scheduler.start_for(parked, "parked")
            await reaches(scheduler, "parked", "waiting", "event go")
            await scheduler.start_many([(f"j{n}", "faults-job", n) for n in range(20)])
            await asyncio.gather(*(scheduler.offer_event(f"j{n}", "bonus", n) for n in range(10)))
            waiting = asyncio.create_task(scheduler.wait_for(parked, "parked", SOON))
            network.lead_to(pair.replica.socket)
            await asyncio.to_thread(pair.fail_over)
            await asyncio.gather(*(scheduler.offer_event(f"j{n}", "bonus", n) for n in range(10, 20)))
            for number in range(20):
                assert await scheduler.wait_for(job, f"j{number}", SOON) == 16 + number
            await scheduler.offer_event("parked", "go", "on")
            assert await waiting == "on"
            assert await scheduler.start_and_wait_for(chain, "new", 3, SOON) == 3
        assert await scheduler.doctor() == []


async def test_without_a_wait_for_replicas_an_acknowledged_start_can_be_lost(pair: Pair) -> None:
    """What `ack="memory"` does not promise."""
    async with Network(pair.master.socket) as network, zart.DurableScheduler(network.url) as scheduler:
        pair.cut_off()
        await scheduler.start_for(parked, "p")
        network.lead_to(pair.replica.socket)
        network.reset()
        await asyncio.to_thread(pair.fail_over)
        with pytest.raises(zart.ExecutionNotFound):
            await scheduler.status("p")


async def test_with_it_what_no_replica_has_is_not_acknowledged(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zart_redis.client.connection.PATIENCE_SECONDS", 1.5)
    async with (
        Network(pair.master.socket) as network,
        zart.DurableScheduler(network.url, ack="replicas:1") as scheduler,
    ):
        assert await scheduler.start_for(parked, "safe") == 1
        pair.cut_off()
        with pytest.raises(zart.RedisUnavailable, match="not confirmed"):
            await scheduler.start_for(parked, "unsafe")
        network.lead_to(pair.replica.socket)
        network.reset()
        await asyncio.to_thread(pair.fail_over)
        assert (await scheduler.status("safe")).status == "scheduled"


async def test_a_replica_that_comes_back_confirms_what_was_held_up(pair: Pair) -> None:
    async with zart.DurableScheduler(pair.master.url, ack="replicas:1") as scheduler:
        assert await scheduler.start_for(parked, "before") == 1
        pair.cut_off()
        starting = asyncio.create_task(scheduler.start_for(parked, "p"))
        await asyncio.sleep(0.3)
        assert not starting.done()
        assert (await scheduler.status("p")).status == "scheduled", "reading needs no confirmation"
        with pair.replica.connect() as replica:
            replica.execute_command("REPLICAOF", "127.0.0.1", str(pair.master.port))
        assert await starting == 1
        await until(lambda: _known(pair.replica, "p"))


def _known(server: RedisProcess, execution_id: str) -> bool:
    with server.connect() as client:
        return bool(client.exists(f"{{zart:0}}:x:{execution_id}"))
