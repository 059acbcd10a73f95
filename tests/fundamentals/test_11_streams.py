"""`zart.emit`, `zart.set_value`, `zart.progress`: what clients can watch while an execution runs."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import zart_redis as zart
from zart_redis import Progress, Restarted, StreamItem, Truncated, zart_durable, zart_step

pytestmark = pytest.mark.anyio

OPTIONS: list[dict[str, Any]] = [{}, {"replay": True}, {"crash_after_each_step": True}, {"warm": 0}, {"partitions": 4}]


@dataclass
class Token:
    text: str


@zart_step("write-{number}")
async def write(number: int) -> int:
    zart.emit(f"step {number}")
    return number


@zart_durable("report")
async def report(count: int) -> int:
    zart.emit("begin")
    for number in range(count):
        zart.progress(number, count, "writing")
        await write(number)
        zart.emit(f"body {number}")
        zart.set_value("last", number)
        await zart.sleep(f"nap-{number}", "1h")
    zart.emit("end")
    return count


async def items_of(h: Any, id: str, stream: str = "default", **options: Any) -> list[Any]:
    return [item async for item in h.scheduler.follow(id, stream, **options)]


async def values_of(h: Any, id: str, stream: str = "default") -> list[Any]:
    return [item.value for item in await items_of(h, id, stream)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_body_emits_once_however_often_it_is_replayed(zart_harness: Any, options: Any) -> None:
    async with zart_harness(report, **options) as h:
        assert await h.run(report, "report-1", 3) == 3
        expected = ["begin"]
        for number in range(3):
            expected += [f"step {number}", f"body {number}"]
        assert await values_of(h, "report-1") == [*expected, "end"]
        assert await h.scheduler.value("report-1", "last") == 2
        assert (await h.scheduler.status("report-1")).progress == Progress(2, 3, "writing")


async def test_an_item_says_where_it_comes_from(zart_harness: Any) -> None:
    async with zart_harness(report) as h:
        await h.run(report, "report-1", 1)
        begin, step, *_ = await items_of(h, "report-1")
        assert (begin.run, begin.step, begin.attempt) == (1, None, 0)
        assert (step.run, step.step, step.attempt) == (1, "write-0", 0)
        assert begin.at <= step.at <= h.now
        assert await items_of(h, "report-1", after=begin.cursor) == (await items_of(h, "report-1"))[1:]


@zart_step("flaky", retry="fixed(2, 1s)")
async def flaky() -> str:
    attempt = zart.context().current_attempt
    zart.emit(Token(f"attempt {attempt}"), stream="answer")
    if attempt < 2:
        raise ConnectionError
    return "done"


@zart_durable("scheduled")
async def scheduled(in_place: bool) -> str:
    if in_place:
        return await flaky()
    (result,) = await zart.wait([zart.schedule(flaky())])
    return result.unwrap()


@pytest.mark.parametrize("in_place", [True, False])
async def test_a_follower_is_told_when_a_step_begins_another_attempt(zart_harness: Any, in_place: bool) -> None:
    async with zart_harness(scheduled) as h:
        await h.run(scheduled, "it", in_place)
        found = await items_of(h, "it", "answer", type=Token)
        assert [item.value if isinstance(item, StreamItem) else item for item in found] == [
            Token("attempt 0"),
            Restarted("flaky", 1),
            Token("attempt 1"),
            Restarted("flaky", 2),
            Token("attempt 2"),
        ]
        assert [item.attempt for item in found] == [0, 1, 1, 2, 2]


@zart_step("threaded")
def threaded(count: int) -> None:
    for number in range(count):
        zart.emit(number)


@zart_durable("many")
async def many(count: int) -> None:
    await threaded(count)


async def test_the_newest_items_are_kept_and_a_cursor_may_be_too_old(zart_harness: Any) -> None:
    async with zart_harness(many, max_stream=10) as h:
        await h.run(many, "one", 20)
        assert await values_of(h, "one") == list(range(20))
        first = (await items_of(h, "one"))[0]
        await h.scheduler.restart("one", 505)
        await h.scheduler.wait("one", "30s")
        kept = await values_of(h, "one")
        assert 10 <= len(kept) <= 20
        assert kept[-1] == 504
        assert kept == list(range(505 - len(kept), 505))
        truncated, *rest = await items_of(h, "one", after=first.cursor)
        assert truncated == Truncated()
        assert [item.value for item in rest] == kept
        assert await items_of(h, "one", after=rest[-1].cursor) == []
        assert rest[0].run == 2


@zart_durable("live")
async def live() -> None:
    zart.emit("hello")
    name = await zart.wait_for_event("name", type=str)
    zart.emit(f"hello {name}")


async def test_a_follower_sees_items_as_they_come_and_the_end(zart_harness: Any) -> None:
    async with zart_harness(live) as h:
        await h.scheduler.start_for(live, "live-1")
        items = aiter(h.scheduler.follow("live-1"))
        assert (await anext(items)).value == "hello"
        following = asyncio.ensure_future(anext(items))
        await h.scheduler.offer_event("live-1", "name", "ann")
        assert (await asyncio.wait_for(following, 30)).value == "hello ann"
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(items), 30)


async def test_a_cancel_ends_a_follower(zart_harness: Any) -> None:
    async with zart_harness(live) as h:
        await h.scheduler.start_for(live, "live-1")
        items = aiter(h.scheduler.follow("live-1"))
        await anext(items)
        await h.scheduler.cancel("live-1")
        assert await asyncio.wait_for(anext(items, "over"), 30) == "over"


@zart_durable("chain")
async def chain(number: int) -> None:
    zart.emit(number)
    zart.set_value(f"run-{number}", number)
    await zart.sleep("nap", "1h")
    if number < 3:
        await zart.continue_as_new(number + 1)


async def test_streams_and_values_stay_over_continue_as_new_and_restarts(zart_harness: Any) -> None:
    async with zart_harness(chain) as h:
        await h.run(chain, "chain-1", 1)
        assert [(item.value, item.run) for item in await items_of(h, "chain-1")] == [(1, 1), (2, 2), (3, 3)]
        await h.scheduler.restart("chain-1", 3)
        await h.advance("1h")
        assert [(item.value, item.run) for item in await items_of(h, "chain-1")][3:] == [(3, 4)]
        assert await h.scheduler.values("chain-1") == {"run-1": 1, "run-2": 2, "run-3": 3}


async def test_streams_and_values_go_with_their_execution(zart_harness: Any) -> None:
    async with zart_harness(chain, retention="1d") as h:
        await h.run(chain, "chain-1", 3)
        await h.advance("2d")
        for reading in (items_of(h, "chain-1"), h.scheduler.values("chain-1"), h.scheduler.value("chain-1", "a")):
            with pytest.raises(zart.ExecutionNotFound):
                await reading
        await h.run(chain, "chain-1", 3)
        assert [(item.value, item.run) for item in await items_of(h, "chain-1")] == [(3, 1)]


REFUSED: list[Any] = [
    (lambda: zart.emit(1, stream=""), zart.InvalidInput),
    (lambda: zart.emit(object()), zart.SerializationError),
    (lambda: zart.emit("x" * 2_000_000), zart.PayloadTooLarge),
    (lambda: zart.set_value("a\n", 1), zart.InvalidInput),
    (lambda: zart.progress(-1), zart.InvalidInput),
    (lambda: zart.progress(True), zart.InvalidInput),
    (lambda: zart.progress(1, float("nan")), zart.InvalidInput),
    (lambda: zart.progress(1, 2, "x" * 513), zart.InvalidInput),
]


@zart_durable("wrong")
async def wrong() -> list[str]:
    found = []
    for call, error in REFUSED:
        with pytest.raises(error) as caught:
            call()
        found.append(type(caught.value).__name__)
    return found


async def test_what_is_wrong_is_refused_by_the_call(zart_harness: Any) -> None:
    async with zart_harness(wrong) as h:
        assert await h.run(wrong, "wrong-1") == [error.__name__ for _, error in REFUSED]
    with pytest.raises(zart.NoExecutionContext):
        zart.emit(1)


@zart_durable("retried", retry="fixed(1, 1s)")
async def retried() -> None:
    zart.emit("begin")
    await write(1)
    zart.emit(f"attempt {zart.context().current_attempt}")
    if zart.context().current_attempt == 0:
        raise ConnectionError


async def test_a_retried_body_does_not_repeat_what_it_replays_and_emits_what_is_new(zart_harness: Any) -> None:
    async with zart_harness(retried) as h:
        await h.run(retried, "it")
        assert await values_of(h, "it") == ["begin", "step 1", "attempt 0", "attempt 1"]


async def test_an_unknown_execution_and_a_cursor_that_is_none(zart_harness: Any) -> None:
    async with zart_harness(live) as h:
        with pytest.raises(zart.ExecutionNotFound):
            await items_of(h, "nobody")
        await h.scheduler.start_for(live, "live-1")
        with pytest.raises(zart.InvalidInput, match="cursor"):
            await items_of(h, "live-1", after="yesterday")
        assert await h.scheduler.value("live-1", "none", 7, type=int) == 7
