"""The clients without `await`: each call has the type that `await` would give."""

from dataclasses import dataclass
from typing import Any, assert_type

import zart_redis as zart
from zart_redis.client.admin import RerunReport
from zart_redis.client.history import RunDetail
from zart_redis.model import PauseRule
from zart_redis.sync import DurableScheduler, EventClient


@dataclass
class Order:
    account: str


@dataclass
class Receipt:
    charge_id: str


@zart.zart_durable("sync-checkout")
async def checkout(order: Order) -> Receipt:
    return Receipt(order.account)


@zart.zart_durable("sync-sweep")
async def sweep() -> int:
    return 0


class Checkout(zart.DurableExecution[Order, Receipt]):
    name = "sync-checkout-class"

    async def run(self, data: Order) -> Receipt:
        return Receipt(data.account)


def start(scheduler: DurableScheduler, order: Order) -> None:
    assert_type(scheduler.start("x", "sync-checkout", order, queue="mail", delay="1s"), zart.StartedRun)
    assert_type(scheduler.start_for(checkout, "x", order), zart.StartedRun)
    assert_type(scheduler.start_for(Checkout, "x", order, delay="1s"), zart.StartedRun)
    assert_type(scheduler.start_for(sweep, "x"), zart.StartedRun)
    assert_type(scheduler.start_many([("x", "sync-sweep", None)]), list[zart.StartedRun | None])


def follow(scheduler: DurableScheduler, order: Order) -> None:
    assert_type(scheduler.status("x"), zart.ExecutionRecord)
    assert_type(scheduler.wait("x", timeout="1m"), zart.ExecutionRecord)
    assert_type(scheduler.wait_completion("x"), Any)
    assert_type(scheduler.wait_completion("x", "1m", type=Receipt), Receipt)
    assert_type(scheduler.wait_for(checkout, "x", timeout="1m"), Receipt)
    assert_type(scheduler.wait_for(Checkout, "x"), Receipt)
    assert_type(scheduler.wait_for(sweep, "x"), int)
    assert_type(scheduler.start_and_wait_for(checkout, "x", order, timeout="1m"), Receipt)
    assert_type(scheduler.start_and_wait_for(Checkout, "x", order), Receipt)
    assert_type(scheduler.start_and_wait_for(sweep, "x"), int)


def manage(scheduler: DurableScheduler) -> None:
    assert_type(scheduler.cancel("x"), bool)
    assert_type(scheduler.offer_event("x", "shipped", {"tracking": "ZR-1"}), zart.EventDelivery)
    assert_type(scheduler.list_executions(status="failed", limit=10), zart.ExecutionPage)
    assert_type(scheduler.stats(), zart.Stats)
    assert_type(scheduler.detail("x", run=1), RunDetail)
    assert_type(scheduler.rerun_steps("x", rerun=["a-*"], triggered_by="me"), RerunReport)
    assert_type(scheduler.pause(task_name="sync-sweep"), PauseRule)
    assert_type(scheduler.purge(older_than="1d"), int)
    assert_type(scheduler.settings, zart.Settings)


def hold() -> None:
    with DurableScheduler("redis://localhost", namespace="shop") as scheduler:
        assert_type(scheduler, DurableScheduler)
    with EventClient() as events:
        assert_type(events, EventClient)
        assert_type(events.offer_event("x", "shipped"), zart.EventDelivery)
    events.close()


def refused(scheduler: DurableScheduler, order: Order) -> None:
    """What `await` would not take either; mypy reports an ignore that is not needed."""
    scheduler.start_for(checkout, "x", 1)  # type: ignore[misc]
    scheduler.start_for(checkout, "x")  # type: ignore[arg-type]
    scheduler.start_for(sweep, "x", order)  # type: ignore[misc]
    scheduler.wait("x", "1m", "2m")  # type: ignore[call-arg]
    scheduler.cancel(1)  # type: ignore[arg-type]
    EventClient().start("x", "sync-sweep")  # type: ignore[attr-defined]
