"""Replays of recorded histories: what code changes they find, and which do no harm."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import zart_redis as zart
from zart_redis import DurableHandler, registry, zart_durable, zart_step
from zart_redis.testing import Harness, replay

pytestmark = pytest.mark.anyio

Body = Callable[[], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _undeclare() -> Any:
    """The tests declare one task again and again, as a deploy does."""
    before = dict(registry.handlers.by_name)
    yield
    registry.handlers.by_name.clear()
    registry.handlers.by_name.update(before)


@zart_step("reserve")
async def reserve() -> int:
    return 1


@zart_step("book")
async def book() -> int:
    return 2


@zart_step("pay-{number}")
async def pay(number: int) -> int:
    return number


@zart_step("fail")
async def fail() -> int:
    raise ValueError("no")


def trip(body: Body, **options: Any) -> DurableHandler[None, Any]:
    return zart_durable("trip", **options)(body)  # type: ignore[arg-type]


async def export(handler: DurableHandler[None, Any], folder: Path, *, until: str | None = None, **options: Any) -> Path:
    """Run it, to its end or until it waits, and export its history."""
    path = folder / "history.json"
    async with Harness([handler], **options) as h:
        await h.scheduler.start_for(handler, "t")
        if until is None:
            await h.finish("t")
        else:
            await h.advance(until)
        path.write_text(json.dumps(await h.scheduler.history("t"), default=str))
    return path


async def sequence() -> int:
    first = await reserve()
    await zart.sleep("night", "8h")
    await zart.capture("value", lambda: 5)
    (paid,) = await zart.wait([zart.schedule(pay(1))])
    await asyncio.sleep(60)
    event = await zart.wait_for_event("go", "1h") if first > 1 else None
    return first + int(paid.unwrap()) + (event or 0)


async def everything() -> str:
    results: list[Any] = [*await asyncio.gather(reserve(), pay(1), zart.step(fail()), zart.sleep("nap", "1h"))]
    token = await zart.capture("token", lambda: "abc")
    try:
        async with asyncio.timeout(60):
            await zart.wait_for_event("never")
    except TimeoutError:
        pass
    try:
        await zart.wait_for_event("late", "5m")
    except zart.DeadlineExceeded:
        token += "!"
    handles = [zart.schedule(pay(number)) for number in (2, 3)]
    await zart.now("now")
    results += [result.unwrap() for result in await zart.wait(handles)]
    slow = asyncio.create_task(zart.sleep("slow", "9h"))
    await asyncio.wait([slow, asyncio.create_task(zart.sleep("fast", "1h"))], return_when=asyncio.FIRST_COMPLETED)
    slow.cancel()
    return f"{token} {len(results)}"


@pytest.mark.parametrize("until", [None, "0s", "30m", "1h", "62m", "3h"])
@pytest.mark.parametrize("body", [sequence, everything], ids=lambda body: body.__name__)
async def test_the_same_code_fits_wherever_the_run_stands(body: Body, until: str | None, tmp_path: Path) -> None:
    handler = trip(body)
    replay(handler, await export(handler, tmp_path, until=until))


async def test_a_body_that_fails_and_its_on_failure(tmp_path: Path) -> None:
    async def regret(data: object, failure: zart.Failure) -> str:
        await book()
        return "sorry"

    async def fails() -> str:
        await reserve()
        return str(await fail())

    replay(trip(fails), await export(trip(fails), tmp_path))
    path = await export(trip(fails, on_failure=regret), tmp_path)
    replay(trip(fails, on_failure=regret), path)
    with pytest.raises(zart.ReplayMismatch, match="no on_failure"):
        replay(trip(fails), path)

    async def regret_otherwise(data: object, failure: zart.Failure) -> str:
        await pay(1)
        return "sorry"

    with pytest.raises(zart.ReplayMismatch, match="'book' was recorded by a step"):
        replay(trip(fails, on_failure=regret_otherwise), path)


# Changes


async def renamed() -> int:
    first = await book()
    await zart.sleep("night", "8h")
    await zart.capture("value", lambda: 5)
    (paid,) = await zart.wait([zart.schedule(pay(1))])
    await asyncio.sleep(60)
    return first + int(paid.unwrap())


async def removed() -> int:
    await zart.sleep("night", "8h")
    await zart.capture("value", lambda: 5)
    return int((await zart.wait([zart.schedule(pay(1))]))[0].unwrap())


async def removed_at_the_end() -> int:
    await reserve()
    await zart.sleep("night", "8h")
    return await zart.capture("value", lambda: 5)


async def another_kind() -> None:
    await reserve()
    await zart.wait_for_event("night")


async def another_order() -> None:
    await zart.sleep("night", "8h")
    await reserve()
    await zart.capture("value", lambda: 5)
    await zart.wait([zart.schedule(pay(1))])


async def steps_in_another_order() -> None:
    await reserve()
    await zart.sleep("night", "8h")
    await zart.wait([zart.schedule(pay(1))])
    await zart.capture("value", lambda: 5)


async def raises() -> None:
    await sequence()
    raise ValueError("new")


async def inserted() -> int:
    await reserve()
    await book()
    return await sequence_after_reserve()


async def sequence_after_reserve() -> int:
    await zart.sleep("night", "8h")
    await zart.capture("value", lambda: 5)
    (paid,) = await zart.wait([zart.schedule(pay(1))])
    await asyncio.sleep(60)
    return int(paid.unwrap())


@pytest.mark.parametrize(
    ("changed", "name", "says"),
    [
        (renamed, "reserve", "asked for 'book' instead"),
        (removed, "reserve", "before it"),
        (removed_at_the_end, "pay-1", "returned"),
        (another_kind, "night", "recorded by sleep and is now used by event"),
        (another_order, "reserve", "'night' before it"),
        (steps_in_another_order, "value", "before it"),
        (raises, "", "raised ValueError"),
        (inserted, "night", "asked for 'book' instead"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_change_that_does_not_fit(changed: Body, name: str, says: str, tmp_path: Path) -> None:
    path = await export(trip(sequence), tmp_path)
    with pytest.raises(zart.ReplayMismatch, match=says) as caught:
        replay(trip(changed), path)
    assert caught.value.name == name


async def lengthened() -> None:
    await sequence()
    await book()
    raise ValueError("not reached")


async def shortened_names() -> int:
    """Functions may be renamed and moved; local code may change."""
    return len([await sequence()]) + 5


@pytest.mark.parametrize("changed", [lengthened, shortened_names], ids=lambda body: body.__name__)
async def test_a_change_that_does_no_harm(changed: Body, tmp_path: Path) -> None:
    replay(trip(changed), await export(trip(sequence), tmp_path))


async def test_fakes_supply_the_values_of_inserted_steps(tmp_path: Path) -> None:
    async def inserted_everywhere() -> int:
        assert await pay(7) == 70
        await reserve()
        assert [*await asyncio.gather(pay(8), book())] == [80, 20]
        (scheduled,) = await zart.wait([zart.schedule(pay(9))])
        assert scheduled.unwrap() == 90
        await zart.sleep("night", "8h")
        return await zart.capture("value", lambda: 5)

    async def bare() -> int:
        await reserve()
        await zart.sleep("night", "8h")
        return await zart.capture("value", lambda: 5)

    async def fake_pay(number: int) -> int:
        return number * 10

    path = await export(trip(bare), tmp_path)
    replay(trip(inserted_everywhere), path, steps={pay: fake_pay, book: lambda: 20})
    with pytest.raises(zart.ReplayMismatch, match="'book'"):
        replay(trip(inserted_everywhere), path, steps={pay: fake_pay})


async def test_a_step_inserted_before_a_timer_that_has_fired(tmp_path: Path) -> None:
    """It moves the timer, as it would in a worker."""

    async def pauses() -> None:
        await reserve()
        await asyncio.sleep(60)
        await pay(1)

    async def inserted_before() -> None:
        await reserve()
        await book()
        await asyncio.sleep(60)
        await pay(1)

    path = await export(trip(pauses), tmp_path)
    with pytest.raises(zart.ReplayMismatch, match="timer"):
        replay(trip(inserted_before), path, steps={book: lambda: 2})


async def first_wins() -> str:
    tasks = [asyncio.create_task(zart.sleep(name, hours)) for name, hours in (("a", "2h"), ("b", "1h"))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return str(await (reserve() if tasks[0] in done else book()))


async def first_of_three_wins() -> str:
    tasks = [asyncio.create_task(zart.sleep(name, hours)) for name, hours in (("a", "2h"), ("b", "1h"), ("c", "9h"))]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.ALL_COMPLETED)
    return str(await (reserve() if tasks[0] in done else book()))


async def the_other_wins() -> str:
    tasks = [asyncio.create_task(zart.sleep(name, hours)) for name, hours in (("a", "2h"), ("b", "1h"))]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return str(await (book() if tasks[0] in done else reserve()))


async def test_a_changed_race(tmp_path: Path) -> None:
    path = await export(trip(first_wins), tmp_path)
    replay(trip(first_wins), path)
    for changed in (first_of_three_wins, the_other_wins):
        with pytest.raises(zart.ReplayMismatch, match="book"):
            replay(trip(changed), path)


async def test_a_body_replays_as_the_version_that_it_is_bound_to(tmp_path: Path) -> None:
    async def branches() -> int:
        return await (book() if zart.context().version >= 3 else reserve())

    path = await export(trip(branches, version=2), tmp_path)
    replay(trip(branches, version=3), path)
    with pytest.raises(zart.ReplayMismatch, match="for versions from 3 to 4, and the history is of version 2"):
        replay(trip(branches, version=4, compatible_from=3), path)


async def test_a_result_that_the_new_code_cannot_read(tmp_path: Path) -> None:
    async def reads() -> str:
        return str(await zart.capture("value", lambda: "text"))

    async def reads_a_number() -> str:
        return str(await zart.capture("value", lambda: 1, type=int))

    path = await export(trip(reads), tmp_path)
    with pytest.raises(zart.SerializationError, match="value"):
        replay(trip(reads_a_number), path)


async def test_no_step_runs(tmp_path: Path) -> None:
    ran: list[str] = []

    @zart_step("counted")
    async def counted() -> None:
        ran.append("counted")

    async def counts() -> None:
        await counted()
        await zart.capture("noted", lambda: ran.append("noted"))
        await zart.sleep("night", "8h")
        await counted().named("again")

    path = await export(trip(counts), tmp_path, until="1h")
    assert ran == ["counted", "noted"]
    replay(trip(counts), path)
    assert ran == ["counted", "noted"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda history: "no json", "no history"),
        (lambda history: json.dumps({**history, "format_version": 99}), "format 99"),
        (lambda history: json.dumps({**history, "task": "other"}), "of task 'other'"),
        (lambda history: json.dumps({**history, "has_payloads": False}), "without payloads"),
    ],
)
async def test_a_file_that_cannot_be_replayed(change: Callable[[Any], str], says: str, tmp_path: Path) -> None:
    path = await export(trip(sequence), tmp_path)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(zart.InvalidInput, match=says):
        replay(trip(sequence), path)


async def test_payloads_can_be_left_out(tmp_path: Path) -> None:
    handler = trip(everything)
    async with Harness([handler]) as h:
        await h.run(handler, "t")
        text = json.dumps(await h.scheduler.history("t", payloads=False))
        whole = json.dumps(await h.scheduler.history("t"))
    assert "YWJj" not in text
    assert "token" in text
    assert len(text) < len(whole)
    assert "input" not in text or '"input": null' in text


def test_a_history_of_the_first_format_can_be_read() -> None:
    """The format outlives the stored layout: this file is never written anew."""
    replay(trip(everything), Path(__file__).parent / "history_1.json")
