"""Order fulfilment: validation, a payment that may need several tries, a sleep, an event, and compensation.

Start one, and deliver the event later that the parcel has left:

    zart start fulfil-order --id order-1 --data '{"id": "order-1", "account": "ann", "items": {"lamp": 4900}}'
    zart event order-1 shipped --payload '{"tracking": "ZR-1"}'
    zart wait order-1

The payment provider is only played, by `charge` and `refund`: it is unreachable for the first `outages` tries, and
declines accounts that begin with "poor-". Everything else is real.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import zart_redis as zart


@dataclass
class Order:
    """What a customer wants: prices in cents by article."""

    id: str
    account: str
    items: dict[str, int]
    outages: int = 0
    settle: str = "1s"
    """How long the money takes to arrive; 24h would be as cheap."""
    patience: str = "7d"
    """How long the warehouse may take."""


@dataclass
class Payment:
    id: str
    cents: int


@dataclass
class Shipment:
    """The payload of the event "shipped"."""

    tracking: str


@dataclass
class Fulfilment:
    """What became of an order."""

    state: Literal["shipped", "refused", "refunded"]
    cents: int = 0
    tracking: str | None = None
    reason: str = ""


@dataclass
class InvalidOrder(Exception):
    reason: str


@dataclass
class CardDeclined(Exception):
    account: str


class ProviderUnavailable(Exception):
    """The payment provider is unreachable; another attempt may succeed."""


@zart.zart_step("validate-order", raises=(InvalidOrder,))
async def validate(order: Order) -> int:
    """The total in cents."""
    if not order.items:
        raise InvalidOrder("it has no items")
    if any(cents <= 0 for cents in order.items.values()):
        raise InvalidOrder("a price is not positive")
    return sum(order.items.values())


@zart.zart_step(
    "charge-order",
    retry=zart.RetryConfig.exponential(4, "500ms", max_delay="10s", no_retry=(CardDeclined,)),
    timeout="1m",
    raises=(CardDeclined,),
)
async def charge(account: str, cents: int, outages: int) -> Payment:
    """A real provider is handed the key, so that an attempt whose reply was lost does not charge twice."""
    info = zart.context()
    if info.current_attempt < outages:
        raise ProviderUnavailable(f"no reply to attempt {info.current_attempt}")
    if account.startswith("poor-"):
        raise CardDeclined(account)
    return Payment(info.idempotency_key, cents)


@zart.zart_step("refund-order", retry="exponential(10, 1s)")
async def refund(account: str, cents: int) -> int:
    """The cents given back."""
    return cents


async def compensate(order: Order, failure: zart.Failure) -> Fulfilment:
    """Undo what was done. It is durable too: a refund is made even if this worker dies on the way."""
    match failure:
        case zart.StepFailure(error=(InvalidOrder() | CardDeclined()) as error):
            return Fulfilment("refused", reason=str(error))
        case _:  # even if no payment is recorded, one may have been made
            cents = await refund(order.account, sum(order.items.values()))
            return Fulfilment("refunded", cents, reason=type(failure).__name__)


@zart.zart_durable("fulfil-order", timeout="30d", on_failure=compensate)
async def fulfil_order(order: Order) -> Fulfilment:
    """From the order to the parcel."""
    total = await validate(order)
    payment = await charge(order.account, total, order.outages)
    await zart.sleep("settle", order.settle)
    shipment = await zart.wait_for_event("shipped", order.patience, type=Shipment)
    return Fulfilment("shipped", payment.cents, shipment.tracking)
