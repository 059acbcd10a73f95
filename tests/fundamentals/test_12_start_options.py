"""The options of `start`: what happens to an id that is used, debounce, and expiry."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.support.waiting import SOON, reaches, until
from zart_redis import ExecutionStatus, zart_durable, zart_step
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


@zart_step("note-{value}")
async def note(value: str) -> str:
    return value


@zart_durable("noted")
async def noted(value: str) -> str:
    return await note(value)


@zart_durable("noted-after-go")
async def noted_after_go(value: str) -> str:
    await zart.wait_for_event("go")
    return value


PER_ACCOUNT = zart.Limit("one-of-an-account", concurrency=1)


@zart_durable("noted-in-turn", limits=[PER_ACCOUNT])
async def noted_in_turn(value: str) -> str:
    await zart.wait_for_event("go")
    return value


# An id that is live.


async def test_the_live_run_is_returned(scheduler: zart.DurableScheduler) -> None:
    first = await scheduler.start("a", "noted", "first")
    again = await scheduler.start("a", "noted", "second", if_live="return")
    assert (first, first.started) == (1, True)
    assert (again, again.started) == (1, False)
    assert (await scheduler.status("a")).input == "first"


async def test_a_run_that_has_not_begun_is_replaced(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("a", "noted", "first", delay="1h")
    before = await scheduler.status("a")
    replaced = await scheduler.start("a", "noted-after-go", "second", queue="other", if_live="replace")
    assert (replaced, replaced.started) == (1, True)
    after = await scheduler.status("a")
    assert (after.task_name, after.queue, after.input) == ("noted-after-go", "other", "second")
    assert (after.created_at, after.waiting_for) == (before.created_at, ())
    assert [run.run for run in await scheduler.runs("a")] == [1]
    assert (await scheduler.stats()).by_task == {"noted-after-go": {ExecutionStatus.SCHEDULED: 1}}
    assert await scheduler.doctor() == []


async def test_a_run_that_has_begun_is_not_replaced() -> None:
    async with Harness([noted_after_go]) as h:
        await h.scheduler.start_for(noted_after_go, "a", "first")
        await h.advance("0s")
        with pytest.raises(zart.ExecutionAlreadyExists):
            await h.scheduler.start_for(noted_after_go, "a", "second", if_live="replace")
        assert (await h.scheduler.status("a")).input == "first"


async def test_an_event_that_came_before_reaches_the_run_that_replaces() -> None:
    async with Harness([noted_after_go]) as h:
        await h.scheduler.start_for(noted_after_go, "a", "first", delay="1h")
        await h.scheduler.offer_event("a", "go")
        await h.scheduler.start_for(noted_after_go, "a", "second", if_live="replace")
        await h.advance("0s")
        assert await h.scheduler.wait_for(noted_after_go, "a", SOON) == "second"


# Debounce.


async def test_the_last_of_a_burst_runs_once_it_is_over() -> None:
    async with Harness([noted]) as h:
        for number in range(3):
            await h.scheduler.start_for(noted, "a", f"{number}", delay="30s", if_live="replace")
            await h.advance("20s")
        assert (await h.scheduler.status("a")).status is ExecutionStatus.SCHEDULED
        await h.advance("10s")
        assert await h.scheduler.wait_for(noted, "a", SOON) == "2"


async def test_a_burst_that_does_not_end_is_delayed_so_long_at_most() -> None:
    async with Harness([noted]) as h:
        for number in range(5):
            options: Any = {"delay": "30s", "if_live": "replace", "max_delay": "70s"}
            await h.scheduler.start_for(noted, "a", f"{number}", **options)
            await h.advance("20s")
        runs = [run.status for run in await h.scheduler.runs("a")]
        assert runs == [ExecutionStatus.COMPLETED, ExecutionStatus.SCHEDULED]
        assert (await h.scheduler.detail("a", 1)).output == "3"


# An id that has finished.


@pytest.mark.usefixtures("worker")
async def test_a_finished_run_is_returned_refused_or_followed(scheduler: zart.DurableScheduler) -> None:
    assert await scheduler.start_and_wait_for(noted, "a", "first", SOON) == "first"
    kept = await scheduler.start_for(noted, "a", "second", if_finished="return")
    assert (kept, kept.started) == (1, False)
    with pytest.raises(zart.ExecutionAlreadyExists) as refused:
        await scheduler.start_for(noted, "a", "second", if_finished="raise")
    assert refused.value.status == "completed"
    assert (await scheduler.status("a")).output == "first"
    assert await scheduler.start_for(noted, "a", "third") == 2
    assert await scheduler.wait_for(noted, "a", SOON) == "third"


# Expiry.


async def test_what_has_not_begun_in_time_is_cancelled() -> None:
    async with Harness([noted]) as h:
        await h.scheduler.start_for(noted, "delayed", "x", delay="2h", expires="1h")
        await h.scheduler.start_for(noted, "unserved", "x", queue="nobody", expires=h.now + timedelta(hours=1))
        await h.scheduler.pause(task_name="noted")
        await h.scheduler.start_for(noted, "paused", "x", expires="1h")
        await h.advance("59m")
        ids = ("delayed", "unserved", "paused")
        assert {(await h.scheduler.status(id)).status for id in ids} == {ExecutionStatus.SCHEDULED}
        assert (await h.scheduler.status("delayed")).next_due == h.now + timedelta(minutes=1)
        await h.advance("1m")
        for id in ids:
            record = await h.scheduler.status(id)
            assert (record.status, record.reason) == (ExecutionStatus.CANCELLED, "expired")
        assert await h.scheduler.doctor() == []


async def test_what_waits_for_a_limit_expires_there() -> None:
    async with Harness([noted_in_turn]) as h:
        await h.scheduler.start_for(noted_in_turn, "first", "x")
        await h.advance("0s")
        await h.scheduler.start_for(noted_in_turn, "second", "x", expires="1h")
        await h.advance("1h")
        assert (await h.scheduler.status("second")).reason == "expired"
        assert (await h.scheduler.limits())[0].waiting == 0


async def test_what_has_begun_in_time_does_not_expire() -> None:
    async with Harness([noted_after_go, noted_in_turn]) as h:
        await h.scheduler.start_for(noted_after_go, "a", "x", expires="1h")
        await h.scheduler.start_for(noted_in_turn, "b", "x", expires="1h")
        await h.advance("2h")
        for id in "ab":
            assert (await h.scheduler.status(id)).status is ExecutionStatus.WAITING
            await h.scheduler.offer_event(id, "go")
        await h.advance("0s")
        assert await h.scheduler.wait_for(noted_after_go, "a", SOON) == "x"
        assert await h.scheduler.wait_for(noted_in_turn, "b", SOON) == "x"


@pytest.mark.usefixtures("worker")
async def test_a_run_that_an_earlier_version_has_begun_does_not_expire(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    await scheduler.start_for(noted_after_go, "a", "x", expires="1h")
    await reaches(scheduler, "a", "waiting", "event go")
    raw.zadd(f"{prefix}w:a", {"e": 1})  # which it does not remove
    raw.zadd(f"{prefix}timers", {"xa": 1})
    raw.publish(f"{prefix}timers", 1)
    await until(lambda: raw.zscore(f"{prefix}w:a", "e") is None)
    assert raw.zscore(f"{prefix}timers", "xa") is None
    await scheduler.offer_event("a", "go")
    assert await scheduler.wait_for(noted_after_go, "a", SOON) == "x"


@pytest.mark.usefixtures("worker")
async def test_a_time_that_has_passed_is_too_late(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(noted, "a", "x", expires=datetime.now(UTC) - timedelta(hours=1))
    assert (await scheduler.wait("a", SOON)).reason == "expired"


# Many at once, cancelling, bad input.


async def test_start_many_takes_the_options(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("live", "noted", "x")
    runs = await scheduler.start_many(
        [
            zart.StartRequest("new", "noted", "x", expires="1h"),
            zart.StartRequest("live", "noted", "y"),
            zart.StartRequest("live", "noted", "y", if_live="return"),
        ]
    )
    assert runs == [1, None, 1]
    assert [run is not None and run.started for run in runs] == [True, False, False]


async def test_why_it_was_cancelled(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("a", "noted", "x")
    assert await scheduler.cancel("a", reason="out\x1b[31m of stock")
    assert (await scheduler.status("a")).reason == "out\x1b[31m of stock"
    await scheduler.start("a", "noted", "x")
    assert (await scheduler.status("a")).reason is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"if_live": "restart"}, "if_live must be one of 'raise', 'return', 'replace'"),
        ({"if_finished": "replace"}, "if_finished must be one of 'restart', 'raise', 'return'"),
        ({"max_delay": "1h"}, "max_delay bounds the delay"),
        ({"max_delay": "1h", "delay": "1s"}, "max_delay bounds the delay"),
        ({"expires": "-1s"}, "expires: '-1s' is not a duration"),
        ({"expires": datetime(2030, 1, 1)}, "naive"),
    ],
)
async def test_bad_options_start_nothing(
    scheduler: zart.DurableScheduler, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(zart.InvalidInput, match=message):
        await scheduler.start("a", "noted", "x", **options)
    with pytest.raises(zart.InvalidInput, match=message):
        await scheduler.start_many([zart.StartRequest("a", "noted", "x", **options)])
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.status("a")
