"""Steps that a harness replaces."""

import asyncio
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

import zart_redis as zart
from zart_redis import ZartStep, zart_durable, zart_step
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio

CALLED: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    CALLED.clear()


class Declined(Exception):
    pass


@zart_step("charge-{account}", retry="fixed(2, 1h)", timeout="1d", raises=(Declined,))
async def charge(account: str, cents: int = 5) -> str:
    CALLED.append("charge")
    return f"real {account} {cents}"


@zart_step
def count_stock(item: str) -> int:
    CALLED.append("count_stock")
    return 0


class Ship(ZartStep[str]):
    name = "ship"

    async def run(self) -> str:
        CALLED.append("ship")
        return "real"


@zart_durable("buy")
async def buy(account: str) -> list[object]:
    receipt = await charge(account)
    scheduled = [zart.schedule(count_stock("pen")), zart.schedule(charge("other", cents=7))]
    stock = [result.unwrap() for result in await zart.wait(scheduled)]
    return [receipt, *stock, await Ship()]


async def fake_charge(account: str, cents: int = 0) -> str:
    return f"fake {account} {cents} of {zart.context().step}"


async def test_fakes_run_in_place_of_steps_awaited_or_scheduled() -> None:
    ship = AsyncMock(return_value="fake")
    fakes: dict[Any, Any] = {charge: fake_charge, count_stock: lambda item: 12, Ship: ship}
    async with Harness([buy], steps=fakes) as h:
        bought = await h.run(buy, "b", "ann")
    assert bought == ["fake ann 0 of charge-ann", 12, "fake other 7 of charge-other", "fake"]
    assert CALLED == []


@pytest.mark.parametrize("options", [{"replay": True}, {"crash_after_each_step": True}])
async def test_each_fake_is_called_once(options: Any) -> None:
    fake = AsyncMock(return_value="x")
    async with Harness([buy], steps={charge: fake, Ship: fake}, **options) as h:
        assert await h.run(buy, "b", "ann") == ["x", 0, "x", "x"]
    assert fake.await_count == 3


@pytest.mark.parametrize("error", [Declined("no"), ValueError("no")])
async def test_what_a_fake_raises_is_the_error_of_the_step(error: Exception) -> None:
    fake = AsyncMock(side_effect=[error] * 3)
    async with Harness([buy], steps={charge: fake}) as h:
        with pytest.raises(zart.ExecutionFailed, match="no"):
            await h.run(buy, "b", "ann")
    assert fake.await_count == 3


async def test_a_fake_is_bound_by_the_timeout_of_its_step() -> None:
    @zart_step("hasty", timeout="50ms")
    async def hasty() -> None: ...

    @zart_durable("hurries")
    async def hurries() -> str:
        return type(await zart.step(hasty())).__name__

    async with Harness([hurries], steps={hasty: lambda: asyncio.sleep(60)}) as h:
        assert await h.run(hurries, "h") == "ZartErr"


async def test_a_fake_may_be_another_step() -> None:
    @zart_step("charge-in-test")
    async def charge_in_test(account: str, cents: int = 1) -> str:
        return f"test {account}"

    async with Harness([buy], steps={charge: charge_in_test, Ship: AsyncMock(return_value="")}) as h:
        assert (await h.run(buy, "b", "ann"))[0] == "test ann"


async def test_a_closure_of_the_same_name_is_not_replaced() -> None:
    @zart_durable("closes")
    async def closes() -> str:
        return await zart.run("count_stock", lambda: "closure")

    async with Harness([closes], steps={count_stock: lambda item: "fake"}) as h:
        assert await h.run(closes, "c") == "closure"


def not_a_step(item: str) -> int:
    return 1


@pytest.mark.parametrize(
    ("step", "fake", "says"),
    [
        (not_a_step, not_a_step, "not_a_step"),
        ("count_stock", not_a_step, "count_stock"),
        (count_stock, 12, "the fake of step 'count_stock' must be a function, not 12"),
        (count_stock, lambda: 12, r"'count_stock' takes \(\), where the step takes \(item: str\)"),
        (charge, lambda account: "", "charge-"),
    ],
)
def test_a_fake_that_cannot_work_is_refused_at_once(step: object, fake: Callable[..., object], says: str) -> None:
    with pytest.raises(zart.InvalidInput, match=says):
        Harness([buy], steps={step: fake})


def test_the_function_of_a_step_or_a_handler_cannot_be_assigned() -> None:
    for declared in (charge, count_stock, buy):
        with pytest.raises(AttributeError, match=r"Harness\(\.\.\., steps="):
            setattr(declared, "fn", not_a_step)  # noqa: B010 - a type checker would report the assignment
        assert declared.fn is not not_a_step
