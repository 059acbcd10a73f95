"""Recurring executions: intervals and cron lines, overlap, catching up, pauses, triggers."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis

import zart_redis as zart
from tests.support.waiting import until
from tests.support.workers import running_worker
from zart_redis import ExecutionStatus, zart_durable
from zart_redis.client.doctor import Problem
from zart_redis.recurring import RecurringSpec, Ticks
from zart_redis.store import occurrences
from zart_redis.store.transitions import Transitions
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


@zart_durable("report")
async def report(name: str) -> str:
    scheduled = zart.context().scheduled_for
    return f"{name} {scheduled:%d %H:%M}" if scheduled else name


@zart_durable("long-report")
async def long_report(name: str) -> str:
    await zart.wait_for_event("go")
    return name


@pytest.fixture
async def h() -> AsyncIterator[Harness]:
    async with Harness([report, long_report]) as harness:
        yield harness


async def ids(h: Harness) -> list[str]:
    return [record.execution_id for record in await h.scheduler.list_executions(order="oldest", limit=1000)]


async def only(h: Harness) -> zart.RecurringRecord:
    (record,) = await h.scheduler.list_recurring()
    return record


# When


async def test_an_interval_is_anchored_at_its_start(h: Harness) -> None:
    began = h.now
    await h.scheduler.start_recurring("r", report, "report-{occurrence}", every="1h", data="x")
    await h.advance("59m")
    assert await ids(h) == []
    await h.advance("2h 1m")
    assert await ids(h) == ["report-0", "report-1", "report-2"]
    record = await only(h)
    assert record.next_times == tuple(began + timedelta(hours=hours) for hours in range(4, 9))
    assert (record.handler, record.every, record.data, record.last_skip_reason) == ("report", 3600, "x", None)


async def test_a_start_in_the_future_and_an_end_that_is_included(h: Harness) -> None:
    first = h.now + timedelta(minutes=30)
    end = first + timedelta(hours=2)
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x", start_at=first, end_at=end)
    await h.advance("1d")
    assert await ids(h) == ["r-0", "r-1", "r-2"]
    assert (await only(h)).next_times == ()


async def test_a_cron_line_and_what_an_occurrence_knows(h: Harness) -> None:
    await h.scheduler.start_recurring(
        "r", "report", "report-{time}", cron="30 3 * * *", data="night", tags={"kind": "nightly"}, queue="default"
    )
    await h.advance("2d")
    records = await h.scheduler.list_executions(order="oldest", tags={"kind": "nightly"})
    assert len(records) == 2
    first = next(at for at in (h.now - timedelta(days=2) + timedelta(minutes=m) for m in range(1441)) if at.hour == 3)
    assert records[0].execution_id == f"report-{first:%Y-%m-%d}T03:30:00Z"
    assert records[0].output == f"night {first:%d} 03:30"


@pytest.mark.parametrize(
    ("cron", "moment", "expected"),
    [
        ("30 2 * * *", "2025-03-29 12:00", ["2025-03-30 03:00", "2025-03-31 02:30"]),  # skipped: after the gap
        ("30 2 * * *", "2025-10-25 12:00", ["2025-10-26 02:30", "2025-10-27 02:30"]),  # comes twice: the first time
        ("0 0 29 2 *", "2025-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ],
)
def test_changes_of_clocks(cron: str, moment: str, expected: list[str]) -> None:
    zone = ZoneInfo("Europe/Berlin")
    spec = RecurringSpec("task", "x-{time}", b"", "default", cron=cron, timezone="Europe/Berlin")
    at = round(datetime.fromisoformat(moment).replace(tzinfo=zone).timestamp() * 1000)
    ticks = Ticks(spec, 0)
    found = list(ticks.upcoming(ticks.after(at), 2))
    assert [f"{datetime.fromtimestamp(tick / 1000, zone):%Y-%m-%d %H:%M}" for tick in found] == expected


def test_each_hour_of_a_change_of_clocks_passes() -> None:
    spec = RecurringSpec("task", "x-{time}", b"", "default", cron="*/30 * * * *", timezone="Europe/Berlin")
    first = round(datetime(2025, 10, 25, 23, 59, tzinfo=UTC).timestamp() * 1000)
    ticks = Ticks(spec, 0)
    found = list(ticks.upcoming(ticks.after(first), 8))
    assert [later - earlier for earlier, later in itertools.pairwise(found)] == [1_800_000] * 7


# Overlap


async def test_a_tick_is_skipped_while_an_occurrence_is_live(h: Harness) -> None:
    await h.scheduler.start_recurring("r", long_report, "r-{occurrence}", every="1h", data="x")
    await h.advance("3h")
    record = await only(h)
    assert (record.live, record.last_skip_reason) == (("r-0",), "occurrence r-0 has not ended")
    await h.scheduler.offer_event("r-0", "go")
    await h.advance("1h")
    assert await ids(h) == ["r-0", "r-1"]


async def test_what_is_live_is_cancelled(h: Harness) -> None:
    await h.scheduler.start_recurring("r", long_report, "r-{occurrence}", every="1h", data="x", overlap="cancel")
    await h.advance("2h")
    first = await h.scheduler.status("r-0")
    assert (first.status, first.reason) == (ExecutionStatus.CANCELLED, "the next occurrence begins")
    assert (await only(h)).live == ("r-1",)


async def test_occurrences_may_overlap(h: Harness) -> None:
    await h.scheduler.start_recurring("r", long_report, "r-{occurrence}", every="1h", data="x", overlap="allow")
    await h.advance("3h")
    assert (await only(h)).live == ("r-0", "r-1", "r-2")


async def test_an_id_that_somebody_else_holds(h: Harness) -> None:
    await h.scheduler.start_for(long_report, "r-0", "stranger")
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x")
    await h.advance("1h")
    assert (await only(h)).last_skip_reason == "id r-0 is taken by another execution"
    assert (await h.scheduler.status("r-0")).input == "stranger"


# Missed ticks


@pytest.mark.parametrize(("catch_up", "expected"), [("none", 0), ("latest", 1), ("all", 5)])
async def test_missed_ticks(h: Harness, catch_up: Any, expected: int) -> None:
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x", catch_up=catch_up)
    async with h.outage():
        await h.advance("5h 30m")
    await h.advance("1m")
    assert len(await ids(h)) == expected
    await h.advance("29m")
    assert len(await ids(h)) == expected + 1
    assert (await h.scheduler.status(f"r-{expected}")).output == f"x {h.now:%d %H:%M}"


async def test_missed_ticks_follow_one_another(h: Harness) -> None:
    await h.scheduler.start_recurring("r", long_report, "r-{occurrence}", every="1h", data="x", catch_up="all")
    async with h.outage():
        await h.advance("2h 30m")
    assert await ids(h) == ["r-0"]
    await h.scheduler.offer_event("r-0", "go")
    await h.advance("1m")
    assert await ids(h) == ["r-0", "r-1"]


# Changes


async def test_the_same_again_changes_nothing_and_another_keeps_the_count(h: Harness) -> None:
    for _ in range(2):
        await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x")
        await h.advance("30m")
    assert await ids(h) == ["r-0"]
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="y", queue="default")
    await h.advance("1h")  # the anchor has not moved
    assert [record.output for record in await h.scheduler.list_executions(order="oldest")] == [
        f"x {h.now - timedelta(hours=1):%d %H:%M}",
        f"y {h.now:%d %H:%M}",
    ]
    assert await ids(h) == ["r-0", "r-1"]


async def test_a_pause_survives_a_new_start_and_is_not_made_up_for(h: Harness) -> None:
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x")
    await h.scheduler.pause_recurring("r")
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="y")
    await h.advance("5h 30m")
    record = await only(h)
    assert (record.paused, record.next_times, await ids(h)) == (True, (), [])
    await h.scheduler.resume_recurring("r")
    await h.advance("30m")
    assert await ids(h) == ["r-0"]


async def test_a_trigger_takes_the_next_number(h: Harness) -> None:
    await h.scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x")
    await h.scheduler.pause_recurring("r")
    assert await h.scheduler.trigger_recurring("r") == "r-0"
    await h.advance("0s")
    assert (await h.scheduler.status("r-0")).output == f"x {h.now:%d %H:%M}"
    await h.scheduler.resume_recurring("r")
    await h.advance("1h")
    assert await ids(h) == ["r-0", "r-1"]


async def test_a_trigger_obeys_the_overlap(h: Harness) -> None:
    await h.scheduler.start_recurring("r", long_report, "r-{occurrence}", every="1h", data="x")
    assert await h.scheduler.trigger_recurring("r") == "r-0"
    assert await h.scheduler.trigger_recurring("r") is None
    await h.scheduler.start_recurring("r", long_report, "r-{occurrence}", every="1h", data="x", overlap="cancel")
    assert await h.scheduler.trigger_recurring("r") == "r-1"
    assert (await h.scheduler.status("r-0")).status is ExecutionStatus.CANCELLED


async def test_a_stopped_one_is_forgotten(h: Harness) -> None:
    await h.scheduler.start_recurring("r", report, "r-{time}", every="1h", data="x")
    await h.scheduler.stop_recurring("r")
    await h.advance("2h")
    assert (await ids(h), await h.scheduler.list_recurring()) == ([], [])
    for operation in (
        h.scheduler.stop_recurring,
        h.scheduler.pause_recurring,
        h.scheduler.resume_recurring,
        h.scheduler.trigger_recurring,
    ):
        with pytest.raises(zart.RecurringNotFound) as refused:
            await operation("r")
        assert refused.value.code == "recurring_not_found"


async def test_an_occurrence_begins_later_by_its_jitter(h: Harness) -> None:
    await h.scheduler.start_recurring(
        "r", report, "r-{occurrence}", every="1h", data="x", jitter="10m", overlap="allow"
    )
    await h.advance("10h 10m")
    delays = []
    for number in range(10):
        record = await h.scheduler.status(f"r-{number}")
        assert record.started_at
        delays.append(record.started_at - record.created_at)
    assert len(set(delays)) > 3
    assert all(timedelta() <= delay <= timedelta(minutes=10) for delay in delays)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": "1h", "id_template": "r"}, "needs {occurrence} or {time}"),
        ({"every": "1h", "id_template": "r-{day}"}, "no placeholder {day}"),
        ({}, "either every= or cron="),
        ({"every": "1h", "cron": "* * * * *"}, "either every= or cron="),
        ({"every": "0s"}, "longer than nothing"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"cron": "61 * * * *"}, "invalid"),
        ({"cron": "0 0 31 2 *"}, "never matches|invalid"),
        ({"cron": "* * * * *", "timezone": "Mars"}, "no timezone 'Mars'"),
        ({"every": "1h", "overlap": "both"}, "overlap must be one of"),
        ({"every": "1h", "catch_up": "some"}, "catch_up must be one of"),
        ({"every": "1h", "start_at": datetime(2030, 1, 1)}, "time zone"),
        ({"every": "1h", "data": 5}, "report"),
    ],
)
async def test_bad_input_starts_nothing(
    scheduler: zart.DurableScheduler, options: dict[str, Any], message: str
) -> None:
    arguments = {"id_template": "r-{occurrence}", "data": "x", **options}
    with pytest.raises(zart.ZartError, match=message):
        await scheduler.start_recurring("r", report, **arguments)
    assert await scheduler.list_recurring() == []


# Deaths and damage


async def test_a_worker_that_dies_before_it_sets_the_next_tick(
    scheduler: zart.DurableScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = datetime.now(UTC) - timedelta(milliseconds=100)
    store = await scheduler._open()
    await scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x", start_at=first)
    await scheduler.start_recurring("r", report, "r-{occurrence}", every="2h", data="x", start_at=first)
    partition = store.partition("r")
    due = round(first.timestamp() * 1000)
    assert await partition.transitions.pause_recurring("r", False, due)

    async def die(*_: object) -> bool:
        raise ConnectionError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Transitions, "tick", die)
        with pytest.raises(ConnectionError):
            await occurrences.handle_ticks(store, "r", due)
    assert (await scheduler.status("r-0")).run == 1
    await asyncio.gather(*(occurrences.handle_ticks(store, "r", due) for _ in range(5)))
    found = await occurrences.read(partition, "r")
    assert found is not None
    assert (found.count, found.live, found.due) == (1, ("r-0",), due + 7_200_000)
    assert [(record.execution_id, record.run) for record in await scheduler.list_executions()] == [("r-0", 1)]


async def test_the_doctor_finds_a_timer_that_is_missing(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    await scheduler.start_recurring("r", report, "r-{occurrence}", every="1h", data="x")
    await scheduler.start_recurring("paused", report, "r-{occurrence}", every="1h", data="x")
    await scheduler.pause_recurring("paused")
    assert await scheduler.doctor() == []
    raw.zrem(f"{prefix}timers", "tr")
    (finding,) = await scheduler.doctor(repair=True)
    assert (finding.problem, finding.subject) == (Problem.RECURRING, "r")
    assert await scheduler.doctor() == []


# Many workers


async def test_workers_start_one_occurrence_for_each_tick(redis_url: str, namespace: str) -> None:
    async with zart.DurableScheduler(redis_url, namespace=namespace, partitions=4) as scheduler:
        async with running_worker(scheduler), running_worker(scheduler), running_worker(scheduler):
            for number in range(5):
                await scheduler.start_recurring(
                    f"r{number}", report, f"r{number}-{{occurrence}}", every="100ms", data="x", overlap="allow"
                )
            await until(lambda: _has(scheduler, "r4-5"))
        records = await scheduler.list_executions(limit=1000)
        assert len({record.execution_id for record in records}) == len(records)
        for number in range(5):
            await scheduler.stop_recurring(f"r{number}")


async def _has(scheduler: zart.DurableScheduler, execution_id: str) -> bool:
    try:
        return (await scheduler.status(execution_id)).status is ExecutionStatus.COMPLETED
    except zart.ExecutionNotFound:
        return False
