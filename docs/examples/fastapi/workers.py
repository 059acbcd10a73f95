"""The durable part of the shop: what `zart-worker` runs."""

from dataclasses import dataclass

import zart_redis as zart
from zart_redis import zart_durable, zart_step


@dataclass
class Order:
    account: str
    cents: int


@dataclass
class Shipment:
    tracking: str


class CardDeclined(Exception):
    pass


@zart_step("charge-card", retry="exponential(5, 1s)", timeout="1m", raises=(CardDeclined,), no_retry=(CardDeclined,))
async def charge_card(account: str, cents: int) -> str:
    """A fake payment provider. A real one would be passed the idempotency key."""
    if account == "poor":
        raise CardDeclined(account)
    return f"payment {zart.context().idempotency_key}"


@zart_step("refund-card", retry="exponential(10, 1s)")
async def refund_card(payment: str) -> None: ...


@zart_durable("fulfil-order", timeout="30d")
async def fulfil_order(order: Order) -> str:
    match await zart.step(charge_card(order.account, order.cents)):
        case zart.Ok(payment):
            pass
        case zart.BusinessErr(CardDeclined()):
            return "declined"
        case failed:
            return failed.unwrap()
    try:
        shipment = await zart.wait_for_event("shipped", timeout="7d", type=Shipment)
    except zart.DeadlineExceeded:
        await refund_card(payment)
        return "refunded"
    return f"sent as {shipment.tracking}"
