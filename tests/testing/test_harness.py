"""The harness that users test their handlers with: time that only the test moves, crashes, replays."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from zart_redis import zart_durable, zart_step
from zart_redis.testing import Harness, NotReplayable, StillRunning

pytestmark = pytest.mark.anyio


EFFECTS: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    EFFECTS.clear()


@zart_step("welcome")
async def welcome(user: str) -> str:
    EFFECTS.append("welcome")
    return f"welcome {user}"


@zart_step("invoice")
async def invoice(user: str) -> str:
    EFFECTS.append("invoice")
    return f"invoice for {user}"


@zart_durable("trial")
async def trial(user: str) -> str:
    await welcome(user)
    await zart.sleep("trial-period", "30d")
    return await invoice(user)


async def test_thirty_days_pass_in_milliseconds() -> None:
    async with Harness([trial]) as h:
        await h.scheduler.start_for(trial, "trial-ann", "ann")
        await h.advance("29d")
        assert (await h.scheduler.status("trial-ann")).waiting_for == ("sleep trial-period",)
        await h.advance("1d")
        assert await h.scheduler.wait_for(trial, "trial-ann", SOON) == "invoice for ann"
        assert EFFECTS == ["welcome", "invoice"]


async def test_each_step_runs_once_although_the_worker_is_killed_after_each() -> None:
    async with Harness([trial], crash_after_each_step=True) as h:
        assert await h.run(trial, "trial-ann", "ann") == "invoice for ann"
        assert h.crashes == 2
        assert EFFECTS == ["welcome", "invoice"]


async def test_a_handler_that_does_the_same_each_time_passes_the_rehearsal() -> None:
    async with Harness([trial], replay=True) as h:
        assert await h.run(trial, "trial-ann", "ann") == "invoice for ann"
        assert EFFECTS == ["welcome", "invoice"]


# Handlers that a rehearsal finds out

TOSSES = iter(range(1000))


@zart_step("pick-{number}")
async def pick(number: int) -> int:
    EFFECTS.append(f"pick-{number}")
    return number


@zart_durable("picks-at-random")
async def picks_at_random() -> int:
    return await pick(next(TOSSES)) + await pick(next(TOSSES))


@zart_durable("other-arguments")
async def other_arguments() -> int:
    return int(await pick(next(TOSSES)).named("picked"))


@zart_durable("forgets-a-step")
async def forgets_a_step() -> None:
    if next(TOSSES) % 2 == 0:
        await pick(1)
    await zart.sleep("night", "8h")


@zart_durable("another-output")
async def another_output() -> int:
    return await pick(1) + next(TOSSES)


@zart_durable("twice-one-name")
async def twice_one_name() -> int:
    return await pick(1) + await pick(1)


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (picks_at_random, "recorded 'pick-"),
        (other_arguments, "called step 'pick-{number}' as 'picked' with"),
        (forgets_a_step, "recorded 'pick-1'; in a replay it asked for 'night' instead"),
        (another_output, "returned one value; in a replay it returned another"),
    ],
)
async def test_a_rehearsal_finds_a_handler_that_does_not_do_the_same_each_time(handler: Any, says: str) -> None:
    global TOSSES
    TOSSES = iter(range(1000))
    with pytest.raises(NotReplayable, match=says):
        async with Harness([handler], replay=True) as h:
            await h.run(handler, "wrong-1")


async def test_a_name_used_twice_fails_in_a_rehearsal_as_it_does_always() -> None:
    async with Harness([twice_one_name], replay=True) as h:
        with pytest.raises(zart.ExecutionFailed, match="pick-1"):
            await h.run(twice_one_name, "wrong-1")


@zart_step("careful", retry="fixed(2, 1h)")
async def careful(place: str) -> str:
    EFFECTS.append(f"careful {place} {zart.context().current_attempt + 1}")
    if zart.context().current_attempt < 2:
        raise RuntimeError("not yet")
    return place


@zart_durable("everything", retry="fixed(1, 1d)")
async def everything() -> list[str]:
    token = await zart.capture("token", lambda: "abc")
    first = await careful("here")
    results = await zart.wait([zart.schedule(careful(place).named(place)) for place in ("there", "elsewhere")])
    both = await asyncio.gather(pick(1), pick(2), zart.sleep("nap", "1h"))
    parcel = await zart.wait_for_event("parcel", timeout="7d", type=str)
    when = (await zart.now("when")).isoformat()
    return [token, first, *(result.unwrap() for result in results), str(both[:2]), parcel, when[-6:]]


async def test_a_rehearsal_of_every_feature() -> None:
    async with Harness([everything], replay=True) as h:
        await h.scheduler.start_for(everything, "all-1")
        await h.advance("2d")
        assert (await h.scheduler.status("all-1")).waiting_for == ("event parcel",)
        await h.scheduler.offer_event("all-1", "parcel", "a parcel")
        await h.settle()
        output = await h.scheduler.wait_for(everything, "all-1", SOON)
        assert output == ["abc", "here", "there", "elsewhere", "[1, 2]", "a parcel", "+00:00"]
        assert sorted(EFFECTS) == sorted(
            [
                "pick-1",
                "pick-2",
                *(f"careful {place} {n}" for place in ("here", "there", "elsewhere") for n in (1, 2, 3)),
            ]
        )


# Time


async def test_timers_fire_in_order_each_at_its_own_time() -> None:
    fired: list[tuple[str, timedelta]] = []

    @zart_step("note-{name}")
    async def note(name: str) -> None:
        fired.append((name, h.now - began))

    @zart_durable("sleeper")
    async def sleeper(hours: int) -> None:
        await zart.sleep("first", f"{hours}h")
        await note(f"{hours}")
        await zart.sleep("second", f"{hours}h")
        await note(f"{hours}+{hours}")

    async with Harness([sleeper]) as h:
        began = h.now
        for hours in (3, 1, 2):
            await h.scheduler.start_for(sleeper, f"sleeper-{hours}", hours)
        await h.advance("4h")
        expected = [("1", 1), ("1+1", 2), ("2", 2), ("3", 3), ("2+2", 4)]
        assert sorted(fired, key=lambda item: (item[1], item[0])) == [(n, timedelta(hours=at)) for n, at in expected]
        assert h.now - began == timedelta(hours=4)


async def test_nothing_happens_before_its_time() -> None:
    async with Harness([trial]) as h:
        await h.scheduler.start_for(trial, "trial-ann", "ann")
        await h.advance("30d")  # began before the sleep did: the sleep is counted from the same moment
        await h.settle()
        assert EFFECTS == ["welcome", "invoice"]
        await h.scheduler.start_for(trial, "trial-bob", "bob")
        await h.settle()
        await h.advance(timedelta(days=30) - timedelta(milliseconds=1))
        assert (await h.scheduler.status("trial-bob")).status == "waiting"
        await h.advance(0.001)
        assert (await h.scheduler.status("trial-bob")).status == "completed"


@zart_durable("late", timeout="2h", on_failure=None)
async def late() -> None:
    await zart.wait_for_event("never")


async def test_a_deadline_fires_on_the_way() -> None:
    async with Harness([late]) as h:
        await h.scheduler.start_for(late, "late-1")
        await h.advance(2 * 3600 - 1)
        assert (await h.scheduler.status("late-1")).status == "waiting"
        await h.advance("1s")
        record = await h.scheduler.status("late-1")
        assert record.status == "failed"
        assert record.error is not None
        assert record.error.type_name == "ExecutionTimeout"


async def test_the_worker_keeps_its_lease_when_years_pass() -> None:
    async with Harness([trial], lease="400ms") as h:
        for year in range(3):
            await h.advance("365d")
            await asyncio.sleep(0.3)  # a few heartbeats
            assert await h.run(trial, f"trial-{year}", "ann") == "invoice for ann"
        assert h.crashes == 0
        assert EFFECTS == ["welcome", "invoice"] * 3


async def test_handlers_see_the_time_of_the_harness() -> None:
    @zart_durable("clocks")
    async def clocks() -> list[str]:
        first = await zart.now("first")
        await zart.sleep("ten-days", "10d")
        return [first.isoformat(), (await zart.now("second")).isoformat()]

    async with Harness([clocks]) as h:
        began = h.now
        assert await h.run(clocks, "clocks-1") == [began.isoformat(), (began + timedelta(days=10)).isoformat()]


async def test_a_purge_counts_in_the_time_of_the_harness() -> None:
    async with Harness([trial], retention="90d") as h:
        await h.run(trial, "trial-ann", "ann")
        await h.advance("2h")
        await h.run(trial, "trial-bob", "bob")  # thirty days later
        assert await h.scheduler.purge(older_than="1h") == 1
        assert (await h.scheduler.status("trial-bob")).status == "completed"
        assert await h.scheduler.purge() == 1


async def test_what_never_ends_is_named() -> None:
    gate = asyncio.Event()

    @zart_step("stuck")
    async def stuck() -> None:
        await gate.wait()

    @zart_durable("hangs")
    async def hangs() -> None:
        await stuck()

    async with Harness([hangs, late], patience="200ms") as h:
        await h.scheduler.start_for(hangs, "hangs-1")
        with pytest.raises(StillRunning, match="hangs-1"):
            await h.advance("1h")
        gate.set()
        await h.settle()
        await h.scheduler.start_for(late, "late-1")
        with pytest.raises(StillRunning, match="waits for event never"):
            await h.finish("late-1", within="1h")


# Death


async def test_a_crash_runs_no_code_of_the_dead_and_another_goes_on() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    @zart_step("long")
    async def long() -> str:
        EFFECTS.append("begun")
        try:
            begun.set()
            await gate.wait()
            EFFECTS.append("went on")
        except BaseException:
            EFFECTS.append("caught")
            raise
        finally:
            EFFECTS.append("finally")
        return "done"

    @zart_durable("long-runner")
    async def long_runner() -> str:
        await welcome("ann")
        return await long()

    async with Harness([long_runner]) as h:
        await h.scheduler.start_for(long_runner, "long-1")
        await begun.wait()
        begun.clear()
        await h.crash()
        gate.set()
        assert await h.scheduler.wait_for(long_runner, "long-1", SOON) == "done"
        assert EFFECTS == ["welcome", "begun", "begun", "went on", "finally"]
    assert EFFECTS[5:] == ["caught", "finally"]  # unwound when the harness ends, and can change nothing


async def test_a_crash_from_within_a_step() -> None:
    @zart_step("fragile")
    async def fragile() -> int:
        EFFECTS.append("fragile")
        if EFFECTS.count("fragile") < 3:
            await h.crash()
            EFFECTS.append("never")
        return EFFECTS.count("fragile")

    @zart_durable("crashes-inside")
    async def crashes_inside() -> list[int]:
        results = await zart.wait([zart.schedule(fragile())])
        return [result.unwrap() for result in results]

    async with Harness([crashes_inside]) as h:
        assert await h.run(crashes_inside, "inside-1") == [3]
        assert h.crashes == 2


async def test_crashes_that_never_end_fail_the_execution() -> None:
    @zart_step("deadly")
    async def deadly() -> None:
        await h.crash()

    @zart_durable("doomed")
    async def doomed() -> None:
        await deadly()

    async with Harness([doomed], max_deliveries=3) as h:
        with pytest.raises(zart.ExecutionFailed, match="given up after 3"):
            await h.run(doomed, "doomed-1")
        assert h.crashes == 3


async def test_many_crashes_in_a_row() -> None:
    async with Harness([everything], crash_after_each_step=True) as h:
        await h.scheduler.start_for(everything, "all-1")
        for _ in range(5):
            await h.crash()
        await h.scheduler.offer_event("all-1", "parcel", "a parcel")
        assert (await h.finish("all-1")).status == "completed"
        assert sorted(EFFECTS).count("pick-1") == 1


async def test_two_harnesses_beside_a_worker_in_one_loop(redis_url: str, namespace: str) -> None:
    worker = zart.Worker(redis_url, namespace=namespace, handlers=[trial])
    async with worker, Harness([trial]) as one, Harness([trial]) as two:
        assert await one.run(trial, "trial-ann", "ann") == "invoice for ann"
        await two.crash()
        assert await two.run(trial, "trial-ann", "ann") == "invoice for ann"


# The fixture


@pytest.fixture
async def in_a_fixture(zart_harness: Any) -> AsyncIterator[Harness]:
    async with zart_harness(trial) as h:
        yield h


async def test_the_fixture_makes_harnesses(zart_harness: Any) -> None:
    async with zart_harness(trial) as h, zart_harness(trial, replay=True) as other:
        assert await h.run(trial, "trial-ann", "ann") == "invoice for ann"
        assert await other.run(trial, "trial-ann", "ann") == "invoice for ann"


async def test_a_harness_can_live_in_a_fixture(in_a_fixture: Harness) -> None:
    assert await in_a_fixture.run(trial, "trial-ann", "ann") == "invoice for ann"
