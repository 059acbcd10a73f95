"""The least-privilege ACL of docs/deployment.md: everything works with it, and nothing else is allowed by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

import zart_redis as zart
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, reaches
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.store.lua import SCRIPTS

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
RULE = re.search(r"^ACL SETUSER (zart .*?)$", PAGE.read_text().replace("\\\n", ""), re.MULTILINE)


@zart_step("acl-part-{number}", retry="fixed(1, 1ms)")
async def part(number: int) -> int:
    if number == 1 and zart.context().current_attempt == 0:
        raise RuntimeError("once")
    return number


@zart_durable("acl-job")
async def job() -> int:
    results = await zart.wait([zart.schedule(part(number)) for number in range(3)])
    await zart.sleep("nap", "1ms")
    return sum(result.unwrap() for result in results) + await part(10) + await zart.wait_for_event("go", type=int)


@pytest.fixture
def guarded(redis_server: RedisProcess) -> Iterator[RedisProcess]:
    """Of the same version as the shared one, where the user of the page exists beside the default one."""
    assert RULE, "the page has no ACL"
    with RedisProcess(redis_server.binary) as server, server.connect() as client:
        client.execute_command("ACL", "SETUSER", *RULE[1].split())
        yield server


async def test_everything_works_with_it(guarded: RedisProcess) -> None:
    url = guarded.url.replace("unix://", "unix://zart:a-long-password@")
    async with zart.DurableScheduler(url) as scheduler, running_worker(scheduler):
        await scheduler.start_for(job, "it")
        await reaches(scheduler, "it", "waiting", "event go")
        await scheduler.pause(task_name="acl-job")
        await scheduler.resume(task_name="acl-job")
        await scheduler.offer_event("it", "go", 100)
        assert await scheduler.wait_for(job, "it", SOON) == 113
        await scheduler.rerun_steps("it", rerun=["acl-part-10"])
        await scheduler.cancel("it")
        await scheduler.restart("it")
        await scheduler.offer_event("it", "go", 1)
        assert await scheduler.wait_for(job, "it", SOON) == 14
        assert (await scheduler.detail("it")).summary.run == 3
        assert [record.execution_id for record in await scheduler.list_executions(id_prefix="i")] == ["it"]
        assert (await scheduler.stats()).by_task
        assert await scheduler.workers()
        assert not await scheduler.doctor(repair=True)
        assert await scheduler.purge() == 1


def test_nothing_else_is_allowed(guarded: RedisProcess) -> None:
    with guarded.connect() as client:
        run: Any = client.execute_command
        run("AUTH", "zart", "a-long-password")
        attempts: tuple[Callable[[], object], ...] = (
            lambda: client.set("{other:0}:x:it", "1"),
            lambda: run("HGETALL", "{zart2:0}:x:it"),
            lambda: client.publish("{other:0}:timers", "1"),
            lambda: client.eval("return redis.call('HGETALL', '{other:0}:x:it')", 0),
            lambda: client.flushall(),
            lambda: client.keys("*"),
            lambda: client.config_set("maxmemory", 1),
            lambda: run("ACL", "LIST"),
        )
        for forbidden in attempts:
            with pytest.raises(exceptions.ResponseError, match=r"NOPERM|permission|can't access"):
                forbidden()


def test_it_allows_every_command_of_the_scripts() -> None:
    assert RULE
    allowed = {word[1:].replace("|", " ") for word in RULE[1].split() if word.startswith("+")}
    for script in SCRIPTS.values():
        for command, subcommand in re.findall(r"redis\.p?call\('(\w+)'(?:, '(\w+)')?", script.source.decode()):
            names = {command.lower(), f"{command} {subcommand}".lower()}
            assert names & allowed, f"{script.name} calls {command} {subcommand}"


def test_it_names_no_command_that_is_not_used() -> None:
    assert RULE
    sources = b"\n".join(script.source for script in SCRIPTS.values()).decode()
    package = Path(zart.__file__).parent
    sources += "\n".join(path.read_text() for path in [*package.glob("store/*.py"), *package.glob("worker/*.py")])
    allowed = {word[1:].partition("|")[0] for word in RULE[1].split() if word.startswith("+")}
    assert {
        command for command in allowed if not re.search(rf"['\"(.]{command}['\"(]", sources, re.IGNORECASE)
    } == set()
