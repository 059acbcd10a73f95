"""Handlers that the tests of the API start."""

import zart_redis as zart
from zart_redis import zart_durable, zart_step


class Declined(Exception):
    pass


@zart_step("http-charge")
async def charge(cents: int) -> str:
    if cents < 0:
        raise Declined(f"secret-{cents}")
    return f"receipt-{cents}"


@zart_durable("http-pay")
async def pay(cents: int) -> str:
    zart.set_value("cents", cents)
    return await charge(cents)


@zart_durable("http-approve")
async def approve() -> str:
    return await zart.wait_for_event("approved", type=str)


@zart_durable("http-receive")
async def receive() -> str:
    return await zart.receive("orders", type=str)


@zart_step("http-tokens", retry="fixed(2, 10ms)")
async def tokens() -> int:
    zart.emit("hello\nworld", stream="answer")
    if not zart.context().is_retry():
        raise Declined("again")
    zart.emit("done", stream="answer")
    return 2


@zart_durable("http-chat")
async def chat() -> int:
    count = await tokens()
    await zart.wait_for_event("end")
    zart.emit("bye", stream="answer")
    return count


@zart_durable("http-bare")
async def bare() -> None:
    raise Declined("without a step")


@zart_step("http-refused", retry="fixed(1, 10ms)")
async def refused(cents: int) -> None:
    raise Declined(f"secret-{cents}")


@zart_durable("http-refuse", retry="fixed(1, 10ms)")
async def refuse(cents: int) -> None:
    zart.set_value("cents", cents)
    await refused(cents)
