"""`zart.logger` and `context().is_replaying`: what a body has written it does not write again when it replays."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

import zart_redis as zart
from zart_redis import DurableHandler, zart_durable, zart_step
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio

REPLAYS: list[tuple[str, bool]] = []
"""What code has found in `context().is_replaying`, and where."""


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """What is logged, as structlog's own helper collects it."""
    with structlog.testing.capture_logs() as captured:
        yield captured
    structlog.reset_defaults()


def say(text: str) -> None:
    zart.logger.info(text)
    REPLAYS.append((text, zart.context().is_replaying))


@zart_step("work-{name}")
async def work(name: str) -> str:
    say(f"step {name}")
    return name


async def in_the_end(data: object, failure: zart.Failure) -> str:
    say("failed")
    await work("repair")
    say("repaired")
    await zart.sleep("after", "1h")
    say("rested")
    return "repaired"


@zart_durable("in-line")
async def in_line() -> None:
    say("begin")
    await work("a")
    say("after a")
    await zart.sleep("night", "8h")
    say("morning")
    await zart.capture("value", lambda: 1)
    say("captured")
    (result,) = await zart.wait([zart.schedule(work("b"))])
    say(f"after {result.unwrap()}")
    await asyncio.sleep(3600)
    say("end")


@zart_durable("side-by-side")
async def side_by_side() -> None:
    async def branch(name: str, hours: int) -> None:
        say(f"{name} begins")
        await zart.sleep(name, f"{hours}h")
        say(f"{name} slept")
        await work(name)
        say(f"{name} ends")

    await asyncio.gather(branch("one", 3), branch("two", 1), branch("three", 2))
    say("end")


@zart_durable("logs-and-fails", on_failure=in_the_end)
async def fails() -> str:
    say("begin")
    await zart.sleep("before", "1h")
    say("raising")
    raise ValueError("no")


@zart_durable("retried", retry="fixed(1, 1h)")
async def retried() -> None:
    await work("kept")
    say("attempt")
    if not zart.context().is_retry():
        raise ValueError("the first attempt")


EXPECTED = {
    in_line: "begin, step a, after a, morning, captured, step b, after b, end",
    side_by_side: "one begins, two begins, three begins, two slept, step two, two ends, three slept, step three, "
    "three ends, one slept, step one, one ends, end",
    fails: "begin, raising, failed, step repair, repaired, rested",
    retried: "step kept, attempt, attempt",
}


@pytest.mark.parametrize("options", [{}, {"warm": 0}, {"replay": True}, {"crash_after_each_step": True}], ids=str)
@pytest.mark.parametrize("handler", EXPECTED, ids=lambda handler: handler.name)
async def test_each_line_is_written_once(handler: DurableHandler[None, Any], options: Any, lines: list[Any]) -> None:
    async with Harness([handler], **options) as h:
        await h.run(handler, "x")
    assert ", ".join(line["event"] for line in lines) == EXPECTED[handler]


@pytest.mark.parametrize("handler", EXPECTED, ids=lambda handler: handler.name)
async def test_an_outage_silences_nothing(handler: DurableHandler[None, Any], lines: list[Any]) -> None:
    """What became due while no worker was there is new to the body, all of it."""
    async with Harness([handler], warm=0) as h:
        await h.scheduler.start_for(handler, "x")
        await h.settle()
        async with h.outage():
            await h.advance("100d")
        await h.finish("x")
    assert sorted(line["event"] for line in lines) == sorted(EXPECTED[handler].split(", "))


async def test_context_says_what_is_a_replay() -> None:
    REPLAYS.clear()
    async with Harness([in_line], warm=0) as h:
        await h.run(in_line, "x")
    assert REPLAYS.count(("begin", False)) == 1
    assert ("begin", True) in REPLAYS
    assert ("morning", True) in REPLAYS
    assert {text for text, is_replaying in REPLAYS if is_replaying}.isdisjoint({"step a", "step b", "end"})


async def test_a_line_says_where_it_was_written(lines: list[Any]) -> None:
    bound = zart.logger.bind(order=17)

    @zart_step("speaks")
    async def speaks() -> None:
        bound.warning("in a step", attempt="mine")

    @zart_durable("speaking")
    async def speaking() -> None:
        bound.bind(place="body").info("in a body")
        await speaks()

    async with Harness([speaking]) as h:
        await h.run(speaking, "x")
    bound.unbind("order").info("outside")
    where = {"execution_id": "x", "task": "speaking"}
    assert lines == [
        {"event": "in a body", "log_level": "info", "order": 17, "place": "body", "attempt": 0, **where},
        {"event": "in a step", "log_level": "warning", "order": 17, "step": "speaks", "attempt": "mine", **where},
        {"event": "outside", "log_level": "info"},
    ]


async def test_without_structlog_configured_lines_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zart.app")
    async with Harness([in_line]) as h:
        await h.run(in_line, "x")
    assert [record.getMessage().split()[0] for record in caplog.records if record.name == "zart.app"][:2] == [
        "begin",
        "step",
    ]


async def test_a_step_in_a_thread_logs_and_a_bound_logger_outlasts_the_replay(lines: list[Any]) -> None:
    @zart_step
    def threaded() -> None:
        zart.logger.error("in a thread")

    @zart_durable("threads")
    async def threads() -> None:
        log = zart.logger.bind()
        await threaded()
        await zart.sleep("night", "8h")
        log.info("later")

    async with Harness([threads], warm=0) as h:
        await h.run(threads, "x")
    assert [line["event"] for line in lines] == ["in a thread", "later"]
