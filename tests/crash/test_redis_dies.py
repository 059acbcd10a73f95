"""Redis is restarted, killed and emptied of its scripts under workers: they go on and lose nothing."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

import zart_redis as zart
from tests.support.servers import RedisProcess
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio

done: Counter[str] = Counter()


@zart_step("crash-part-{number}")
async def part(number: int) -> int:
    done[zart.context().idempotency_key] += 1
    await asyncio.sleep(0.01)
    return number


@zart_durable("crash-job")
async def job(number: int) -> int:
    total = await part(1)
    await zart.sleep("nap", "50ms")
    total += sum(result.unwrap() for result in await zart.wait([zart.schedule(part(n)) for n in (2, 3, 4)]))
    total += await zart.wait_for_event("bonus", type=int)
    return total + await part(5)


@pytest.fixture
def durable_server(redis_server: RedisProcess) -> Iterator[RedisProcess]:
    """Of the same version as the shared one, writing all it acknowledges to disk."""
    with RedisProcess(redis_server.binary, appendonly=True) as server:
        yield server


@pytest.mark.parametrize("how", ["restart", "kill9"])
async def test_redis_ends_under_load_and_nothing_is_lost(durable_server: RedisProcess, how: str) -> None:
    async def disturb() -> None:
        for _ in range(3):
            await asyncio.sleep(0.15)
            await asyncio.to_thread(durable_server.restart if how == "restart" else crash)

    def crash() -> None:
        durable_server.kill9()
        durable_server.start()

    async def run(number: int) -> int:
        await scheduler.start_for(job, f"job-{number}", number)
        await scheduler.offer_event(f"job-{number}", "bonus", number)
        return await scheduler.wait_for(job, f"job-{number}", "30s")

    async with (
        zart.DurableScheduler(durable_server.url) as scheduler,
        running_worker(scheduler),
        running_worker(scheduler),
    ):
        disturbing = asyncio.create_task(disturb())
        outcomes = await asyncio.gather(*(run(number) for number in range(40)))
        await disturbing
        assert outcomes == [15 + number for number in range(40)]
        stats = await scheduler.stats()
        assert stats.by_status == {"completed": 40}
        assert (stats.queues["default"].queued, stats.queues["default"].held) == (0, 0)


async def test_forgotten_scripts_are_loaded_again(redis_server: RedisProcess, redis_url: str, namespace: str) -> None:
    async with zart.DurableScheduler(redis_url, namespace=namespace) as scheduler, running_worker(scheduler):
        with redis_server.connect() as client:
            for number in range(10):
                await scheduler.start_for(job, f"job-{number}", number)
                client.script_flush()
                await scheduler.offer_event(f"job-{number}", "bonus", number)
                client.script_flush()
        for number in range(10):
            assert await scheduler.wait_for(job, f"job-{number}", "15s") == 15 + number
    assert {count for key, count in done.items() if key.startswith(namespace)} == {1}
