"""What `zart-worker` runs. Django is set up before its models are imported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from django.db import close_old_connections

import zart_redis as zart
from orders.models import Order
from zart_redis import zart_durable, zart_step


@contextmanager
def fresh_connections() -> Iterator[None]:
    """A step runs in a thread of the worker, outside a request: drop connections that the database has closed."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


@zart_step("set-state-{state}", retry="exponential(5, 1s)")
def set_state(order_id: int, state: str) -> None:
    """A plain def runs in a thread, where the ORM may block. Setting a state twice does no harm."""
    with fresh_connections():
        Order.objects.filter(pk=order_id).update(state=state)


@zart_durable("fulfil-order", timeout="30d")
async def fulfil_order(order_id: int) -> str:
    await set_state(order_id, "charged")
    try:
        await zart.wait_for_event("shipped", timeout="7d")
    except zart.DeadlineExceeded:
        await set_state(order_id, "refunded")
        return "refunded"
    await set_state(order_id, "shipped")
    return "shipped"
