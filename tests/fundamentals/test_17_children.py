"""Children: executions that a body starts and waits for, in its own partition and in others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import until
from zart_redis import BusinessErr, Ok, zart_durable, zart_step

pytestmark = pytest.mark.anyio
SETTINGS = [{"partitions": 1}, {"partitions": 1, "replay": True}, {"partitions": 4}]


@dataclass
class Order:
    account: str
    cents: int


@dataclass
class Receipt:
    account: str
    paid: int


class Declined(Exception):
    pass


@zart_step("children-charge", raises=(Declined,))
async def charge(order: Order) -> int:
    if order.cents < 0:
        raise Declined("a negative amount")
    return order.cents


@zart_durable("children-checkout")
async def checkout(order: Order) -> Receipt:
    return Receipt(order.account, await charge(order))


@zart_durable("children-sleeper")
async def sleeper(hours: int) -> str:
    await zart.sleep("nap", f"{hours}h")
    return f"slept {hours}"


HANDLERS: list[Any] = [checkout, sleeper]


@zart_durable("children-awaiting")
async def awaiting(orders: list[Order]) -> list[Receipt]:
    return [await zart.child(checkout, order, name=f"order-{n}") for n, order in enumerate(orders)]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_child_is_awaited_as_a_step(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(awaiting, *HANDLERS, **settings) as h:
        orders = [Order("acme", n) for n in range(6)]
        assert await h.run(awaiting, "p", orders) == [Receipt("acme", n) for n in range(6)]
        children = await h.scheduler.list_executions(parent="p")
        assert sorted(child.execution_id for child in children) == [f"p.1.order-{n}" for n in range(6)]
        assert {child.status for child in children} == {"completed"}
        assert children[0].tags == {}
        assert await h.scheduler.doctor() == []


@zart_durable("children-gathering")
async def gathering(count: int) -> list[str]:
    handles = [zart.schedule(zart.child(sleeper, n, name=f"sleeper-{n}")) for n in range(count)]
    both = await asyncio.gather(*(zart.child(sleeper, 5, name=name) for name in "ab"))
    return [*(result.unwrap() for result in await zart.wait(handles)), *both]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_children_are_scheduled_and_gathered(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(gathering, *HANDLERS, **settings) as h:
        assert await h.run(gathering, "p", 6) == [*(f"slept {n}" for n in range(6)), "slept 5", "slept 5"]
        assert h.now.hour is not None


@zart_durable("children-judging")
async def judging(_: None = None) -> list[str]:
    found = []
    match await zart.step(zart.child(checkout, Order("a", -1), name="declined")):
        case BusinessErr(zart.ExecutionFailed(error=error)):
            found.append(type(error).__name__)
    match await zart.step(zart.child(checkout, Order("a", 1), name="taken", id="stranger")):
        case BusinessErr(zart.ExecutionAlreadyExists(status=status)):
            found.append(f"taken: {status}")
    found.append(str(await zart.step_or(zart.child(checkout, Order("a", -2), name="or"), "a default")))
    try:
        await zart.child(checkout, Order("a", -3), name="required")
    except zart.StepFailed as error:
        found.append(type(error.source).__name__)
    match await zart.step(zart.child(checkout, Order("a", 4), name="fine")):
        case Ok(Receipt(paid=paid)):
            found.append(str(paid))
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_child_that_fails_is_an_error_of_the_call(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(judging, *HANDLERS, **settings) as h:
        await h.scheduler.start_for(sleeper, "stranger", 1000)
        assert await h.run(judging, "p") == [
            "StepFailed",
            "taken: waiting",
            "a default",
            "StepBusinessError",
            "4",
        ]


@zart_durable("children-cancelled-by-a-client")
async def informed(_: None = None) -> str:
    match await zart.step(zart.child(sleeper, 100, id="the-child")):
        case BusinessErr(zart.Cancelled()):
            return "cancelled"
    return "not cancelled"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_parent_learns_that_its_child_was_cancelled(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(informed, *HANDLERS, **settings) as h:
        await h.scheduler.start_for(informed, "p")
        await until(lambda: _is(h, "the-child", "waiting"))
        await h.scheduler.cancel("the-child")
        assert await h.scheduler.wait_for(informed, "p", "10s") == "cancelled"


async def _is(h: Any, id: str, status: str) -> bool:
    try:
        return bool((await h.scheduler.status(id)).status == status)
    except zart.ExecutionNotFound:
        return False


@zart_durable("children-ending")
async def ending(how: str) -> str:
    await zart.capture("first", lambda: 1)
    zart.schedule(zart.child(sleeper, 100, id="bound", name="bound"))
    zart.schedule(zart.child(sleeper, 100, id="free", name="free", on_parent_end="leave"))
    await zart.wait_for_event("go")
    if how == "fail":
        raise ValueError
    return how


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("how", ["fail", "cancel", "restart"])
async def test_children_end_with_their_parent_unless_they_outlive_it(
    zart_harness: Any, settings: Any, how: str
) -> None:
    async with zart_harness(ending, *HANDLERS, **settings) as h:
        await h.scheduler.start_for(ending, "p", how)
        await until(lambda: _is(h, "bound", "waiting"))
        await until(lambda: _is(h, "free", "waiting"))
        if how == "cancel":
            await h.scheduler.cancel("p")
        elif how == "restart":
            await h.scheduler.restart("p", "again")
        else:
            await h.scheduler.offer_event("p", "go")
        if how == "restart":  # the new run has made them anew
            await until(lambda: _runs(h, "bound", 2))
            await until(lambda: _runs(h, "free", 2))
        else:
            await until(lambda: _is(h, "bound", "cancelled"))
            assert (await h.scheduler.status("bound")).reason
            assert await _is(h, "free", "waiting")
        assert await h.scheduler.doctor() == []


async def _runs(h: Any, id: str, run: int) -> bool:
    return bool((await h.scheduler.status(id)).run == run)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_returning_parent_waits_for_children_that_end_with_it(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(ending, *HANDLERS, **settings) as h:
        await h.scheduler.start_for(ending, "p", "return")
        await h.scheduler.offer_event("p", "go")
        await until(lambda: _is(h, "bound", "waiting"))
        await until(lambda: _waits_for(h, "p", "scheduled steps that were not waited for"))
        await h.scheduler.cancel("free")
        assert await _is(h, "p", "waiting")
        async with h.outage():  # then only a timer is left
            await h.scheduler.cancel("bound")
            assert await h.scheduler.doctor() == []
        assert await h.scheduler.wait_for(ending, "p", "10s") == "return"


async def _waits_for(h: Any, id: str, what: str) -> bool:
    return what in (await h.scheduler.status(id)).waiting_for


@zart_durable("children-leaving")
async def leaving(_: None = None) -> str:
    zart.schedule(zart.child(sleeper, 100, id="free", on_parent_end="leave"))
    return "left"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_child_that_outlives_its_parent_does_not_keep_it(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(leaving, *HANDLERS, **settings) as h:
        assert await h.run(leaving, "p") == "left"
        await until(lambda: _is(h, "free", "waiting"))
        await h.advance("101h")
        assert await h.scheduler.wait_for(sleeper, "free", "10s") == "slept 100"
        assert await h.scheduler.doctor() == []


@zart_durable("children-racing")
async def racing(_: None = None) -> str:
    try:
        async with asyncio.timeout(3600):
            await zart.child(sleeper, 100, id="slow")
    except TimeoutError:
        return await zart.child(sleeper, 1, name="quick")
    return "no timeout"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_child_that_loses_its_race_is_cancelled(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(racing, *HANDLERS, **settings) as h:
        await h.scheduler.start_for(racing, "p")
        await until(lambda: _is(h, "slow", "waiting"))
        await h.advance("2h")
        assert await h.scheduler.wait_for(racing, "p", "10s") == "slept 1"
        await until(lambda: _is(h, "slow", "cancelled"))


@zart_durable("children-bounded", timeout="2h")
async def bounded(_: None = None) -> str:
    return await zart.child(sleeper, 100, id="bounded")


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_child_ends_no_later_than_its_parent(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(bounded, *HANDLERS, **settings) as h:
        await h.scheduler.start_for(bounded, "p")
        await until(lambda: _is(h, "bounded", "waiting"))
        async with h.outage():
            await h.advance("3h")
        assert isinstance((await h.scheduler.wait("p", "10s")).error, zart.RemoteError | Exception)
        await until(lambda: _has_ended(h, "bounded"))
        assert (await h.scheduler.status("bounded")).status in ("failed", "cancelled")


async def _has_ended(h: Any, id: str) -> bool:
    return bool((await h.scheduler.status(id)).status.is_final)


@zart_durable("children-again", retry="fixed(1, 1s)")
async def again(_: None = None) -> int:
    return (await zart.child(checkout, Order("a", -1 if zart.context().current_attempt == 0 else 7))).paid


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_child_that_failed_is_started_again_in_the_next_attempt(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(again, *HANDLERS, **settings) as h:
        assert await h.run(again, "p") == 7
        assert (await h.scheduler.status("p.1.children-checkout")).run == 2


@zart_durable("children-turning")
async def turning(number: int) -> int:
    if number < 3:
        await zart.continue_as_new(number + 1)
    return number


@zart_durable("children-parent-of-turning")
async def parent_of_turning(_: None = None) -> int:
    return await zart.child(turning, 0)


@zart_durable("children-continuing")
async def continuing(_: None = None) -> str:
    zart.schedule(zart.child(sleeper, 1, id="bound"))
    try:
        await zart.continue_as_new(None)
    except zart.InvalidInput as error:
        return str(error)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_continue_as_new(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(parent_of_turning, turning, continuing, *HANDLERS, **settings) as h:
        assert await h.run(parent_of_turning, "p") == 3
        assert "while its child 'children-sleeper' lives" in await h.run(continuing, "c")


@zart_durable("children-wrong")
async def wrong(_: None = None) -> list[str]:
    found = []
    for bad in (
        lambda: zart.child(checkout, Order("a", 1), id="a\nb"),
        lambda: zart.child(checkout, Order("a", 1), name=""),
        lambda: zart.child(checkout, "no order"),  # type: ignore[misc]
        lambda: zart.child(checkout, Order("a", 1), on_parent_end="explode"),  # type: ignore[call-overload]
        lambda: zart.child(checkout, Order("a", 1), tags={"": "x"}),
    ):
        try:
            bad()
        except zart.ZartError as error:
            found.append(type(error).__name__)
    return found


async def test_bad_input_is_refused_at_the_call(zart_harness: Any) -> None:
    async with zart_harness(wrong, *HANDLERS) as h:
        assert await h.run(wrong, "w") == [
            "InvalidInput",
            "InvalidInput",
            "SerializationError",
            "InvalidInput",
            "InvalidInput",
        ]
    with pytest.raises(zart.NoExecutionContext):
        zart.child(checkout, Order("a", 1))


BEGUN: list[str] = []


@zart_step("children-slow-step-{name}")
async def slow_step(name: str) -> str:
    BEGUN.append(name)
    await asyncio.sleep(60)
    return name


@zart_step("children-fast-step")
async def fast_step() -> str:
    return "fast"


@zart_durable("children-taking-back")
async def taking_back(_: None = None) -> list[Any]:
    slow, fast = zart.schedule(slow_step("a")), zart.schedule(fast_step())
    (won,) = await zart.wait([fast])
    slow.cancel()
    fast.cancel()  # it has ended, and keeps its result
    lost, kept = await zart.wait([slow, fast])
    assert isinstance(lost, zart.Err)
    assert isinstance(lost.error, zart.StepBusinessError)
    assert isinstance(lost.error.error, zart.Cancelled)
    return [won.unwrap(), kept.unwrap()]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_scheduled_step_is_taken_back(zart_harness: Any, settings: Any) -> None:
    async with zart_harness(taking_back, **settings) as h:
        assert await h.run(taking_back, "t") == ["fast", "fast"]
        steps = {step.name: step.status for step in (await h.scheduler.detail("t")).steps}
        assert steps == {"children-slow-step-a": "cancelled", "children-fast-step": "completed"}
        assert await h.scheduler.doctor() == []
