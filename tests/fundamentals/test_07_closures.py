"""`zart.run`: a closure as a step, without a declaration."""

import asyncio
import functools
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from tests.support.workers import running_worker
from zart_redis import BusinessErr, Ok, ZartErr, zart_durable
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio


class Declined(Exception):
    pass


@dataclass
class Charge:
    cents: int


async def result(h: Harness, body: Any) -> Any:
    """The output of a body."""
    async with h:
        return await h.run(zart_durable(f"closures-{body.__name__}")(body), "closures-1")


async def test_a_closure_is_a_step_whether_async_plain_or_returning_an_awaitable(zart_harness: Any) -> None:
    calls: list[str] = []
    account = "a-1"

    async def charge() -> Charge:
        calls.append(f"charge {account}")
        return Charge(900)

    def rate() -> float:
        calls.append("rate")
        assert threading.current_thread() is not threading.main_thread()
        return 1.5

    async def rated() -> list[Any]:
        charged = await zart.run("charge", charge)
        rates = [await zart.run("rate", rate), await zart.run("later", lambda: asyncio.sleep(0, "later"))]
        partial = await zart.run("partial {0}", functools.partial(pow, 2, 3))
        return [charged.cents, *rates, partial, isinstance(await zart.run("clock", time.time), float)]

    assert await result(zart_harness(replay=True), rated) == [900, 1.5, "later", 8, True]
    assert calls == ["charge a-1", "rate"], "a replay does not call it again"


async def test_every_function_that_takes_a_step_takes_it(zart_harness: Any) -> None:
    async def refuse() -> int:
        raise Declined("too much")

    async def outcomes() -> list[Any]:
        one = await zart.step(zart.run("one", lambda: 1))
        two = await zart.step(zart.run("two", refuse, raises=(Declined,)))
        assert isinstance(two, BusinessErr)
        assert isinstance(two.error, Declined)
        assert await zart.step_or(zart.run("three", refuse), 3) == 3
        assert await zart.step_or_else(zart.run("four", refuse), lambda error: str(error)) == "Declined: too much"
        gathered = await asyncio.gather(*(zart.run(f"part-{n}", functools.partial(int, n)) for n in range(3)))
        named = await zart.run("five", lambda: 5).named("six")
        return [one == Ok(1), gathered, named, await zart.require(zart.run("seven", lambda: 7))]

    assert await result(zart_harness(), outcomes) == [True, [0, 1, 2], 5, 7]


async def test_it_is_retried_and_timed_as_a_declared_step(zart_harness: Any) -> None:
    attempts: list[int] = []

    def flaky() -> int:
        attempts.append(zart.context().current_attempt)
        if len(attempts) < 3:
            raise OSError("down")
        return 3

    async def policies() -> list[Any]:
        value = await zart.run("flaky", flaky, retry="fixed(2, 1h)")
        slow = await zart.step(zart.run("slow", lambda: asyncio.sleep(30), timeout="30ms"))
        assert isinstance(slow, ZartErr)
        return [value, type(slow.error).__name__]

    assert await result(zart_harness(), policies) == [3, "TimedOut"]
    assert len(attempts) == 3


async def test_the_type_says_how_the_value_is_read_back(zart_harness: Any) -> None:
    async def typed() -> list[Any]:
        charge = await zart.run("typed", lambda: Charge(5), type=Charge)
        untyped = await zart.step(zart.run("untyped", lambda: 5, type=int))
        return [charge.cents, untyped == Ok(5)]

    assert await result(zart_harness(replay=True), typed) == [5, True]


async def test_bad_arguments_are_refused_at_the_call() -> None:
    bad: Any = 5
    with pytest.raises(zart.InvalidInput, match=r"zart.run takes a function, as in zart.run\('five', lambda"):
        zart.run("five", bad)
    with pytest.raises(zart.InvalidInput, match="must not be empty"):
        zart.run("", lambda: 5)
    with pytest.raises(zart.InvalidInput, match="retry"):
        zart.run("five", lambda: 5, retry="often")
    takes_one: Any = lambda one: one  # noqa: E731
    with pytest.raises(TypeError, match="step 'one': missing a required argument: 'one'"):
        zart.run("one", takes_one)


@zart_durable("closures-scheduled")
async def scheduled() -> int:
    charge = zart.schedule(zart.run("charge", lambda: Charge(7), type=Charge))
    (charged,) = await zart.wait([charge])
    return charged.unwrap().cents


async def test_it_is_scheduled_only_with_a_secret(redis_url: str, namespace: str) -> None:
    async with zart.DurableScheduler(redis_url, namespace=namespace) as scheduler:
        async with running_worker(scheduler):
            await scheduler.start_for(scheduled, "without")
            with pytest.raises(zart.ExecutionFailed, match="ad-hoc callables need a secret: set ZART_SECRET"):
                await scheduler.wait_for(scheduled, "without", SOON)
        async with running_worker(scheduler, secrets=["s3cret"]):
            await scheduler.start_for(scheduled, "with")
            assert await scheduler.wait_for(scheduled, "with", SOON) == 7
