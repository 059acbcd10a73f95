"""What a harness reports at once: tasks and steps that it does not know, and calls that were never awaited."""

import gc
import warnings
from collections.abc import Awaitable
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from zart_redis import DurableHandler, zart_durable, zart_step
from zart_redis.testing import ForgottenAwait, Harness, StillRunning

pytestmark = pytest.mark.anyio


@zart_step("say-{word}")
async def say(word: str) -> str:
    return word


@zart_step("chatter")
async def chatter() -> None:
    say("nested")


@zart_durable("not-given")
async def not_given() -> int:
    return 1


@zart_durable("speaks", queue="mail")
async def speaks() -> str:
    return await say("hello")


async def test_a_task_that_the_harness_does_not_know() -> None:
    async with Harness([speaks]) as h:
        with pytest.raises(zart.UnknownTask, match="not-given"):
            await h.run(not_given, "n")
        await h.scheduler.start("m", "not-given", None)
        with pytest.raises(zart.UnknownTask, match="not-given"):
            await h.advance("1d")


async def test_a_harness_serves_the_queues_of_its_handlers() -> None:
    async with Harness([speaks]) as h:
        assert await h.run(speaks, "s") == "hello"


@zart_durable("forgets")
async def forgets() -> int:
    say("at-once")
    return 3


@zart_durable("keeps")
async def keeps() -> int:
    kept = [say("kept")]
    await say("other")
    return len(kept)


@zart_durable("cycles")
async def cycles() -> int:
    cycle: list[Any] = [say("cycle")]
    cycle.append(cycle)
    return 3


@zart_durable("steps-forget")
async def steps_forget() -> None:
    await chatter()


async def regret(data: object, failure: zart.Failure) -> None:
    say("regret")


@zart_durable("regrets", on_failure=regret)
async def regrets() -> None:
    raise ValueError("no")


HANDLERS = [(forgets, "at-once"), (keeps, "kept"), (cycles, "cycle"), (steps_forget, "nested"), (regrets, "regret")]


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize(("handler", "word"), HANDLERS, ids=[word for _, word in HANDLERS])
async def test_a_call_that_is_never_awaited(handler: DurableHandler[None, Any], word: str, replay: bool) -> None:
    with pytest.raises(ForgottenAwait, match=f"'say-{word}' at .*test_mistakes.py:[0-9]+ was never awaited") as caught:
        async with Harness([handler], replay=replay) as h:
            await h.run(handler, "f")
    assert caught.value.step == f"say-{word}"
    assert caught.value.place.startswith(__file__)


async def forget(h: Harness) -> None:
    await h.scheduler.start_for(forgets, "f")
    await h.scheduler.wait("f", SOON)


async def test_a_forgotten_await_is_an_error_of_advance() -> None:
    async with Harness([forgets]) as h:
        await forget(h)
        with pytest.raises(ForgottenAwait):
            await h.advance("1s")


async def test_a_forgotten_await_is_an_error_of_the_exit() -> None:
    with pytest.raises(ForgottenAwait):
        async with Harness([forgets]) as h:
            await forget(h)


async def test_what_a_body_drops_when_it_raises_or_is_put_away_is_no_mistake() -> None:
    @zart_durable("drops")
    async def drops() -> str:
        later = say("later")
        await zart.sleep("night", "8h")
        said = await later
        never = say("never")
        if said:
            raise ValueError("no")
        return await never

    options: Any
    for options in ({}, {"replay": True}, {"warm": 0}):
        async with Harness([drops], **options) as h:
            with pytest.raises(zart.ExecutionFailed, match="no"):
                await h.run(drops, "d")
            gc.collect()


async def fail_after(use: Awaitable[None]) -> None:
    await use
    raise ZeroDivisionError


async def test_the_error_of_the_test_itself_comes_first() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Harness([forgets]) as h:
            await fail_after(forget(h))


async def test_calls_of_others_still_warn() -> None:
    async with Harness([speaks]):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            say("outside")
    assert [str(warning.message) for warning in caught] == ["the call of step 'say-outside' was never awaited"]


# Outages


@zart_durable("races")
async def races() -> str:
    await zart.sleep("night", "8h")
    try:
        return str(await zart.wait_for_event("wake", "1h"))
    except zart.DeadlineExceeded:
        return "overslept"


async def test_what_becomes_due_during_an_outage_is_done_after_it() -> None:
    async with Harness([races]) as h:
        await h.scheduler.start_for(races, "r")
        began = h.now
        async with h.outage():
            await h.scheduler.start_for(races, "later")
            await h.advance("10h")
            assert (h.now - began).total_seconds() == 36_000
            assert (await h.scheduler.status("r")).waiting_for == ("sleep night",)
        assert (await h.scheduler.status("r")).waiting_for == ("event wake",)
        assert (await h.scheduler.status("later")).waiting_for == ("sleep night",)
        await h.scheduler.offer_event("r", "wake", "rested")
        assert (await h.finish("r")).output == "rested"


async def test_an_event_of_an_outage_comes_after_a_timeout_that_was_due_before_it() -> None:
    async with Harness([races]) as h:
        await h.scheduler.start_for(races, "r")
        await h.advance("8h")
        async with h.outage():
            await h.advance("2h")
            await h.scheduler.offer_event("r", "wake", "late")
        assert (await h.finish("r")).output == "overslept"


async def test_nothing_can_be_run_or_killed_during_an_outage() -> None:
    async with Harness([speaks]) as h, h.outage():
        for use in (h.settle, h.outage().__aenter__, lambda: h.run(speaks, "s")):
            with pytest.raises(zart.InvalidInput, match="outage"):
                await use()
        with pytest.raises(zart.InvalidInput, match="outage"):
            h.crash()


async def test_a_body_that_never_ends_is_still_running() -> None:
    @zart_durable("waits")
    async def waits() -> None:
        await zart.wait_for_event("never")

    async with Harness([waits]) as h:
        with pytest.raises(StillRunning, match="event never"):
            await h.run(waits, "w")
