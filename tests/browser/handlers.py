"""Handlers whose executions the dashboard shows in the tests: orders that are paid, and shipped, or are not."""

import asyncio

import zart_redis as zart
from zart_redis import zart_durable, zart_step


class CardDeclined(Exception):
    pass


failing = {"charge-card"}
"""Names of the steps that fail now."""


@zart_step("reserve-stock", retry="fixed(3, 150ms)")
async def reserve_stock(item: str) -> dict[str, str]:
    await asyncio.sleep(0.06)
    if zart.context().current_attempt < 1:
        raise ConnectionError("the warehouse closed the connection")
    return {"item": item, "shelf": "B-17"}


@zart_step("charge-card", raises=(CardDeclined,))
async def charge_card(cents: int) -> str:
    await asyncio.sleep(0.12)
    if "charge-card" in failing:
        raise CardDeclined(f"the bank declined {cents / 100:.2f} EUR: insufficient funds")
    return "charge-4711"


@zart_step("send-mail-{index}")
async def send_mail(index: int) -> str:
    await asyncio.sleep(0.03 * (index + 1))
    return f"mail {index} sent"


@zart_durable("checkout")
async def checkout(order: dict[str, object]) -> str:
    await reserve_stock(str(order["item"]))
    await zart.sleep("settle", "400ms")
    charge = await charge_card(4200)
    await zart.wait([zart.schedule(send_mail(index)) for index in range(3)])
    return charge


@zart_durable("delivery")
async def delivery(data: object) -> object:
    """Waits for an event that comes only if a test sends it."""
    await send_mail(0)
    zart.progress(2, 5, "packed")
    shipment = await zart.wait_for_event("shipped", timeout="7d")
    await send_mail(1)
    return shipment


@zart_durable("many")
async def many(count: int) -> int:
    for index in range(count):
        await zart.capture(f"row-{index}", int, type=int)
    return count


@zart_durable("echo")
async def echo(data: object) -> object:
    return data


async def failed_order(scheduler: zart.DurableScheduler) -> None:
    """`order-1`, whose payment has failed."""
    await scheduler.start("order-1", "checkout", {"item": "lamp", "count": 2})
    assert (await scheduler.wait("order-1", "10s")).status == "failed"


ALL = [checkout, delivery, many, echo]
