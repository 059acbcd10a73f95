"""Sleeps hold no worker slot. Events are kept until they are waited for, and the first one of a name stands."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, held, reaches
from tests.support.workers import running_worker
from zart_redis import EventDelivery, zart_durable, zart_step
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


@dataclass
class Shipment:
    tracking: str
    cents: int = 0


@zart_durable("shipping")
async def shipping() -> str:
    shipment = await zart.wait_for_event("shipped", type=Shipment)
    return shipment.tracking


@zart_durable("impatient")
async def impatient() -> str:
    try:
        await zart.wait_for_event("shipped", timeout="40ms")
    except zart.DeadlineExceeded as error:
        return f"no {error.step}"
    return "shipped"


@zart_durable("napping")
async def napping(name: str) -> str:
    await zart.sleep("nap", "150ms")
    return name


# Sleeping


async def test_a_sleep_holds_no_worker_slot(redis_url: str, namespace: str) -> None:
    async with Harness([napping], server=redis_url, namespace=namespace, concurrency=1) as h:
        await h.scheduler.start_many([(f"nap-{number}", "napping", "") for number in range(10)])
        await h.advance("149ms")
        assert {record.status for record in await h.scheduler.list_executions()} == {"waiting"}
        await h.advance("1ms")
        assert {record.status for record in await h.scheduler.list_executions()} == {"completed"}


@pytest.mark.usefixtures("worker")
async def test_status_tells_what_an_execution_waits_for(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(napping, "nap-1", "")
    record = await reaches(scheduler, "nap-1", "waiting")
    assert record.waiting_for == ("sleep nap",)


@pytest.mark.usefixtures("worker")
async def test_sleep_until_a_moment(scheduler: zart.DurableScheduler) -> None:
    when = datetime.now(UTC) + timedelta(milliseconds=100)

    @zart_durable("until")
    async def until() -> None:
        await zart.sleep_until("moment", when)
        await zart.sleep_until("past", when - timedelta(days=1))

    await scheduler.start_and_wait_for(until, "until-1", timeout=SOON)
    assert datetime.now(UTC) >= when


@pytest.mark.usefixtures("worker")
async def test_a_naive_datetime_is_refused(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("naive")
    async def naive() -> None:
        await zart.sleep_until("moment", datetime(2024, 1, 1))  # noqa: DTZ001, RUF100

    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(naive, "naive-1", timeout=SOON)
    assert isinstance(raised.value.error, zart.InvalidInput)


@pytest.mark.usefixtures("worker")
async def test_how_long_to_sleep_is_fixed_by_the_first_call(scheduler: zart.DurableScheduler) -> None:
    passes: list[int] = []

    @zart_durable("growing")
    async def growing() -> None:
        passes.append(1)
        await zart.sleep("nap", "50ms" if len(passes) == 1 else "1h")

    await scheduler.start_and_wait_for(growing, "growing-1", timeout=SOON)


async def test_a_sleep_ends_though_no_worker_was_there(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(napping, "nap-1", "x")
        await reaches(scheduler, "nap-1", "waiting", "sleep nap")
    async with running_worker(scheduler):
        assert await scheduler.wait_for(napping, "nap-1", SOON) == "x"


# Events


@pytest.mark.usefixtures("worker")
async def test_an_event_that_is_waited_for_is_delivered(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(shipping, "order-1")
    await reaches(scheduler, "order-1", "waiting", "event shipped")
    assert await scheduler.offer_event("order-1", "shipped", Shipment("ZR-1")) is EventDelivery.DELIVERED
    assert await scheduler.wait_for(shipping, "order-1", SOON) == "ZR-1"


async def test_an_event_before_its_wait_is_buffered_and_counts(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(shipping, "order-1")
    assert await scheduler.offer_event("order-1", "shipped", Shipment("early")) is EventDelivery.BUFFERED
    async with running_worker(scheduler):
        assert await scheduler.wait_for(shipping, "order-1", SOON) == "early"


async def test_the_first_event_of_a_name_stands(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(shipping, "order-1")
    await scheduler.offer_event("order-1", "shipped", Shipment("first"))
    assert await scheduler.offer_event("order-1", "shipped", Shipment("second")) is EventDelivery.DUPLICATE
    async with running_worker(scheduler):
        assert await scheduler.wait_for(shipping, "order-1", SOON) == "first"


@pytest.mark.usefixtures("worker")
async def test_an_event_that_was_delivered_is_a_duplicate_later(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("two-events")
    async def two_events() -> list[int]:
        return [await zart.wait_for_event("one", type=int), await zart.wait_for_event("two", type=int)]

    await scheduler.start_for(two_events, "two-1")
    await reaches(scheduler, "two-1", "waiting", "event one")
    assert await scheduler.offer_event("two-1", "one", 1) is EventDelivery.DELIVERED
    assert await scheduler.offer_event("two-1", "one", 7) is EventDelivery.DUPLICATE
    await scheduler.offer_event("two-1", "two", 2)
    assert await scheduler.wait_for(two_events, "two-1", SOON) == [1, 2]


async def test_an_event_for_nobody_is_not_found(scheduler: zart.DurableScheduler) -> None:
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.offer_event("nobody", "shipped")


@pytest.mark.usefixtures("worker")
async def test_an_event_for_a_finished_execution_is_refused(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_and_wait_for(napping, "nap-1", "", SOON)
    with pytest.raises(zart.ExecutionFinished) as raised:
        await scheduler.offer_event("nap-1", "shipped")
    assert raised.value.status == "completed"


@pytest.mark.usefixtures("worker")
async def test_a_wait_ends_with_deadline_exceeded_when_its_timeout_passes(scheduler: zart.DurableScheduler) -> None:
    assert await scheduler.start_and_wait_for(impatient, "order-1", timeout=SOON) == "no shipped"


async def test_a_timeout_stands_though_the_event_comes_before_the_body_goes_on(
    scheduler: zart.DurableScheduler,
) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(impatient, "order-1")
        await reaches(scheduler, "order-1", "waiting", "event shipped")
    due = time.monotonic() + 0.06
    while time.monotonic() < due:
        time.sleep(0.01)
    assert await scheduler.offer_event("order-1", "shipped") is EventDelivery.BUFFERED
    async with running_worker(scheduler):
        assert await scheduler.wait_for(impatient, "order-1", SOON) == "no shipped"


@pytest.mark.usefixtures("worker")
async def test_a_late_event_changes_nothing_at_the_next_replay(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("timed-out-then-more")
    async def timed_out_then_more() -> list[str]:
        said = []
        try:
            await zart.wait_for_event("approval", timeout="20ms")
        except zart.DeadlineExceeded:
            said.append("nobody approved")
        said.append(await zart.wait_for_event("closed", type=str))
        return said

    await scheduler.start_for(timed_out_then_more, "late-1")
    await reaches(scheduler, "late-1", "waiting", "event closed")
    assert await scheduler.offer_event("late-1", "approval") is EventDelivery.BUFFERED
    await scheduler.offer_event("late-1", "closed", "shut")
    assert await scheduler.wait_for(timed_out_then_more, "late-1", SOON) == ["nobody approved", "shut"]


@pytest.mark.usefixtures("worker")
async def test_an_event_of_the_wrong_type_holds_the_execution_for_code_that_can_read_it(
    scheduler: zart.DurableScheduler,
) -> None:
    await scheduler.start_for(shipping, "order-1")
    await scheduler.offer_event("order-1", "shipped", ["no", "shipment"])
    assert "event 'shipped'" in await held(scheduler, "order-1")


@pytest.mark.usefixtures("worker")
async def test_a_new_run_waits_for_an_event_of_its_own(scheduler: zart.DurableScheduler) -> None:
    for tracking in ("first", "second"):
        await scheduler.start_for(shipping, "order-1")
        await reaches(scheduler, "order-1", "waiting", "event shipped")
        assert await scheduler.offer_event("order-1", "shipped", Shipment(tracking)) is EventDelivery.DELIVERED
        assert await scheduler.wait_for(shipping, "order-1", SOON) == tracking


@pytest.mark.usefixtures("worker")
async def test_the_small_event_client_needs_no_handlers(
    scheduler: zart.DurableScheduler, redis_url: str, namespace: str
) -> None:
    await scheduler.start_for(shipping, "order-1")
    async with zart.EventClient(redis_url, namespace=namespace) as client:
        await client.offer_event("order-1", "shipped", {"tracking": "ZR-9"})
    assert await scheduler.wait_for(shipping, "order-1", SOON) == "ZR-9"


@pytest.mark.usefixtures("worker")
async def test_an_event_of_the_name_of_a_sleep_does_not_end_it(scheduler: zart.DurableScheduler) -> None:
    @zart_step("moment")
    async def moment() -> None: ...

    await scheduler.start_for(napping, "nap-1", "x")
    await reaches(scheduler, "nap-1", "waiting", "sleep nap")
    began = (await scheduler.status("nap-1")).created_at
    assert await scheduler.offer_event("nap-1", "nap") is EventDelivery.BUFFERED
    record = await scheduler.wait("nap-1", SOON)
    assert record.output == "x"
    assert record.finished_at is not None
    assert record.finished_at - began >= timedelta(milliseconds=150)
