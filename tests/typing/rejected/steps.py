"""Wrong uses of steps and free functions; each marked line must be an error for the checkers that the mark names."""

import zart_redis as zart
from zart_redis import BusinessErr, Ok, zart_step


class Declined(Exception): ...


@zart_step("rejected-charge", raises=(Declined,))
async def charge(account: str, cents: int) -> int:
    return cents


@zart_step("rejected-scope", timeout_scope="sometimes")  # E: mypy pyright
async def scope() -> None: ...


@zart_step("rejected-raises", raises=(KeyboardInterrupt,))  # E: mypy pyright
async def interrupted() -> None: ...


@zart_step("rejected-retry", retry=3)  # E: mypy pyright
async def retried() -> None: ...


class Wrong(zart.ZartStep[int]):
    async def run(self) -> str:  # E: mypy pyright
        return ""


async def body() -> None:
    charge("a", "b")  # E: mypy pyright
    charge("a")  # E: mypy pyright
    charge("a", 1).named(5)  # E: mypy pyright
    text: str = await charge("a", 1)  # E: mypy pyright
    required: str = await zart.require(charge("a", 1))  # E: mypy pyright
    await zart.require(charge)  # E: mypy pyright
    await zart.require(charge.fn("a", 1))  # E: mypy pyright
    await zart.step(5)  # E: mypy pyright
    await zart.step_or(charge("a", 1))  # E: mypy pyright
    default: int = await zart.step_or(charge("a", 1), "")  # E: mypy pyright
    await zart.wait([charge("a", 1)])  # E: mypy pyright
    await zart.wait(zart.schedule(charge("a", 1)))  # E: mypy pyright
    results: list[Ok[str] | zart.Err] = await zart.wait([zart.schedule(charge("a", 1))])  # E: mypy pyright
    charge("a", 1) + 1  # E: mypy pyright
    print(charge("a", 1) > 1)  # E: mypy pyright
    charge("a", 1).cents  # E: mypy pyright
    charge("a", 1)["cents"]  # E: mypy pyright
    await zart.sleep("nap")  # E: mypy pyright
    await zart.sleep_until("nap", "tomorrow")  # E: mypy pyright
    event: str = await zart.wait_for_event("shipped", type=int)  # E: pyright
    captured: str = await zart.capture("value", lambda: 5)  # E: mypy pyright
    await zart.capture("value", 5)  # E: mypy pyright
    closed: str = await zart.run("value", lambda: 5)  # E: mypy pyright
    zart.run("value", 5)  # E: mypy pyright
    zart.run("value", charge)  # E: mypy pyright
    zart.context().no_such_field  # E: mypy pyright
    print(text, required, default, results, event, captured, closed)


async def outcome() -> None:
    match await zart.step(charge("a", 1)):
        case Ok(value):
            value.upper()  # E: mypy pyright
        case BusinessErr(error):
            error.code  # E: mypy pyright
        case _:
            pass
