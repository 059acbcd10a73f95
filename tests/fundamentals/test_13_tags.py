"""Tags: executions are listed by them, and know them; bulk operations by filter."""

import itertools
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.support.waiting import SOON
from zart_redis import ExecutionStatus, zart_durable, zart_step
from zart_redis.client import bulk
from zart_redis.client.doctor import Problem
from zart_redis.store import index
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


@zart_step("read-tags")
async def tags_of_step() -> dict[str, str]:
    return dict(zart.context().tags)


@zart_durable("tagged")
async def tagged() -> list[dict[str, str]]:
    seen = await zart.wait([zart.schedule(tags_of_step().named("scheduled"))])
    return [dict(zart.context().tags), await tags_of_step(), seen[0].unwrap()]


FAILS = {"number": 0}


@zart_step("flaky")
async def flaky() -> str:
    if FAILS["number"]:
        raise ValueError("not now")
    return "done"


@zart_durable("flaky-job")
async def flaky_job() -> str:
    return await flaky()


@zart_durable("hopeless-job")
async def hopeless_job() -> None:
    raise ValueError("never")


async def ids(scheduler: zart.DurableScheduler, **filter: Any) -> list[str]:
    """The ids of all pages, in order."""
    found: list[str] = []
    cursor = None
    while True:
        page = await scheduler.list_executions(**filter, order="oldest", limit=3, cursor=cursor)
        found += [record.execution_id for record in page]
        cursor = page.cursor
        if cursor is None:
            return found


# Tags


@pytest.mark.usefixtures("worker")
async def test_code_knows_its_tags(scheduler: zart.DurableScheduler) -> None:
    tags = {"customer": "acme", "region": "\u00fc\x1b"}
    await scheduler.start_for(tagged, "a", tags=tags)
    assert await scheduler.wait_for(tagged, "a", SOON) == [tags, tags, tags]
    assert (await scheduler.status("a")).tags == tags


async def test_lists_by_tags_of_which_an_execution_must_have_all(scheduler: zart.DurableScheduler) -> None:
    for number, customer in itertools.product(range(3), ("acme", "apex")):
        tags = {"customer": customer, "number": f"{number}"}
        await scheduler.start(f"{customer}-{number}", "tagged", tags=tags)
    await scheduler.start("plain", "tagged")
    assert await ids(scheduler, tags={"customer": "acme"}) == ["acme-0", "acme-1", "acme-2"]
    assert await ids(scheduler, tags={"customer": "acme", "number": "1"}) == ["acme-1"]
    assert await ids(scheduler, tags={"number": "1"}, id_prefix="ap") == ["apex-1"]
    assert await ids(scheduler, tags={"number": "1"}, status="completed") == []
    assert await ids(scheduler, tags={"customer": "nobody"}) == []
    newest = await scheduler.list_executions(tags={"customer": "apex"})
    assert [record.execution_id for record in newest] == ["apex-2", "apex-1", "apex-0"]


@pytest.mark.parametrize("filter", [{"tags": {"kind": "odd"}}, {"id_prefix": "job-"}])
async def test_a_page_looks_at_a_bounded_number_of_executions(
    scheduler: zart.DurableScheduler, monkeypatch: pytest.MonkeyPatch, filter: dict[str, Any]
) -> None:
    monkeypatch.setattr(index, "BATCH", 2)
    monkeypatch.setattr(index, "MAX_CANDIDATES", 4)
    for number in range(10):
        await scheduler.start(f"job-{number}", "tagged", queue="other" if number == 9 else None, tags={"kind": "odd"})
    first = await scheduler.list_executions(**filter, queue="other", order="oldest")
    assert (list(first), first.cursor is None) == ([], False)
    assert await ids(scheduler, **filter, queue="other") == ["job-9"]
    assert await ids(scheduler, **filter) == [f"job-{number}" for number in range(10)]


async def test_lists_of_several_partitions(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BATCH", 2)
    monkeypatch.setattr(index, "MAX_CANDIDATES", 4)
    async with zart.DurableScheduler(redis_url, namespace=namespace, partitions=4) as scheduler:
        wanted = [f"job-{number:02}" for number in range(40)]
        for id in wanted:
            await scheduler.start(id, "tagged", tags={"kind": "odd"})
        assert sorted(await ids(scheduler, tags={"kind": "odd"})) == wanted
        assert await ids(scheduler, id_prefix="job-") == wanted


async def test_a_new_run_has_tags_of_its_own_and_a_restart_keeps_them(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("a", "tagged", tags={"customer": "acme"})
    await scheduler.restart("a")
    assert (await scheduler.status("a")).tags == {"customer": "acme"}
    assert await ids(scheduler, tags={"customer": "acme"}) == ["a"]
    await scheduler.cancel("a")
    await scheduler.start("a", "tagged", tags={"customer": "apex"})
    assert await ids(scheduler, tags={"customer": "acme"}) == []
    assert await ids(scheduler, tags={"customer": "apex"}) == ["a"]


async def test_tags_go_with_their_execution(scheduler: zart.DurableScheduler, raw: redis.Redis) -> None:
    await scheduler.start("a", "tagged", tags={"customer": "acme"})
    assert list(raw.scan_iter("*:tag:*"))
    await scheduler.cancel("a")
    assert await scheduler.purge() == 1
    assert list(raw.scan_iter("*:tag:*")) == []


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"": "x"}, "must not be empty"),
        ({"a\n": "x"}, "control characters"),
        ({"a": 1}, "must be text"),
        ({"a": "x" * 513}, "513 bytes"),
        ({f"{number}": "" for number in range(21)}, "at most 20 tags"),
        (["a"], "mapping"),
    ],
)
async def test_bad_tags(scheduler: zart.DurableScheduler, tags: Any, message: str) -> None:
    with pytest.raises(zart.InvalidInput, match=message):
        await scheduler.start("a", "tagged", tags=tags)
    with pytest.raises(zart.InvalidInput, match=message):
        await scheduler.list_executions(tags=tags)


# Bulk operations


async def test_cancels_what_a_filter_selects(scheduler: zart.DurableScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 3)
    for number in range(10):
        await scheduler.start(f"a-{number}", "tagged", tags={"customer": "acme" if number < 7 else "apex"})
    await scheduler.cancel("a-0")
    seen: list[bulk.BulkResult] = []
    result = await scheduler.cancel_many(tags={"customer": "acme"}, reason="closed", on_progress=seen.append)
    assert (result.done, result.failed, result.cursor) == (6, {}, None)
    assert seen == [result]
    assert (await scheduler.status("a-6")).reason == "closed"
    assert await scheduler.count_executions(status="scheduled") == 3


async def test_each_is_restarted_once() -> None:
    async with Harness([tagged]) as h:  # whose clock stands still
        for number in range(300):
            await h.scheduler.start(f"a-{number}", "tagged", delay="1h")
        assert (await h.scheduler.restart_many(task_name="tagged")).done == 300
        assert [(await h.scheduler.status(f"a-{number}")).run for number in range(300)] == [2] * 300


async def test_retries_what_has_failed_at_a_step() -> None:
    async with Harness([flaky_job, hopeless_job]) as h:
        FAILS["number"] = 1
        for number in range(3):
            await h.scheduler.start_for(flaky_job, f"flaky-{number}")
        await h.scheduler.start_for(hopeless_job, "hopeless")
        await h.advance("1s")
        assert await h.scheduler.count_executions(status="failed") == 4
        FAILS["number"] = 0
        result = await h.scheduler.retry_failed()
        assert result.done == 3
        assert {id: type(error) for id, error in result.failed.items()} == {"hopeless": zart.InvalidInput}
        await h.advance("1s")
        assert (await h.scheduler.status("flaky-2")).status is ExecutionStatus.COMPLETED


@pytest.mark.parametrize("operation", ["cancel_many", "restart_many"])
async def test_an_operation_is_resumed_where_it_was(scheduler: zart.DurableScheduler, operation: str) -> None:
    await scheduler.start_many([(f"a-{number}", "tagged", None) for number in range(450)])
    results: list[bulk.BulkResult] = []

    def stop(result: bulk.BulkResult) -> None:
        results.append(result)
        raise KeyError("interrupted")

    with pytest.raises(KeyError):
        await getattr(scheduler, operation)(task_name="tagged", on_progress=stop)
    rest = await getattr(scheduler, operation)(task_name="tagged", cursor=results[0].cursor)
    assert (results[0].done, rest.done) == (200, 250)
    with pytest.raises(zart.InvalidInput, match="no cursor"):
        await getattr(scheduler, operation)(task_name="tagged", cursor="x")


async def test_the_doctor_finds_a_tag_that_is_not_listed(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    await scheduler.start("a", "tagged", tags={"customer": "acme", "region": "eu"})
    raw.zrem(f"{prefix}tag:customer:acme", "a")
    (finding,) = await scheduler.doctor(repair=True)
    assert (finding.problem, finding.subject) == (Problem.INDEX, "a")
    assert await ids(scheduler, tags={"customer": "acme"}) == ["a"]
    assert await scheduler.doctor() == []


async def test_an_empty_filter_is_refused(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("a", "tagged")
    for operation in (scheduler.cancel_many, scheduler.restart_many):
        with pytest.raises(zart.InvalidInput, match="empty filter"):
            await operation()
    assert (await scheduler.status("a")).run == 1
