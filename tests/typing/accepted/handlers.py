"""Handlers in every form, and how schedulers infer their input and output."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

import zart_redis as zart
from zart_redis import zart_durable


@dataclass
class Order:
    id: str


@dataclass
class Receipt:
    id: str


async def refund(data: Order, failure: zart.Failure) -> Receipt:
    match failure:
        case zart.StepFailure(step, error, raw):
            assert_type(step, str)
            assert_type(error, Exception)
            assert_type(raw, zart.RemoteError)
        case zart.RetriesExhausted(attempts):
            assert_type(attempts, int)
        case zart.HandlerError(error):
            assert_type(error, Exception)
        case zart.ExecutionDeadlineExceeded():
            pass
    return Receipt(data.id)


@zart_durable(
    "typed-checkout",
    timeout="30m",
    on_failure=refund,
    retry="fixed(3, 1s)",
    queue="mail",
    retention=timedelta(days=1),
)
async def checkout(order: Order) -> Receipt:
    return Receipt(order.id)


@zart_durable
async def parent() -> None:
    assert_type(await zart.child(checkout, Order("a")), Receipt)
    assert_type(await zart.child(plain, 1, name="one", id="one", on_parent_end="leave"), str)
    assert_type(zart.schedule(zart.child(plain, 1)), zart.StepHandle[str])
    assert_type(await zart.step_or(zart.child(plain, 1), None), str | None)
    await zart.start(plain, "other", 1, delay="1h")
    await zart.send("sent", "other", "items", 1)
    assert_type(await zart.receive("item", channel="items", timeout="1h", type=Receipt), Receipt)


@zart_durable
async def plain(number: int) -> str:
    return str(number)


@zart_durable()
async def nothing() -> list[int]:
    return []


@zart_durable("typed-bare", retry=zart.RetryConfig.exponential(3, 2.5, max_delay="1m", jitter=0.1))
async def bare() -> None: ...


class Classy(zart.DurableExecution[Order, Receipt]):
    timeout = "5m"
    queue = "mail"

    async def run(self, data: Order) -> Receipt:
        return Receipt(data.id)

    async def on_failure(self, data: Order, failure: zart.Failure) -> Receipt:
        return Receipt(data.id)


assert_type(checkout, zart.DurableHandler[Order, Receipt])
assert_type(plain, zart.DurableHandler[int, str])
assert_type(nothing, zart.DurableHandler[None, list[int]])
assert_type(checkout.name, str)


async def manage() -> None:
    async with zart.DurableScheduler("redis://localhost", namespace="zart", max_payload=5) as scheduler:
        assert_type(await scheduler.start("a", "typed-checkout", {"id": "x"}, queue="q", delay="5s"), zart.StartedRun)
        assert_type(await scheduler.start_for(checkout, "a", Order("x")), zart.StartedRun)
        assert_type(await scheduler.start_for(Classy, "a", Order("x"), delay=5), zart.StartedRun)
        assert_type(await scheduler.start_for(nothing, "a"), zart.StartedRun)
        assert_type(
            await scheduler.start_many([("a", "plain", 1), zart.StartRequest("b", "plain", 2)]),
            list[zart.StartedRun | None],
        )
        assert_type(await scheduler.wait_for(checkout, "a", "5s"), Receipt)
        assert_type(await scheduler.wait_for(Classy, "a", timeout=5), Receipt)
        assert_type(await scheduler.start_and_wait_for(plain, "a", 1, "5s"), str)
        assert_type(await scheduler.start_and_wait_for(nothing, "a", timeout=timedelta(seconds=1)), list[int])
        record = await scheduler.status("a")
        assert_type(record, zart.ExecutionRecord)
        assert_type(record.status, zart.ExecutionStatus)
        assert_type(record.error, zart.RemoteError | None)
        assert_type(record.waiting_for, tuple[str, ...])
        assert_type(await scheduler.wait("a", "5s"), zart.ExecutionRecord)
        assert_type(await scheduler.cancel("a"), bool)
        assert_type(await scheduler.offer_event("a", "shipped", {"tracking": "x"}), zart.EventDelivery)
        await scheduler.send("a", "items", 1, message_id="m", start=(plain, None))
        page = await scheduler.list_executions(
            status="failed", task_name="plain", queue="default", limit=5, cursor=None, order="oldest"
        )
        assert_type(page, zart.ExecutionPage)
        assert_type(page.cursor, str | None)
        assert_type(page[0], zart.ExecutionRecord)
        stats = await scheduler.stats()
        assert_type(stats.by_status, Mapping[zart.ExecutionStatus, int])
        assert_type(await scheduler.wait_completion("a"), Any)
        assert_type(await scheduler.wait_completion("a", "5s", type=Receipt), Receipt)
        assert_type(await scheduler.wait_completion("a", "5s", type=list[Receipt]), list[Receipt])
    async with zart.EventClient("redis://localhost") as events:
        assert_type(await events.offer_event("a", "shipped"), zart.EventDelivery)
        await events.send("a", "items", {"shoes": 1})
    async with zart.Worker(
        "redis://localhost", queues=["default"], handlers=[checkout, plain, Classy], lease="1s"
    ) as w:
        assert_type(w, zart.Worker)
        w.stop()
