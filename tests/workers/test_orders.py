"""Order fulfilment, with and without compensation."""

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from workers.orders import CardDeclined, Fulfilment, InvalidOrder, Order, compensate, fulfil_order

pytestmark = pytest.mark.anyio

ITEMS = {"lamp": 4900, "bulb": 350}


async def test_order_is_paid_and_shipped(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(fulfil_order, "o-1", Order("o-1", "ann", ITEMS, outages=1, settle="10ms"))
    assert await scheduler.offer_event("o-1", "shipped", {"tracking": "ZR-1"}) is zart.EventDelivery.BUFFERED
    fulfilment = await scheduler.wait_for(fulfil_order, "o-1", SOON)
    assert fulfilment == Fulfilment("shipped", 5250, "ZR-1")


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (Order("o-1", "ann", {}), InvalidOrder("it has no items")),
        (Order("o-1", "ann", {"gift": 0}), InvalidOrder("a price is not positive")),
        (Order("o-1", "poor-ben", ITEMS), CardDeclined("poor-ben")),
    ],
)
async def test_order_is_refused_before_money_moves(
    scheduler: zart.DurableScheduler, order: Order, reason: Exception
) -> None:
    fulfilment = await scheduler.start_and_wait_for(fulfil_order, "o-1", order, SOON)
    assert fulfilment == Fulfilment("refused", reason=str(reason))


async def test_money_is_refunded_when_nothing_is_shipped(scheduler: zart.DurableScheduler) -> None:
    order = Order("o-1", "ann", ITEMS, settle="0s", patience="20ms")
    fulfilment = await scheduler.start_and_wait_for(fulfil_order, "o-1", order, SOON)
    assert (fulfilment.state, fulfilment.cents) == ("refunded", 5250)


async def test_compensation_needs_a_body() -> None:
    with pytest.raises(zart.NoExecutionContext):
        await compensate(Order("o-1", "ann", ITEMS), zart.ExecutionDeadlineExceeded())
