"""The user of Redis that the page of the store shows is allowed all that is done, and no more."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis import exceptions

import zart_redis as zart
from tests.fundamentals.helpers import SOON, a_worker, reaches, until
from tests.servers import RedisProcess
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio

PAGE = Path(zart.__file__).parent / "store" / "README.md"


@pytest.fixture
def admin(redis_server: RedisProcess) -> Iterator[redis.Redis]:
    """May do everything."""
    with redis_server.connect() as client:
        yield client


@pytest.fixture
def restricted_url(admin: redis.Redis, redis_url: str, namespace: str) -> Iterator[str]:
    """The server as that user, in the namespace of the test."""
    found = re.search(r"ACL SETUSER [^`]*", PAGE.read_text())
    assert found
    admin.execute_command(*found[0].replace("{zart:", f"{{{namespace}:").split())  # type: ignore[no-untyped-call]
    admin.acl_log_reset()
    yield redis_url.replace("://", "://zart:password@", 1)
    admin.acl_deluser("zart")


@zart_step("permitted-{number}", retry="fixed(1, 10ms)", timeout="10s")
async def step(number: int) -> int:
    if number == 1 and not zart.context().is_retry():
        raise ValueError("not yet")
    return number


@zart_step
async def refuse() -> int:
    raise ValueError("no")


@zart_durable("permitted", timeout="1m")
async def everything() -> int:
    await zart.sleep("nap", "10ms")
    results = await zart.wait([zart.schedule(step(number)) for number in range(3)])
    return sum(result.unwrap() for result in results) + int(await zart.wait_for_event("go", "1m", type=int))


@zart_durable("permitted-to-fail")
async def failing() -> int:
    return await refuse()


async def test_the_least_privileges_suffice(admin: redis.Redis, restricted_url: str, namespace: str) -> None:
    async with (
        zart.DurableScheduler(restricted_url, namespace=namespace) as scheduler,
        zart.EventClient(restricted_url, namespace=namespace) as events,
    ):
        await scheduler.pause(task_name="permitted")
        async with a_worker(scheduler):
            await scheduler.start_for(everything, "e", delay="10ms")
            (rule,) = await scheduler.list_pause_rules()
            await reaches(scheduler, "e", "scheduled", f"the end of pause rule {rule.rule_id}")
            await scheduler.resume(task_name="permitted")
            await events.offer_event("e", "go", 1)
            assert await scheduler.wait_for(everything, "e", SOON) == 4
            await scheduler.rerun_steps("e", rerun=["permitted-*"])
            assert await scheduler.wait_for(everything, "e", SOON) == 4
            await scheduler.restart("e")
            assert await scheduler.cancel("e")
            await scheduler.start_many([("f", "permitted-to-fail", None)])
            await scheduler.wait("f", SOON)
            await scheduler.retry_step("f", "refuse")
            await scheduler.wait("f", SOON)
        dead = f"{{{namespace}:0}}:workers"
        admin.zadd(dead, {"the-dead": 1})
        async with a_worker(scheduler):
            await until(lambda: admin.zscore(dead, "the-dead") is None)
        assert [record.execution_id for record in await scheduler.list_executions(id_prefix="e")] == ["e"]
        assert len(await scheduler.list_executions(status="failed", order="oldest")) == 1
        assert len((await scheduler.detail("e", 1)).steps) == 5
        assert len(await scheduler.runs("e")) == 3
        assert await scheduler.workers() == []
        assert (await scheduler.stats()).queues["default"].queued == 0
        assert await scheduler.doctor(repair=True) == []
        assert await scheduler.purge() == 2
    refused = [str(entry["object"]) for entry in admin.acl_log()]
    assert set(refused) <= {"client", "client|setinfo"}  # in which redis-py only gives its name


async def test_keys_of_others_and_other_commands_are_refused(restricted_url: str, namespace: str) -> None:
    with redis.Redis.from_url(restricted_url) as client:
        for refused in (("HGETALL", "other"), ("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("EVAL", "", "0")):
            with pytest.raises(exceptions.NoPermissionError):
                client.execute_command(*refused)
