"""A deploy whose code does not fit what is in flight holds it, until code that fits is there."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, Gate, happens, held, reaches, until
from tests.support.workers import running_worker
from zart_redis import registry, zart_durable, zart_step
from zart_redis.client import doctor
from zart_redis.client.doctor import Problem
from zart_redis.engine import holds
from zart_redis.handlers import DurableHandler

pytestmark = pytest.mark.anyio


@dataclass
class Cents:
    cents: int


@dataclass
class Euros:
    euros: int


class Shop:
    """A handler as one deploy has it, what its code has done, and what it refunded."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def handler(self, case: str = "", *, timeout: str = "1h") -> DurableHandler[Any, Any]:
        """The handler whose code differs from that of the other deploy as the case says."""
        charged: Any = list[int] if case == "result" else int
        heard: Any = int if case == "event" else str

        async def charge(cents: int) -> Any:
            self.done.append("charge")
            return cents

        async def pack(parcel: Any) -> int:
            self.done.append("pack")
            return 1

        async def body(order: Any) -> str:
            cents: Any = await charge_step(7)
            if case == "kind":
                await zart.sleep("packed", "1s")
            handle = zart.schedule(pack_step({"weight": cents}).named("packed"))
            word = await zart.wait_for_event("go", type=heard)
            if case == "timer":
                await asyncio.sleep(0.2)
            else:
                await asyncio.sleep(0.1)
            await zart.wait([handle])
            await zart.wait_for_event("end")
            return f"{cents} {word}"

        async def refund(order: Any, failure: zart.Failure) -> str:
            self.done.append("refund")
            return "refunded"

        charge.__annotations__ = {"cents": int, "return": charged}
        pack.__annotations__ = {"parcel": int if case == "arguments" else dict[str, int], "return": int}
        body.__annotations__["order"] = refund.__annotations__["order"] = Euros if case == "input" else Cents
        charge_step, pack_step = zart_step("charge")(charge), zart_step("pack")(pack)
        return zart_durable("shop", timeout=timeout, on_failure=refund)(body)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "DELAYS_MS", (100, 200))
    monkeypatch.setattr(doctor, "UNSERVED_SECONDS", 0.5)


@asynccontextmanager
async def deployed(
    scheduler: zart.DurableScheduler, *handlers: DurableHandler[Any, Any], **options: Any
) -> AsyncIterator[zart.Worker]:
    async with running_worker(scheduler, handlers=handlers, **options) as worker:
        yield worker


async def begin(scheduler: zart.DurableScheduler, handler: DurableHandler[Any, Any], event: str = "go") -> None:
    """An order that waits for an event under this handler, with nothing left to run."""
    async with deployed(scheduler, handler):
        await scheduler.start_for(handler, "order", Cents(7))
        if event == "end":
            await scheduler.offer_event("order", "go", "yes")
        await reaches(scheduler, "order", "waiting", f"event {event}")
        await until(lambda: _packed(scheduler))


async def _packed(scheduler: zart.DurableScheduler) -> bool:
    return "completed" in [step.status for step in (await scheduler.detail("order")).steps if step.name == "packed"]


NAMED = {"result": "'charge'", "event": "'go'", "input": "input of task 'shop'", "kind": "'packed'", "timer": "timer"}


@pytest.mark.parametrize("case", NAMED)
async def test_what_the_new_code_cannot_continue_waits_for_code_that_can(
    scheduler: zart.DurableScheduler, shop: Shop, case: str
) -> None:
    fits = shop.handler()
    await begin(scheduler, fits, "end" if case == "timer" else "go")
    async with deployed(scheduler, shop.handler(case)):
        if case != "timer":
            await scheduler.offer_event("order", "go", "yes")
        await scheduler.offer_event("order", "end")
        assert NAMED[case] in await held(scheduler, "order")
        record = await scheduler.status("order")
        assert record.error is None
    async with deployed(scheduler, fits):
        assert (await scheduler.wait("order", SOON)).output == "7 yes"
    assert shop.done == ["charge", "pack"]


async def test_a_handler_that_the_new_code_lacks_is_waited_for(scheduler: zart.DurableScheduler, shop: Shop) -> None:
    fits = shop.handler()
    await begin(scheduler, fits)
    async with deployed(scheduler):
        await scheduler.offer_event("order", "go", "yes")
        await scheduler.offer_event("order", "end")
        await reaches(scheduler, "order", "waiting", "a worker for version 1 of task shop")
        await scheduler.start("new", "shop", Cents(7))
        never_begun = await reaches(scheduler, "new", "scheduled", "a worker that knows task 'shop'")
        assert never_begun.started_at is None
    async with deployed(scheduler, fits):
        assert (await scheduler.wait("order", SOON)).output == "7 yes"


@pytest.mark.parametrize("case", ["arguments", "unknown"])
async def test_a_scheduled_step_that_the_new_code_cannot_run_is_held_with_its_execution(
    scheduler: zart.DurableScheduler, shop: Shop, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = shop.handler()
    await scheduler.pause(step_pattern="packed")
    async with deployed(scheduler, fits):
        await scheduler.start_for(fits, "order", Cents(7))
        await scheduler.offer_event("order", "go", "yes")
        await reaches(scheduler, "order", "waiting", "step packed")
    known = registry.steps._by_import_path["pack"]
    changed = shop.handler(case)
    with monkeypatch.context() as patched:
        newer = {} if case == "unknown" else dict.fromkeys(known, registry.steps.by_name["pack"])
        patched.setitem(registry.steps._by_import_path, "pack", newer)
        if case == "unknown":
            patched.delitem(registry.steps.by_name, "pack")
        async with deployed(scheduler, changed):
            await scheduler.resume(step_pattern="packed")
            assert "pack" in await held(scheduler, "order")
            (step,) = [step for step in (await scheduler.detail("order")).steps if step.name == "packed"]
            assert step.put_off is not None
            assert (await scheduler.stats()).held == 1
            await until(lambda: _is_found(scheduler))
    shop.handler()
    async with deployed(scheduler, fits):
        await reaches(scheduler, "order", "waiting", "event end")
        await scheduler.offer_event("order", "end")
        assert (await scheduler.wait("order", SOON)).output == "7 yes"
    assert shop.done == ["charge", "pack"]
    assert (await scheduler.stats()).held == 0


async def _is_found(scheduler: zart.DurableScheduler) -> bool:
    return [f.problem for f in await scheduler.doctor() if f.subject == "order"] == [Problem.HELD]


async def test_what_is_held_is_logged_once_and_tried_again_without_haste(
    scheduler: zart.DurableScheduler, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await begin(scheduler, shop.handler())
    caplog.clear()
    began = datetime.now(UTC)
    async with deployed(scheduler, shop.handler("result")):
        await scheduler.offer_event("order", "go", "yes")
        await until(lambda: caplog.text.count("held: what is recorded") >= 4)
        tries = caplog.text.count("held: what is recorded")
    assert tries <= 3 + (datetime.now(UTC) - began).total_seconds() / 0.1
    assert [r.levelname for r in caplog.records if "order" in r.getMessage()].count("ERROR") == 1


async def test_what_is_held_is_named_and_can_be_cancelled(scheduler: zart.DurableScheduler, shop: Shop) -> None:
    await begin(scheduler, shop.handler())
    async with deployed(scheduler, shop.handler("result")):
        await scheduler.offer_event("order", "go", "yes")
        await held(scheduler, "order")
        assert (await scheduler.stats()).held == 1
        await until(lambda: _is_found(scheduler))
        assert await scheduler.cancel("order")
        assert (await scheduler.status("order")).status == "cancelled"
        assert (await scheduler.stats()).held == 0
        assert await scheduler.doctor() == []
    assert shop.done == ["charge", "pack"]


async def test_code_that_fits_is_noticed_at_once(
    scheduler: zart.DurableScheduler, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "DELAYS_MS", (600_000, 600_000))
    fits = shop.handler()
    await begin(scheduler, fits)

    @zart_durable("shop")
    async def does_not_fit(order: Cents) -> None:
        await zart.sleep("charge", "1s")

    async with deployed(scheduler, does_not_fit):
        await scheduler.offer_event("order", "go", "yes")
        await scheduler.offer_event("order", "end")
        await held(scheduler, "order")
    async with deployed(scheduler, does_not_fit):
        await asyncio.sleep(0.3)
        assert (await scheduler.status("order")).status == "waiting"
    async with deployed(scheduler, fits):
        assert (await scheduler.wait("order", SOON)).output == "7 yes"


async def test_a_deadline_fails_what_is_held_and_its_compensation_waits_for_code_that_fits(
    scheduler: zart.DurableScheduler, shop: Shop
) -> None:
    fits = shop.handler(timeout="2s")
    await begin(scheduler, fits)
    async with deployed(scheduler, shop.handler("input", timeout="2s")):
        await scheduler.offer_event("order", "go", "yes")
        await held(scheduler, "order")
        await until(lambda: _is_compensated(scheduler))
        assert "input" in await held(scheduler, "order")
        assert "refund" not in shop.done
    async with deployed(scheduler, fits):
        assert (await scheduler.wait("order", SOON)).output == "refunded"


async def _is_compensated(scheduler: zart.DurableScheduler) -> bool:
    x = (await scheduler._describe("order")).fields
    return x["scope"] == b"1f"


async def test_an_input_that_no_code_has_decoded_fails_at_once(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("picky", retry="fixed(3, 1h)")
    async def picky(order: Cents) -> int:
        return order.cents

    async with deployed(scheduler, picky):
        partition = (await scheduler._open()).partition("wrong")
        await partition.transitions.start("wrong", "picky", "default", b"\xa3no!", None, None, "")
        record = await scheduler.wait("wrong", SOON)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type_name == "SerializationError"


async def test_a_step_that_runs_when_the_body_is_held_ends_and_is_recorded(scheduler: zart.DurableScheduler) -> None:
    gate = Gate()
    runs: list[str] = []

    @zart_step("slow")
    async def slow() -> int:
        runs.append("slow")
        await gate.wait()
        return 1

    def listening(type: Any) -> DurableHandler[Any, Any]:
        @zart_durable("listening")
        async def listening() -> list[Any]:
            async def hear() -> Any:
                return await zart.wait_for_event("word", type=type)

            return [*await asyncio.gather(slow(), hear())]

        return listening

    async with deployed(scheduler, listening(int), grace="10s"):
        await scheduler.start("l", "listening")
        await happens(gate.begun)
        await scheduler.offer_event("l", "word", "text")
        await asyncio.sleep(0.05)
        assert (await scheduler.status("l")).status == "running"
        gate.opened.set()
        assert "'word'" in await held(scheduler, "l")
    async with deployed(scheduler, listening(str)):
        assert (await scheduler.wait("l", SOON)).output == [1, "text"]
    assert runs == ["slow"]


async def test_the_harness_raises_what_would_be_held(zart_harness: Any) -> None:
    @zart_durable("misheard")
    async def misheard() -> int:
        return await zart.wait_for_event("word", type=int)

    async with zart_harness(misheard) as h:
        await h.scheduler.start_for(misheard, "m")
        await h.scheduler.offer_event("m", "word", "text")
        with pytest.raises(zart.SerializationError, match="'word'"):
            await h.settle()


async def test_the_body_does_not_notice_that_it_is_held(scheduler: zart.DurableScheduler) -> None:
    noticed: list[BaseException] = []

    @zart_durable("watchful")
    async def watchful() -> Any:
        try:
            return await zart.wait_for_event("word", type=int)
        except Exception as error:
            noticed.append(error)

    async with deployed(scheduler, watchful):
        await scheduler.start_for(watchful, "w")
        await scheduler.offer_event("w", "word", "text")
        await held(scheduler, "w")
    assert noticed == []
