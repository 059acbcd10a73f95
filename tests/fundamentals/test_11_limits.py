"""`zart.Limit`: how many runs are live at a time, and how often one may begin."""

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import until
from zart_redis import zart_durable, zart_step
from zart_redis.client import scheduler as client_scheduler
from zart_redis.client.doctor import Problem
from zart_redis.limits import declared

pytestmark = pytest.mark.anyio

_numbers = itertools.count()


@dataclass
class Import:
    account: str | None
    number: int = 0


class Limited:
    """A handler under a limit by account, which records what runs at the same time, and ends when it is told."""

    def __init__(self, **numbers: Any) -> None:
        name = f"tenant-{next(_numbers)}"
        self.limit = zart.Limit(name, **numbers)
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.begun: list[int] = []

        @zart_step("work-{number}")
        async def work(account: str, number: int) -> None:
            self.begun.append(number)
            self.running[account] += 1
            self.most[account] = max(self.most[account], self.running[account])

        @zart_durable(f"import-{name}", limits=[self.limit.by("account")])
        async def handler(data: Import) -> int:
            await work(str(data.account), data.number)
            await zart.wait_for_event("go")
            await zart.run("end", lambda: self.end(str(data.account)))
            return data.number

        self.handler = handler
        self.waits = f"limit {name} acme"

    def end(self, account: str) -> None:
        self.running[account] -= 1


@pytest.fixture
def tenant() -> Limited:
    return Limited(concurrency=2)


async def start(scheduler: zart.DurableScheduler, tenant: Limited, count: int, account: str = "acme") -> list[str]:
    ids = [f"{account}-{number}" for number in range(count)]
    for number, execution_id in enumerate(ids):
        await scheduler.start_for(tenant.handler, execution_id, Import(account, number))
    return ids


async def finish(scheduler: zart.DurableScheduler, ids: list[str]) -> None:
    for execution_id in ids:
        await scheduler.offer_event(execution_id, "go", None)
    for execution_id in ids:
        await scheduler.wait(execution_id, timeout="20s")


async def assert_no_slot_is_left(scheduler: zart.DurableScheduler, tenant: Limited) -> None:
    records = {record.key: record for record in await scheduler.limits() if record.name == tenant.limit.name}
    assert {(record.held, record.waiting) for record in records.values()} == {(0, 0)}
    assert [finding for finding in await scheduler.doctor() if finding.problem is Problem.LIMIT] == []


async def test_no_more_runs_of_a_key_go_on_than_the_limit_says(
    scheduler: zart.DurableScheduler, worker: zart.Worker, tenant: Limited
) -> None:
    ids = await start(scheduler, tenant, 5)
    other = await start(scheduler, tenant, 2, "other")
    await until(lambda: tenant.running == {"acme": 2, "other": 2})
    waiting = await scheduler.status("acme-2")
    assert (waiting.status, waiting.waiting_for) == ("scheduled", (tenant.waits,))
    assert (await scheduler.stats()).waiting_for_limits == {tenant.limit.name: 3}
    held = {record.key: (record.held, record.waiting, record.concurrency) for record in await scheduler.limits()}
    assert held["acme"] == (2, 3, 2)
    assert held["other"] == (2, 0, 2)
    await finish(scheduler, ids + other)
    assert tenant.most == {"acme": 2, "other": 2}
    await assert_no_slot_is_left(scheduler, tenant)


async def test_what_waits_begins_in_the_order_in_which_it_came(
    scheduler: zart.DurableScheduler, worker: zart.Worker
) -> None:
    tenant = Limited(concurrency=1)
    ids = await start(scheduler, tenant, 12)
    await finish(scheduler, ids)
    assert tenant.begun == list(range(12))


async def test_the_place_in_the_line_is_shown(scheduler: zart.DurableScheduler, tenant: Limited) -> None:
    await start(scheduler, tenant, 5)
    assert [wait.place for wait in (await scheduler.status("acme-4")).waits] == [3]


async def test_a_cancel_returns_the_slot_at_once(
    scheduler: zart.DurableScheduler, worker: zart.Worker, tenant: Limited
) -> None:
    ids = await start(scheduler, tenant, 4)
    await until(lambda: tenant.running["acme"] == 2)
    assert await scheduler.cancel(ids[2])  # which is in the line
    assert await scheduler.cancel(ids[0])
    assert (await scheduler.status(ids[3])).waiting_for == ()
    await finish(scheduler, [ids[1], ids[3]])
    await assert_no_slot_is_left(scheduler, tenant)


async def test_a_slot_is_kept_through_sleeps_and_on_failure(zart_harness: Any) -> None:
    limit = zart.Limit(f"sleepy-{next(_numbers)}", concurrency=1)

    async def clean_up(data: object, failure: zart.Failure) -> None:
        await zart.sleep("clean", "1h")

    @zart_durable("sleepy", limits=[limit], on_failure=clean_up)
    async def sleepy() -> None:
        await zart.sleep("nap", "1h")
        raise ValueError

    async with zart_harness(sleepy) as h:
        await h.scheduler.start_for(sleepy, "one")
        await h.scheduler.start_for(sleepy, "two")
        await h.advance("90m")
        assert (await h.scheduler.status("two")).waiting_for == (f"limit {limit.name}",)
        await h.advance("31m")
        assert (await h.scheduler.status("one")).status == "completed"
        assert (await h.scheduler.status("two")).waiting_for[0] == "sleep nap"
        await h.advance("2h")
        assert (await h.scheduler.status("two")).status == "completed"


async def test_a_rate_counts_beginnings(zart_harness: Any) -> None:
    limit = zart.Limit(f"api-{next(_numbers)}", rate="2/1m", burst=2)
    begun: list[int] = []

    @zart_durable("calls", limits=[limit])
    async def calls(number: int) -> None:
        begun.append(number)

    async with zart_harness(calls) as h:
        for number in range(6):
            await h.scheduler.start_for(calls, f"call-{number}", number)
        await h.advance("1s")
        assert begun == [0, 1]
        await h.advance("28s")
        assert begun == [0, 1]
        await h.advance("2s")
        assert begun == [0, 1, 2]
        await h.advance("10m")
        assert begun == [0, 1, 2, 3, 4, 5]


async def test_several_limits_are_taken_in_order(scheduler: zart.DurableScheduler, worker: zart.Worker) -> None:
    narrow, wide = zart.Limit(f"narrow-{next(_numbers)}", concurrency=1), zart.Limit("wide-1", concurrency=2)

    @zart_durable("both", limits=[narrow.by("account"), wide])
    async def both(data: Import) -> None:
        await zart.wait_for_event("go")

    for execution_id, account in (("a-1", "a"), ("a-2", "a"), ("b-1", "b"), ("c-1", "c")):
        await scheduler.start_for(both, execution_id, Import(account))
    assert (await scheduler.status("a-2")).waiting_for == (f"limit {narrow.name} a",)  # it does not sit on the wide one
    assert (await scheduler.status("c-1")).waiting_for == ("limit wide-1",)
    await finish(scheduler, ["a-1"])
    await until(lambda: _shows(scheduler, "a-2", ("limit wide-1",)))
    await finish(scheduler, ["b-1", "c-1", "a-2"])


async def _shows(scheduler: zart.DurableScheduler, execution_id: str, waiting_for: tuple[str, ...]) -> bool:
    return (await scheduler.status(execution_id)).waiting_for == waiting_for


async def test_a_run_that_its_starter_knew_nothing_of_is_limited_at_its_claim(
    scheduler: zart.DurableScheduler, worker: zart.Worker, tenant: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_scheduler, "declared_handler", lambda task_name: None)
    ids = [f"acme-{number}" for number in range(4)]
    for number, execution_id in enumerate(ids):
        await scheduler.start(execution_id, tenant.handler.name, {"account": "acme", "number": number})
    await until(lambda: _shows(scheduler, "acme-3", (tenant.waits,)))
    await finish(scheduler, ids)
    assert tenant.most == {"acme": 2}
    await scheduler.start("none", tenant.handler.name, {"account": None})
    assert (await scheduler.wait("none", timeout="10s")).status == "failed"
    await assert_no_slot_is_left(scheduler, tenant)


async def test_a_restart_and_a_retried_step_ask_again(scheduler: zart.DurableScheduler, worker: zart.Worker) -> None:
    limit = zart.Limit(f"again-{next(_numbers)}", concurrency=1)
    fails = [True]

    @zart_step("shaky")
    async def shaky() -> None:
        if fails:
            raise ValueError

    @zart_durable("again", limits=[limit])
    async def again() -> None:
        await shaky()
        await zart.wait_for_event("go")

    await scheduler.start_for(again, "first")
    assert (await scheduler.wait("first", timeout="10s")).status == "failed"
    fails.clear()
    await scheduler.start_for(again, "second")
    await scheduler.retry_step("first", "shaky")
    waiting = await scheduler.status("first")
    assert (waiting.status, waiting.waiting_for) == ("scheduled", (f"limit {limit.name}",))
    await scheduler.restart("second")
    await until(lambda: _shows(scheduler, "second", (f"limit {limit.name}",)))
    await finish(scheduler, ["first", "second"])


async def test_an_operator_sets_and_resets_the_numbers(
    scheduler: zart.DurableScheduler, worker: zart.Worker, tenant: Limited
) -> None:
    ids = await start(scheduler, tenant, 6)
    await scheduler.set_limit(tenant.limit.name, key="acme", concurrency=4)
    await until(lambda: tenant.running["acme"] == 4)
    await scheduler.set_limit(tenant.limit.name, concurrency=0)  # for keys without a number
    await start(scheduler, tenant, 1, "other")
    assert (await scheduler.status("other-0")).waiting_for == (f"limit {tenant.limit.name} other",)
    assert await scheduler.reset_limit(tenant.limit.name)
    assert not await scheduler.reset_limit(tenant.limit.name)
    await until(lambda: tenant.running["other"] == 1)
    await finish(scheduler, [*ids, "other-0"])
    await assert_no_slot_is_left(scheduler, tenant)


async def test_a_missing_key_is_refused_at_the_start(scheduler: zart.DurableScheduler, tenant: Limited) -> None:
    with pytest.raises(zart.InvalidInput, match=r"limit 'tenant-.*' counts by 'account', which the input lacks"):
        await scheduler.start("none", tenant.handler.name, {"account": None})
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.status("none")


def test_two_limits_of_one_name_have_the_same_numbers() -> None:
    zart.Limit("twice", concurrency=2, rate="500/1m")
    zart.Limit("twice", concurrency=2, rate="500/60s", burst=1)
    with pytest.raises(zart.InvalidInput, match="limit 'twice' is declared twice"):
        zart.Limit("twice", concurrency=3, rate="500/1m")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"concurrency": 0}, {"concurrency": True}, {"rate": "5"}, {"rate": "0/1m"}, {"rate": "5/0s"}, {"rate": 5},
     {"concurrency": 1, "burst": 2}, {"rate": "5/1m", "burst": 0}],
    ids=str,
)  # fmt: skip
def test_what_limits_nothing_is_refused(arguments: Any) -> None:
    with pytest.raises(zart.InvalidInput):
        zart.Limit("refused", **arguments)
    assert "refused" not in declared


async def test_limits_need_a_namespace_with_one_partition(
    redis_url: str, namespace: str, tenant: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        zart.DurableScheduler(redis_url, namespace=namespace, partitions=2) as scheduler,
        zart.Worker(redis_url, namespace=namespace, handlers=[tenant.handler]),
    ):
        with pytest.raises(zart.ConfigurationError, match="limits work only with one"):
            await scheduler.start_for(tenant.handler, "one", Import("acme"))
        monkeypatch.setattr(client_scheduler, "declared_handler", lambda task_name: None)
        await scheduler.start("one", tenant.handler.name, {"account": "acme"})
        held = ("held: limits work only with one partition",)
        await until(lambda: _shows(scheduler, "one", held))
