"""Cancelling with compensation: the on_failure body runs before the execution ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import until
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio
OPTIONS = [{}, {"replay": True}]

UNDONE: list[str] = []


@zart_step("compensation-book")
async def book(what: str) -> str:
    return what


@zart_step("compensation-undo-{what}")
async def undo(what: str) -> None:
    UNDONE.append(what)


async def release(trip: str, failure: zart.Failure) -> str:
    await zart.sleep("cooling off", "1h")
    match failure:
        case zart.ExecutionCancelled(reason):
            await undo(f"{trip}, {reason}")
        case _:
            raise AssertionError(failure)
    if trip == "broken":
        raise ValueError("cannot undo")
    return "an output that nobody sees"


@zart_durable("compensation-trip", on_failure=release)
async def trip(name: str) -> str:
    await book(name)
    await zart.wait_for_event("departure")
    return name


@zart_durable("compensation-plain")
async def plain(name: str) -> str:
    await zart.wait_for_event("departure")
    return name


@pytest.fixture(autouse=True)
def forget() -> None:
    UNDONE.clear()


async def _begun(h: Any, id: str) -> bool:
    return "event departure" in (await h.scheduler.status(id)).waiting_for


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_on_failure_runs_before_the_execution_is_cancelled(zart_harness: Any, options: Any) -> None:
    async with zart_harness(trip, **options) as h:
        await h.scheduler.start_for(trip, "t", "rome")
        await until(lambda: _begun(h, "t"))
        assert await h.scheduler.cancel("t", reason="ill", compensate=True)
        assert not await h.scheduler.cancel("t", compensate=True)
        assert not (await h.scheduler.status("t")).status.is_final
        await h.advance("2h")
        record = await h.scheduler.wait("t", "10s")
        assert (record.status, record.output, record.error, record.reason) == ("cancelled", None, None, "ill")
        assert UNDONE == ["rome, ill"]
        with pytest.raises(zart.Cancelled):
            await h.scheduler.wait_for(trip, "t", "10s")
        assert await h.scheduler.doctor() == []
        assert await h.scheduler.restart("t", "oslo") == 2  # nothing of it is left
        await h.scheduler.offer_event("t", "departure")
        assert await h.scheduler.wait_for(trip, "t", "10s") == "oslo"


async def test_it_resumes_elsewhere_when_its_worker_dies(zart_harness: Any) -> None:
    async with zart_harness(trip) as h:
        await h.scheduler.start_for(trip, "t", "rome")
        await until(lambda: _begun(h, "t"))
        async with h.outage():
            await h.scheduler.cancel("t", compensate=True)
        await h.crash()
        await h.advance("30m")
        await h.crash()
        await h.advance("2h")
        assert (await h.scheduler.wait("t", "10s")).status == "cancelled"
        assert UNDONE == ["rome, None"]


async def test_an_on_failure_that_raises_is_noted(zart_harness: Any) -> None:
    async with zart_harness(trip) as h:
        await h.scheduler.start_for(trip, "t", "broken")
        await until(lambda: _begun(h, "t"))
        await h.scheduler.cancel("t", compensate=True)
        await h.advance("2h")
        record = await h.scheduler.wait("t", "10s")
        assert record.status == "cancelled"
        assert "cannot undo" in "".join(record.error.__notes__)


async def test_without_on_failure_or_before_it_began_it_is_a_plain_cancel(zart_harness: Any) -> None:
    async with zart_harness(trip, plain) as h:
        await h.scheduler.start_for(plain, "p", "x")
        await until(lambda: _begun(h, "p"))
        await h.scheduler.start_for(trip, "later", "x", delay="1h")
        assert await h.scheduler.cancel("p", compensate=True)
        assert await h.scheduler.cancel("later", compensate=True)
        for id in ("p", "later"):
            record = await h.scheduler.wait(id, "10s")
            assert (record.status, record.error) == ("cancelled", None)
        assert UNDONE == []


@zart_step("compensation-long")
async def long() -> None:
    await asyncio.sleep(60)


@zart_durable("compensation-busy", on_failure=release)
async def busy(name: str) -> str:
    zart.schedule(zart.child(plain, "child", id="a-child"))
    await long()
    return name


async def test_a_running_step_is_interrupted_and_children_are_cancelled(zart_harness: Any) -> None:
    async with zart_harness(busy, plain) as h:
        await h.scheduler.start_for(busy, "b", "rome")
        await until(lambda: _runs(h, "a-child"))
        await h.scheduler.cancel("b", compensate=True)
        await h.advance("2h")
        assert (await h.scheduler.wait("b", "10s")).status == "cancelled"
        assert (await h.scheduler.wait("a-child", "10s")).status == "cancelled"
        assert UNDONE == ["rome, None"]


async def _runs(h: Any, id: str) -> bool:
    try:
        return bool((await h.scheduler.status(id)).status == "waiting")
    except zart.ExecutionNotFound:
        return False
