"""The setting `ack`: what it accepts, what it demands of the server, and what it costs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import zart_redis as zart
from tests.faults.app import chain
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON
from tests.support.workers import running_worker
from zart_redis.settings import Settings
from zart_redis.store.connections import Connections

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("ack", ["memory", "fsync", "replicas:1", "replicas:12", " FSYNC "])
def test_what_it_accepts(ack: str) -> None:
    assert Settings.load(ack=ack).ack == ack.strip().lower()


@pytest.mark.parametrize("ack", ["", "disk", "replicas", "replicas:", "replicas:0", "replicas:-1", "replicas:1.5", 1])
def test_what_it_does_not(ack: object) -> None:
    with pytest.raises(zart.ConfigurationError, match=r"memory, fsync, or replicas:N"):
        Settings.load(ack=ack)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--appendonly", "no"], "needs an append-only file"),
        (["--appendonly", "yes", "--appendfsync", "everysec"], "appendfsync always.*everysec"),
    ],
)
async def test_fsync_is_refused_where_the_server_does_not_do_it(
    redis_server: RedisProcess, options: Sequence[str], problem: str
) -> None:
    with RedisProcess(redis_server.binary, options=options) as server:
        with pytest.raises(zart.ConfigurationError, match=problem):
            async with zart.DurableScheduler(server.url, ack="fsync"):
                pass
        with pytest.raises(zart.ConfigurationError, match=problem):
            async with zart.Worker(server.url, ack="fsync"):
                pass
        async with zart.DurableScheduler(server.url):
            pass


async def test_fsync_works_where_the_server_does_it(own_server: RedisProcess) -> None:
    async with zart.DurableScheduler(own_server.url, ack="fsync") as scheduler, running_worker(scheduler, ack="fsync"):
        assert await scheduler.start_and_wait_for(chain, "c", 5, SOON) == 10


async def test_it_is_paid_once_for_a_pipeline_and_not_for_reading(
    own_server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines: list[list[Any]] = []
    exchange = Connections.exchange

    async def watched(self: Connections, key: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipelines.append([command[0] for command in commands])
        answers = await exchange(self, key, commands)
        if pipelines[-1][-1] == "WAIT":
            answers[-1] = 1  # there is no replica
        return answers

    monkeypatch.setattr(Connections, "exchange", watched)
    monkeypatch.setattr("zart_redis.store.durability.WAIT_MS", 1)
    async with zart.DurableScheduler(own_server.url, ack="replicas:1") as scheduler:
        await scheduler.start("warm-up", "t")
        await scheduler.status("warm-up")
        pipelines.clear()
        await asyncio.gather(*(scheduler.start(f"e{n}", "t") for n in range(50)))
        assert [(len(p), p.count("WAIT")) for p in pipelines] == [(51, 1)]
        pipelines.clear()
        await asyncio.gather(*(scheduler.status(f"e{n}") for n in range(50)))
        assert [(len(p), p.count("WAIT")) for p in pipelines] == [(50, 0)]
