"""Wrong uses of handlers and schedulers; each marked line must be an error for the checkers that the mark names."""

import zart_redis as zart
from zart_redis import zart_durable


@zart_durable("rejected-echo")
async def echo(number: int) -> str:
    return str(number)


@zart_durable("rejected-nothing")
async def nothing() -> None: ...


class Classy(zart.DurableExecution[int, str]):
    async def run(self, data: int) -> str:
        return str(data)


async def misuse(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(echo, "a", "not a number")  # E: mypy pyright
    await scheduler.start_for(echo, "a")  # E: mypy pyright
    await scheduler.start_for(nothing, "a", 5)  # E: mypy pyright
    await scheduler.start_for(Classy, "a", "not a number")  # E: mypy pyright
    await scheduler.start_for("rejected-echo", "a", 5)  # E: mypy pyright
    await scheduler.start("a")  # E: mypy pyright
    await scheduler.start_and_wait_for(echo, "a", b"", "5s")  # E: mypy pyright
    number: int = await scheduler.wait_for(echo, "a", "5s")  # E: mypy pyright
    text: str = await scheduler.start_and_wait_for(nothing, "a")  # E: mypy pyright
    await scheduler.list_executions(order="random")  # E: mypy pyright
    await scheduler.cancel(5)  # E: mypy pyright
    zart.Worker(handlers=[misuse])  # E: mypy pyright
    zart.Worker(queues=5)  # E: mypy pyright
    print(number, text)


@zart_durable("rejected-two")  # E: mypy pyright
async def two(first: int, second: int) -> None: ...


@zart_durable("rejected-sync")  # E: mypy pyright
def sync(number: int) -> None: ...


@zart_durable("rejected-timeout", timeout=[5])  # E: mypy pyright
async def timeout(number: int) -> None: ...


@zart_durable("rejected-unknown", no_such_policy=5)  # E: mypy pyright
async def unknown(number: int) -> None: ...


class Wrong(zart.DurableExecution[int, str]):
    async def run(self, data: bytes) -> str:  # E: mypy pyright
        return ""
