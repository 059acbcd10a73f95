"""Steps in every form, and what each free function gives for them."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_type

import zart_redis as zart
from zart_redis import BusinessErr, Err, Ok, ZartErr, zart_step


@dataclass
class Charge:
    id: str


class Declined(Exception): ...


class Closed(Exception): ...


@zart_step("typed-charge", retry="exponential(3, 2s)", timeout="30s", timeout_scope="per_attempt", raises=(Declined,))
async def charge(account: str, cents: int = 0) -> Charge:
    return Charge(account)


@zart_step("typed-close", raises=(Declined, Closed))
async def close(account: str) -> None: ...


@zart_step
async def look(index: int) -> list[str]:
    return [str(index)]


@zart_step
def blocking(text: str) -> int:
    return len(text)


@zart_step("typed-report-{index}")
def report(index: int) -> str:
    return str(index)


@zart_step()
async def parens() -> bool:
    return True


@dataclass
class Classy(zart.ZartStep[Charge]):
    account: str
    name = "typed-classy-{account}"
    retry = "fixed(3, 1s)"

    async def run(self) -> Charge:
        return Charge(self.account)


assert_type(charge("a"), zart.StepCall[Charge, Declined | zart.RemoteError])
assert_type(look(1), zart.StepCall[list[str], zart.RemoteError])
assert_type(look(1).named("other"), zart.StepCall[list[str], zart.RemoteError])
assert_type(blocking("x"), zart.StepCall[int, zart.RemoteError])
assert_type(report(index=3), zart.StepCall[str, zart.RemoteError])
assert_type(parens(), zart.StepCall[bool, zart.RemoteError])
assert_type(blocking.fn("x"), int)
assert_type(look(1).name, str)


async def plain_function() -> None:
    assert_type(await look.fn(1), list[str])


async def body() -> None:
    assert_type(await charge("a", cents=5), Charge)
    assert_type(await blocking("x"), int)
    assert_type(await Classy("a"), Charge)
    assert_type(await zart.require(charge("a")), Charge)
    assert_type(await zart.require(Classy("a")), Charge)
    assert_type(await zart.step(look(1)), Ok[list[str]] | BusinessErr[zart.RemoteError] | ZartErr)
    assert_type(await zart.step_or(look(1), None), list[str] | None)
    assert_type(await zart.step_or(blocking("x"), 0), int)


async def closures() -> None:
    async def fetch() -> Charge:
        return Charge("c-1")

    def count() -> int:
        return 1

    assert_type(zart.run("fetch", fetch), zart.StepCall[Charge, zart.RemoteError])
    assert_type(await zart.run("fetch", fetch, retry="fixed(1, 1s)", timeout="1m"), Charge)
    assert_type(await zart.run("count", count, type=int), int)
    assert_type(await zart.run("later", lambda: fetch()), Charge)
    assert_type(await zart.run("length", lambda: len("x")), int)
    declared = zart.run("count", count, raises=(Declined,))
    assert_type(declared, zart.StepCall[int, Declined | zart.RemoteError])
    assert_type(zart.run("fetch", fetch, raises=(Declined,)), zart.StepCall[Charge, Declined | zart.RemoteError])
    assert_type(await zart.step(declared), Ok[int] | BusinessErr[Declined | zart.RemoteError] | ZartErr)
    assert_type(zart.schedule(zart.run("fetch", fetch)), zart.StepHandle[Charge])


async def outcomes() -> str:
    match await zart.step(charge("a")):
        case Ok(value):
            assert_type(value, Charge)
            return value.id
        case BusinessErr(error):
            assert_type(error, Declined | zart.RemoteError)
            return str(error)
        case ZartErr(error):
            assert_type(error, zart.ZartStepError)
            return error.step


async def otherwise() -> None:
    def now_known(error: Declined | zart.RemoteError) -> int:
        return 1

    async def later(error: Declined | zart.RemoteError) -> bytes:
        return b""

    assert_type(await zart.step_or_else(charge("a"), now_known), Charge | int)
    assert_type(await zart.step_or_else(charge("a"), later), Charge | bytes)


async def fan_out() -> None:
    handle = zart.schedule(look(1))
    assert_type(handle, zart.StepHandle[list[str]])
    assert_type(handle.name, str)
    results = await zart.wait([zart.schedule(look(index)) for index in range(3)])
    assert_type(results, list[Ok[list[str]] | Err])
    assert_type(results[0].unwrap(), list[str])
    assert_type([result.value for result in results if isinstance(result, Ok)], list[list[str]])
    assert_type(zart.schedule(Classy("a")), zart.StepHandle[Charge])


async def the_rest() -> None:
    await zart.sleep("nap", "24h")
    await zart.sleep_until("moment", datetime.now(UTC))
    assert_type(await zart.wait_for_event("shipped", timeout="7d", type=Charge), Charge)
    untyped: Any = await zart.wait_for_event("shipped")
    print(untyped)

    async def token() -> bytes:
        return b""

    def number() -> int:
        return 1

    assert_type(await zart.capture("token", token), bytes)
    assert_type(await zart.capture("number", number), int)
    assert_type(await zart.now("moment"), datetime)
    info = zart.context()
    assert_type(info, zart.ExecutionInfo)
    assert_type(info.current_attempt, int)
    assert_type(info.run, int)
    assert_type(info.is_retry(), bool)
    assert_type(info.idempotency_key, str)


async def as_coroutines() -> None:
    assert_type(await asyncio.create_task(look(1)), list[str])
    assert_type(await asyncio.ensure_future(look(1).named("a")), list[str])
    assert_type(await asyncio.wait_for(blocking("x"), 5), int)
    assert_type(await asyncio.gather(look(1), blocking("x")), tuple[list[str], int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(blocking("y"))
    assert_type(task.result(), int)
    for done in asyncio.as_completed([blocking("x"), blocking("y")]):
        assert_type(await done, int)
    assert_type(await asyncio.create_task(zart.require(blocking("z"))), int)


async def loop(cursor: int) -> int:
    await zart.sleep("nap", "1h")
    await zart.continue_as_new(cursor + 1)
