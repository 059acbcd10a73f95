"""Replay: a body begins anew after each wait, and goes on at the first step that has no recorded result."""

import asyncio
import enum
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest

import zart_redis as zart
from tests.support.waiting import SOON, held, reaches
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio


async def error_of(scheduler: zart.DurableScheduler, handler: Any, data: Any = None) -> Exception:
    """What an execution fails with."""
    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(handler, "failing", data, SOON)
    return raised.value.error


@pytest.mark.usefixtures("worker")
async def test_recorded_steps_are_not_run_again(scheduler: zart.DurableScheduler) -> None:
    runs: list[str] = []

    @zart_step("note-{word}")
    async def note(word: str) -> str:
        runs.append(word)
        return word

    @zart_durable("notes")
    async def notes() -> list[str]:
        runs.append("body")
        first = await note("a")
        await zart.sleep("nap", "20ms")
        return [first, await note("b")]

    assert await scheduler.start_and_wait_for(notes, "notes-1", timeout=SOON) == ["a", "b"]
    assert runs == ["body", "a", "body", "b"]


async def test_another_worker_goes_on_where_the_first_one_stopped(scheduler: zart.DurableScheduler) -> None:
    runs: list[str] = []

    @zart_step("leg-{number}")
    async def leg(number: int) -> int:
        runs.append(f"leg-{number}")
        return number

    @zart_durable("journey")
    async def journey() -> int:
        total = await leg(1)
        await zart.wait_for_event("go-on")
        return total + await leg(2)

    async with running_worker(scheduler):
        await scheduler.start_for(journey, "journey-1")
        await reaches(scheduler, "journey-1", "waiting", "event go-on")
    await scheduler.offer_event("journey-1", "go-on")
    async with running_worker(scheduler):
        assert await scheduler.wait_for(journey, "journey-1", SOON) == 3
    assert runs == ["leg-1", "leg-2"]


@pytest.mark.usefixtures("worker")
async def test_capture_calls_once_and_gives_the_same_at_each_replay(scheduler: zart.DurableScheduler) -> None:
    seen: list[tuple[uuid.UUID, str, datetime]] = []

    def token() -> uuid.UUID:
        return uuid.uuid4()

    async def word() -> str:
        return uuid.uuid4().hex

    @zart_durable("captured")
    async def captured() -> None:
        seen.append((await zart.capture("token", token), await zart.capture("word", word), await zart.now("moment")))
        await zart.sleep("nap", "20ms")

    await scheduler.start_and_wait_for(captured, "captured-1", timeout=SOON)
    first, second = seen
    assert first == second
    assert isinstance(first[0], uuid.UUID)
    assert first[2].tzinfo is UTC or first[2].utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - first[2]) < timedelta(seconds=15)


@pytest.mark.usefixtures("worker")
async def test_the_input_is_new_at_each_replay(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("mutating")
    async def mutating(items: list[int]) -> list[int]:
        items.append(0)
        await zart.sleep("nap", "20ms")
        return items

    assert await scheduler.start_and_wait_for(mutating, "mutating-1", [1], SOON) == [1, 0]


# Names are keys


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("kind", ["step", "scheduled", "sleep", "event", "capture", "now"])
async def test_a_name_used_twice_is_refused_at_its_second_use(scheduler: zart.DurableScheduler, kind: str) -> None:
    runs: list[int] = []

    @zart_step("key")
    async def key() -> int:
        runs.append(1)
        return 1

    async def scheduled() -> None:
        await zart.wait([zart.schedule(key())])

    second: dict[str, Callable[[], Any]] = {
        "step": lambda: zart.require(key()),
        "scheduled": scheduled,
        "sleep": lambda: zart.sleep("key", "1ms"),
        "event": lambda: zart.wait_for_event("key"),
        "capture": lambda: zart.capture("key", lambda: 1),
        "now": lambda: zart.now("key"),
    }

    @zart_durable("twice")
    async def twice() -> None:
        await key()
        await second[kind]()

    error = await error_of(scheduler, twice)
    assert error == zart.DuplicateStepName("key")
    assert "key" in str(error)
    assert runs == [1]


async def changed(scheduler: zart.DurableScheduler, before: Callable[[], Any], after: Callable[[], Any]) -> str:
    """Why an execution is held when a deployment changes, under it, what its body calls."""

    @zart_durable("changing")
    async def old() -> None:
        await before()
        await zart.wait_for_event("deployed")

    async with running_worker(scheduler, handlers=[old]):
        await scheduler.start_for(old, "changing-1")
        await reaches(scheduler, "changing-1", "waiting", "event deployed")
    await scheduler.offer_event("changing-1", "deployed")

    @zart_durable("changing")
    async def new() -> None:
        await after()
        await zart.wait_for_event("deployed")

    async with running_worker(scheduler, handlers=[new]):
        reason = await held(scheduler, "changing-1")
        await scheduler.cancel("changing-1")
    return reason


async def test_a_name_recorded_by_another_kind_of_call_is_a_mismatch(scheduler: zart.DurableScheduler) -> None:
    @zart_step("pause")
    async def pause() -> None: ...

    reason = await changed(scheduler, lambda: zart.sleep("pause", "1ms"), lambda: zart.require(pause()))
    assert reason == str(zart.ReplayMismatch("pause", "sleep", "step"))


async def test_a_name_recorded_by_another_declared_step_is_a_mismatch(scheduler: zart.DurableScheduler) -> None:
    @zart_step("charge")
    async def charge() -> int:
        return 1

    @zart_step("refund")
    async def refund() -> int:
        return 2

    reason = await changed(
        scheduler, lambda: zart.require(charge().named("pay")), lambda: zart.require(refund().named("pay"))
    )
    assert reason == str(zart.ReplayMismatch("pay", "step 'charge'", "step 'refund'"))


async def test_names_made_by_templates_tell_their_steps_apart(scheduler: zart.DurableScheduler) -> None:
    @zart_step("report-{index}")
    async def report(index: int) -> int:
        return index

    @zart_step("report-{number}")
    async def other_report(number: int) -> int:
        return number

    @zart_step("report-3")
    async def third_report() -> int:
        return 3

    calls: list[Callable[[], Any]] = [
        lambda: zart.require(report(3)),
        lambda: zart.require(other_report(3)),
        lambda: zart.require(third_report()),
    ]
    names = ["step 'report-{index}'", "step 'report-{number}'", "step 'report-3'"]
    for first, second in itertools.permutations(range(3), 2):
        reason = await changed(scheduler, calls[first], calls[second])
        assert reason == str(zart.ReplayMismatch("report-3", names[first], names[second]))


async def test_renaming_a_function_changes_nothing(scheduler: zart.DurableScheduler) -> None:
    @zart_step("charge-card")
    async def charge_v1() -> int:
        return 1

    @zart_durable("renaming")
    async def old() -> int:
        paid = await charge_v1()
        await zart.wait_for_event("deployed")
        return paid

    async with running_worker(scheduler, handlers=[old]):
        await scheduler.start_for(old, "renaming-1")
        await reaches(scheduler, "renaming-1", "waiting", "event deployed")
    await scheduler.offer_event("renaming-1", "deployed")

    @zart_step("charge-card")
    async def charge_v2() -> int:
        return 2

    @zart_durable("renaming")
    async def new() -> int:
        paid = await charge_v2()
        await zart.wait_for_event("deployed")
        return paid

    async with running_worker(scheduler, handlers=[new]):
        assert await scheduler.wait_for(new, "renaming-1", SOON) == 1


# The first run and every replay hand the body an equal value of the same type


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    y: Decimal = Decimal("1.5")
    tags: frozenset[str] = field(default_factory=frozenset)


class Pair(NamedTuple):
    left: int
    right: str


class Address(TypedDict):
    street: str


@attrs.frozen
class Box:
    width: int


class Crate(msgspec.Struct):
    height: int


class Order(pydantic.BaseModel):
    id: str
    lines: list[int] = []


VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (int, 2**60),
    (float, 1.5),
    (str, "naïve"),
    (bytes, b"\x00\xff"),
    (bool, True),
    (list[int], [1, 2]),
    (tuple[int, str], (1, "a")),
    (set[str], {"a", "b"}),
    (dict[int, str], {1: "a"}),
    (datetime, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (date, date(2024, 1, 2)),
    (uuid.UUID, uuid.UUID(int=7)),
    (Decimal, Decimal("0.10")),
    (Colour, Colour.RED),
    (Point, Point(1, Decimal("2.50"), frozenset({"a"}))),
    (Pair, Pair(1, "b")),
    (Address, {"street": "Elm"}),
    (Box, Box(3)),
    (Crate, Crate(4)),
    (Order, Order(id="a", lines=[1])),
    (list[Point] | None, [Point(1)]),
]


@pytest.mark.usefixtures("worker")
async def test_values_come_back_equal_and_of_the_same_type(scheduler: zart.DurableScheduler) -> None:
    handed: list[list[Any]] = []

    def make(number: int, annotation: Any, value: Any) -> Any:
        async def produce() -> Any:
            return value

        produce.__annotations__["return"] = annotation
        return zart_step(f"produce-{number}")(produce)

    steps = [make(number, annotation, value) for number, (annotation, value) in enumerate(VALUES)]

    @zart_durable("values")
    async def values() -> None:
        handed.append([await step() for step in steps])
        await zart.sleep("nap", "20ms")

    await scheduler.start_and_wait_for(values, "values-1", timeout=SOON)
    first, replayed = handed
    for (_, value), one, other in zip(VALUES, first, replayed, strict=True):
        assert one == other == value
        assert type(one) is type(other) is type(value)


class Opaque:
    pass


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("annotation", "value", "named"),
    [
        (Any, (1, 2), "tuple"),
        (Any, Point(1), "Point"),
        (list[int], [1, "2"], "list"),
        (Any, Opaque(), "Opaque"),
        (str, 1, "int"),
    ],
)
async def test_a_value_that_would_come_back_different_is_refused(
    scheduler: zart.DurableScheduler, annotation: Any, value: Any, named: str
) -> None:
    async def produce() -> Any:
        return value

    produce.__annotations__["return"] = annotation
    step = zart_step("lossy")(produce)

    @zart_durable("lossy-body")
    async def body() -> None:
        await step()

    error = await error_of(scheduler, body)
    assert isinstance(error, zart.SerializationError)
    assert "step 'lossy'" in str(error)
    assert named in str(error)


@pytest.mark.usefixtures("worker")
async def test_an_aware_datetime_comes_back_as_the_same_instant(scheduler: zart.DurableScheduler) -> None:
    moment = datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    handed: list[datetime] = []

    @zart_step("moment")
    async def make() -> datetime:
        return moment

    @zart_durable("moments")
    async def moments() -> None:
        handed.append(await make())
        await zart.sleep("nap", "20ms")

    await scheduler.start_and_wait_for(moments, "moments-1", timeout=SOON)
    assert handed == [moment, moment]
    assert handed[0].utcoffset() == handed[1].utcoffset()


@pytest.mark.usefixtures("worker")
async def test_an_output_that_would_come_back_different_fails_the_execution(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("bad-output")
    async def bad() -> Any:
        return Point(1)

    error = await error_of(scheduler, bad)
    assert isinstance(error, zart.SerializationError)
    assert "output of task 'bad-output'" in str(error)


@pytest.mark.usefixtures("worker")
async def test_the_same_error_is_handed_to_the_first_run_and_to_the_replay(scheduler: zart.DurableScheduler) -> None:
    class Declined(Exception):
        def __init__(self, code: int, at: datetime) -> None:
            super().__init__(code, at)
            self.code = code
            self.at = at

    seen: list[Any] = []

    @zart_step("declining", raises=(Declined,))
    async def declining() -> None:
        raise Declined(7, datetime(2024, 1, 1, tzinfo=UTC))

    @zart_step("breaking")
    async def breaking() -> None:
        raise LookupError("gone")

    @zart_durable("errors")
    async def errors() -> None:
        for call in (declining(), breaking()):
            outcome = await zart.step(call)
            assert isinstance(outcome, zart.BusinessErr)
            seen.append(outcome.error)
        await zart.sleep("nap", "20ms")

    await scheduler.start_and_wait_for(errors, "errors-1", timeout=SOON)
    declined, broken, declined_again, broken_again = seen
    assert (type(declined), declined.code, declined.at) == (Declined, 7, datetime(2024, 1, 1, tzinfo=UTC))
    assert (type(declined_again), vars(declined_again)) == (Declined, vars(declined))
    assert broken == broken_again
    assert (type(broken), broken.type_name, broken.message) == (zart.RemoteError, "LookupError", "gone")
    assert "raise LookupError" in broken.traceback


@pytest.mark.usefixtures("worker")
async def test_except_exception_around_a_sleep_does_not_see_the_body_being_put_away(
    scheduler: zart.DurableScheduler,
) -> None:
    caught: list[Exception] = []

    @zart_durable("catching")
    async def catching() -> str:
        try:
            await zart.sleep("nap", "20ms")
        except Exception as error:
            caught.append(error)
        return "awake"

    assert await scheduler.start_and_wait_for(catching, "catching-1", timeout=SOON) == "awake"
    assert caught == []


@pytest.mark.usefixtures("worker")
async def test_finally_blocks_run_no_step_while_a_body_is_put_away(scheduler: zart.DurableScheduler) -> None:
    runs: list[str] = []

    @zart_step("tidy")
    async def tidy() -> None:
        runs.append("tidy")

    @zart_durable("tidying")
    async def tidying() -> str:
        try:
            await zart.sleep("nap", "20ms")
        finally:
            await tidy()
            runs.append("after")
        return "done"

    assert await scheduler.start_and_wait_for(tidying, "tidying-1", timeout=SOON) == "done"
    assert runs == ["tidy", "after"]


@pytest.mark.usefixtures("worker")
async def test_a_body_may_do_things_of_its_own_between_durable_calls(scheduler: zart.DurableScheduler) -> None:
    @zart_step("one")
    async def one() -> int:
        return 1

    @zart_durable("own")
    async def own() -> int:
        await asyncio.sleep(0.01)
        return await one()

    assert await scheduler.start_and_wait_for(own, "own-1", timeout=SOON) == 1
