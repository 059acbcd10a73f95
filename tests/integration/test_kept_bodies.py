"""Parked bodies that a worker keeps in memory resume without a replay, and decide as a replay would."""

import asyncio
import itertools

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, reaches, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio

passes: list[str] = []
"""An entry each time that a body begins from its first line."""


@pytest.fixture(autouse=True)
def _no_passes() -> None:
    passes.clear()


@zart_step("note-{what}")
async def note(what: str) -> str:
    return what


@zart_durable("collects")
async def collects(events: int) -> list[int]:
    passes.append(zart.context().execution_id)
    found = [await zart.wait_for_event(f"e{i}", type=int) for i in range(events)]
    await note("end")
    return found


async def deliver_one_by_one(scheduler: zart.DurableScheduler, execution_id: str, events: int) -> None:
    for i in range(events):
        await reaches(scheduler, execution_id, "waiting", f"event e{i}")
        await scheduler.offer_event(execution_id, f"e{i}", i)


async def test_a_kept_body_is_not_replayed(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(collects, "kept", 5)
        await deliver_one_by_one(scheduler, "kept", 5)
        assert await scheduler.wait_for(collects, "kept", SOON) == [0, 1, 2, 3, 4]
    assert passes == ["kept"]


async def test_without_kept_bodies_each_wake_is_a_replay(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler, warm=0):
        await scheduler.start_for(collects, "replayed", 3)
        await deliver_one_by_one(scheduler, "replayed", 3)
        assert await scheduler.wait_for(collects, "replayed", SOON) == [0, 1, 2]
    assert len(passes) == 4


async def test_a_body_that_had_to_be_dropped_is_loaded_and_replayed(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler, warm=1):
        for execution_id in ("first", "second"):
            await scheduler.start_for(collects, execution_id, 3)
        await asyncio.gather(*(deliver_one_by_one(scheduler, name, 3) for name in ("first", "second")))
        for execution_id in ("first", "second"):
            assert await scheduler.wait_for(collects, execution_id, SOON) == [0, 1, 2]
    assert len(passes) > 2


async def test_a_body_that_another_worker_has_held_is_replayed(scheduler: zart.DurableScheduler) -> None:
    """Each worker takes over from the other, which still keeps the body as it was before."""
    async with running_worker(scheduler, queues=["default"]) as first:
        await scheduler.start_for(collects, "handed-over", 4)
        await reaches(scheduler, "handed-over", "waiting", "event e0")
        async with running_worker(scheduler, queues=["default"]):
            first.stop()
            await deliver_one_by_one(scheduler, "handed-over", 4)
            assert await scheduler.wait_for(collects, "handed-over", SOON) == [0, 1, 2, 3]
    assert len(passes) >= 2


async def test_races_timers_and_scheduled_steps_of_a_kept_body(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("races")
    async def races() -> list[str]:
        passes.append("races")
        seen: list[str] = []
        for number in range(3):
            event = asyncio.ensure_future(zart.wait_for_event(f"go-{number}"))
            try:
                async with asyncio.timeout(0.05 if number == 1 else 60):
                    await event
                seen.append("event")
            except TimeoutError:
                seen.append("late")
            handles = [zart.schedule(note(f"{number}-{i}")) for i in range(3)]
            seen += [result.unwrap() for result in await zart.wait(handles)]
            await zart.sleep(f"nap-{number}", "10ms")
        return seen

    async with running_worker(scheduler):
        await scheduler.start_for(races, "races")
        for number in (0, 2):
            await reaches(scheduler, "races", "waiting", f"event go-{number}")
            await scheduler.offer_event("races", f"go-{number}", None)
        seen = await scheduler.wait_for(races, "races", SOON)
    assert seen == [
        word
        for number, first in enumerate(["event", "late", "event"])
        for word in (first, *(f"{number}-{i}" for i in range(3)))
    ]
    assert passes == ["races"]


async def test_retries_and_pauses_of_a_kept_body(scheduler: zart.DurableScheduler) -> None:
    tries = itertools.count()

    @zart_step("flaky", retry="fixed(2, 30ms)")
    async def flaky() -> int:
        if (number := next(tries)) < 2:
            raise RuntimeError
        return number

    @zart_durable("holds")
    async def holds() -> int:
        passes.append("holds")
        await zart.sleep("before", "10ms")
        result = await flaky()
        await note("held")
        return result

    rule = await scheduler.pause(step_pattern="note-held")
    async with running_worker(scheduler):
        await scheduler.start_for(holds, "holds")
        await reaches(scheduler, "holds", "waiting", f"the end of pause rule {rule.rule_id}")
        await scheduler.resume(step_pattern="note-held")
        assert await scheduler.wait_for(holds, "holds", SOON) == 2
    assert passes == ["holds"]


async def test_what_a_kept_body_holds_open_is_closed_when_the_worker_stops(scheduler: zart.DurableScheduler) -> None:
    closed: list[str] = []

    @zart_durable("open")
    async def open_() -> None:
        try:
            await zart.wait_for_event("never")
        finally:
            closed.append("closed")

    async with running_worker(scheduler):
        await scheduler.start_for(open_, "open")
        await reaches(scheduler, "open", "waiting")
        assert closed == []
    await until(lambda: closed == ["closed"])


async def test_a_cancelled_execution_does_not_come_back_from_a_kept_body(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(collects, "again", 2)
        await reaches(scheduler, "again", "waiting", "event e0")
        await scheduler.offer_event("again", "e0", 0)
        await reaches(scheduler, "again", "waiting", "event e1")
        await scheduler.restart("again")
        await deliver_one_by_one(scheduler, "again", 2)
        assert await scheduler.wait_for(collects, "again", SOON) == [0, 1]
    assert passes == ["again", "again"]
