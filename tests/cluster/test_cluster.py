"""A real cluster of three masters: partitions are spread over them, and work goes on when one dies or a slot moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.crc import key_slot

import zart_redis as zart
from tests.support.servers import RedisProcess, cluster
from tests.support.waiting import SOON
from zart_redis import layout, zart_durable, zart_step
from zart_redis.store.signals import Signals

pytestmark = pytest.mark.anyio

NAMESPACE = "spread"
PARTITIONS = 6
EXECUTIONS = 60
LONG = "60s"


@zart_step("cluster-part-{number}")
async def part(number: int) -> int:
    await asyncio.sleep(0.005)
    return number


@zart_durable("cluster-job")
async def job(number: int) -> int:
    total = await part(1)
    total += sum(result.unwrap() for result in await zart.wait([zart.schedule(part(n)) for n in (2, 3, 4)]))
    await zart.sleep("nap", "20ms")
    return total + await zart.wait_for_event("bonus", type=int) + await part(5) + number


@asynccontextmanager
async def running(nodes: list[RedisProcess]) -> AsyncIterator[zart.DurableScheduler]:
    """A scheduler, and two workers."""
    url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
    settings: dict[str, Any] = {"namespace": NAMESPACE, "partitions": PARTITIONS}
    worker: dict[str, Any] = {**settings, "handlers": [job], "lease": "2s", "grace": "100ms"}
    async with (
        zart.DurableScheduler(url, **settings) as scheduler,
        zart.Worker(url, **worker),
        zart.Worker(url, **worker),
    ):
        yield scheduler


async def start(scheduler: zart.DurableScheduler) -> dict[str, int]:
    """The outputs that are expected of them, by id."""
    ids = {f"job-{number}": 15 + 100 + number for number in range(EXECUTIONS)}
    requests = [(id, job.name, number) for number, id in enumerate(ids)]
    assert await scheduler.start_many(requests) == [1] * EXECUTIONS
    return ids


async def finish(scheduler: zart.DurableScheduler, expected: dict[str, int]) -> None:
    """All get their event, and end as they should; nothing is left behind."""
    await asyncio.gather(*(scheduler.offer_event(id, "bonus", 100) for id in expected))
    outputs = await asyncio.gather(*(scheduler.wait_for(job, id, LONG) for id in expected))
    assert dict(zip(expected, outputs, strict=True)) == expected
    assert not await scheduler.doctor()
    stats = await scheduler.stats()
    assert stats.by_status == {zart.ExecutionStatus.COMPLETED: EXECUTIONS}
    depth = stats.queues["default"]
    assert (depth.queued, depth.held) == (0, 0)


def slots() -> list[int]:
    return [key_slot(layout.prefix(NAMESPACE, partition).encode()) for partition in range(PARTITIONS)]


async def test_an_execution_lives_on_one_node_and_all_of_them_together_on_all() -> None:
    async with cluster(3) as nodes, running(nodes) as scheduler:
        expected = await start(scheduler)
        await scheduler.pause(task_name=job.name)
        await scheduler.resume(task_name=job.name)
        await scheduler.start("cancelled", job.name, 0, delay="1h")
        assert await scheduler.cancel("cancelled")
        assert await scheduler.purge(status="cancelled") == 1
        await finish(scheduler, expected)
        listed: list[str] = []
        cursor: str | None = None
        while cursor is not None or not listed:
            page = await scheduler.list_executions(limit=25, order="oldest", cursor=cursor)
            listed += [record.execution_id for record in page]
            cursor = page.cursor
        assert sorted(listed) == sorted(expected)
        for node in nodes:
            with node.connect() as client:
                held = set(client.scan_iter("*:x:*", count=1000))
                assert held, "a master holds no execution"
                assert {key_slot(key) for key in held} <= set(slots())


async def test_a_master_is_killed_and_comes_back() -> None:
    async with cluster(3, appendonly=True) as nodes, running(nodes) as scheduler:
        expected = await start(scheduler)
        nodes[1].kill9()
        await asyncio.sleep(0.5)  # for the others to notice, or not
        nodes[1].start()
        await finish(scheduler, expected)


async def test_a_partition_moves_to_another_master_under_load() -> None:
    async with cluster(3) as nodes, running(nodes) as scheduler:
        expected = await start(scheduler)
        for slot in slots()[:3]:
            await asyncio.to_thread(move, nodes, slot)
        await finish(scheduler, expected)
        await scheduler.start_for(job, "later", 1)
        await scheduler.offer_event("later", "bonus", 1)
        assert await scheduler.wait_for(job, "later", SOON) == 17


async def test_a_wait_ends_though_its_message_was_lost_between_two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the node on which it was published dies before it has passed it on."""
    dispatch = Signals._dispatch

    def lose(signals: Signals, message: dict[str, Any]) -> None:
        if message["type"] != "message":
            dispatch(signals, message)

    monkeypatch.setattr(Signals, "_dispatch", lose)
    monkeypatch.setattr("zart_redis.store.signals.RELAY_SECONDS", 0.05)
    async with cluster(3) as nodes, zart.DurableScheduler(f"redis+cluster://127.0.0.1:{nodes[0].port}") as scheduler:
        await scheduler.start_for(job, "unheard", 1)
        waiting = asyncio.create_task(scheduler.wait("unheard", SOON))
        while not _listened_to(nodes):
            await asyncio.sleep(0.01)
        await scheduler.cancel("unheard")
        assert (await waiting).status is zart.ExecutionStatus.CANCELLED


async def test_while_a_master_is_dead_others_go_on_though_it_passed_their_messages_on() -> None:
    async with cluster(3, settings=("--cluster-require-full-coverage", "no")) as nodes, running(nodes) as scheduler:
        await start(scheduler)
        (dead,) = _listened_to(nodes)
        nodes[dead].kill9()
        owners = [slot * len(nodes) // 16384 for slot in slots()]
        ids = [f"later-{number}" for number in range(20)]
        served = [id for id in ids if owners[layout.partition_of(id, PARTITIONS)] != dead]
        assert served
        for id in served:
            await scheduler.start_for(job, id, 1)
            await scheduler.offer_event(id, "bonus", 1)
            assert await scheduler.wait_for(job, id, LONG) == 17


def _listened_to(nodes: list[RedisProcess]) -> list[int]:
    found: list[int] = []
    for number, node in enumerate(nodes):
        with node.connect() as client:
            if client.pubsub_channels():
                found.append(number)
    return found


def move(nodes: list[RedisProcess], slot: int) -> None:
    """Hand a slot with all its keys to the next master, as redis-cli does it."""
    owner = slot * len(nodes) // 16384
    source, target = nodes[owner], nodes[(owner + 1) % len(nodes)]
    with source.connect() as old, target.connect() as new:
        old_id, new_id = (client.execute_command("CLUSTER", "MYID") for client in (old, new))
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        while found := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *found)
        for client in (new, old):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)
