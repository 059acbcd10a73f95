"""`zart.continue_as_new`: a handler that loops for ever ends its run, and goes on in a new one."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import zart_redis as zart
from zart_redis import EventDelivery, zart_durable, zart_step
from zart_redis.engine.unwinding import BodyClosed

pytestmark = pytest.mark.anyio

EFFECTS: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    EFFECTS.clear()


@zart_step("note-{name}")
async def note(name: str) -> str:
    EFFECTS.append(name)
    return name


@zart_durable("counting")
async def counting(number: int) -> int:
    await note(f"{number}")
    await zart.sleep("nap", "1h")
    if number < 14:
        await zart.continue_as_new(number + 1)
    return number


@pytest.mark.parametrize("options", [{}, {"replay": True}, {"crash_after_each_step": True}, {"warm": 0}], ids=str)
async def test_each_run_begins_with_an_empty_history_and_its_own_input(zart_harness: Any, options: Any) -> None:
    async with zart_harness(counting, **options) as h:
        began = h.now
        assert await h.run(counting, "counting-1", 1) == 14
        assert sorted(EFFECTS, key=int) == [str(number) for number in range(1, 15)]
        assert h.now - began == timedelta(hours=14)
        last = await h.scheduler.status("counting-1")
        assert (last.run, last.input, last.output) == (14, 14, 14)


async def test_the_newest_ten_runs_are_kept_with_what_they_recorded(zart_harness: Any) -> None:
    async with zart_harness(counting) as h:
        await h.run(counting, "counting-1", 1)
        runs = await h.scheduler.runs("counting-1")
        assert [run.run for run in runs] == list(range(4, 15))
        assert {(run.status, run.trigger) for run in runs} == {("completed", "continue_as_new")}
        old = await h.scheduler.detail("counting-1", run=4)
        assert [(step.name, step.result) for step in old.steps] == [("note-4", "4"), ("nap", None)]
        with pytest.raises(zart.InvalidInput, match="has no run 3"):
            await h.scheduler.detail("counting-1", run=3)


async def test_runs_that_ended_otherwise_are_kept_beside_them(zart_harness: Any) -> None:
    async with zart_harness(counting) as h:
        await h.run(counting, "counting-1", 10)
        await h.scheduler.restart("counting-1", 1)
        await h.finish("counting-1")
        runs = [run.run for run in await h.scheduler.runs("counting-1")]
        assert runs == [5, *range(9, 20)], "run 5 returned; of those that continued only the newest ten are kept"


async def test_whoever_waits_for_the_execution_waits_for_its_last_run(zart_harness: Any) -> None:
    async with zart_harness(counting) as h:
        await h.scheduler.start_for(counting, "counting-1", 12)
        waiting = asyncio.create_task(h.scheduler.wait_for(counting, "counting-1"))
        await h.advance("2h")
        assert not waiting.done()
        assert (await h.scheduler.status("counting-1")).run == 3
        await h.advance("1h")
        assert await waiting == 14


async def test_the_context_says_which_run_it_is(zart_harness: Any) -> None:
    keys: list[str] = []

    @zart_step("look")
    async def look() -> int:
        keys.append(zart.context().idempotency_key)
        return zart.context().run

    @zart_durable("looking")
    async def looking(before: list[int]) -> list[int]:
        (scheduled,) = await zart.wait([zart.schedule(look().named("scheduled"))])
        seen = [*before, zart.context().run, await look(), scheduled.unwrap()]
        if len(before) == 0:
            await zart.continue_as_new(seen)
        return seen

    async with zart_harness(looking) as h:
        output = await h.run(looking, "l", [])
        assert output == [1, 1, 1, 2, 2, 2]
        assert len(set(keys)) == 4
        assert {tuple(key.split(":")[-2:]) for key in keys} == {
            (run, step) for run in ("1", "2") for step in ("look", "scheduled")
        }
        assert all(key.split(":")[1] == "l" for key in keys)


# What is checked, and what is not lost


@dataclass
class Order:
    cents: int


async def test_the_input_is_checked_before_anything_happens(zart_harness: Any) -> None:
    @zart_durable("checked")
    async def checked(order: Order) -> list[str]:
        refused = []
        for data in ("no order", None, object(), Order("x" * 2000)):  # type: ignore[arg-type]
            try:
                await zart.continue_as_new(data)
            except zart.ZartError as error:
                refused.append(type(error).__name__)
        return [*refused, await note("on")]

    async with zart_harness(checked, max_payload=1000) as h:
        kinds = ["SerializationError"] * 4
        assert await h.run(checked, "checked-1", Order(1)) == [*kinds, "on"]

    @zart_durable("takes-none")
    async def takes_none() -> str:
        try:
            await zart.continue_as_new(5)
        except zart.InvalidInput as error:
            return str(error)

    async with zart_harness(takes_none) as h:
        assert (
            await h.run(takes_none, "takes-1") == "the input of task 'takes-none' must be None: its handler takes none"
        )


async def test_events_that_were_not_received_move_on_in_their_order(zart_harness: Any) -> None:
    @zart_durable("taking")
    async def taking(taken: list[str]) -> list[str]:
        if len(taken) < 2:
            taken.append(await zart.wait_for_event(f"event-{len(taken)}", type=str))
            await zart.continue_as_new(taken)
        first = asyncio.create_task(zart.wait_for_event("event-2"))
        second = asyncio.create_task(zart.wait_for_event("early"))
        done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        return [*taken, *(task.result() for task in done), await zart.wait_for_event("event-0", "1h")]

    async with zart_harness(taking) as h:
        await h.scheduler.start_for(taking, "taking-1", [])
        await h.settle()
        for name in ("early", "event-2", "event-1"):
            assert await h.scheduler.offer_event("taking-1", name, name) == EventDelivery.BUFFERED
        assert await h.scheduler.offer_event("taking-1", "event-0", "event-0") == EventDelivery.DELIVERED
        await h.settle()
        assert await h.scheduler.offer_event("taking-1", "early", "again") == EventDelivery.DUPLICATE
        assert await h.scheduler.offer_event("taking-1", "event-0", "anew") == EventDelivery.DELIVERED
        assert await h.scheduler.wait_for(taking, "taking-1") == ["event-0", "event-1", "early", "anew"]
        old = await h.scheduler.detail("taking-1", run=1)
        assert [(step.name, step.result) for step in old.steps] == [("event-0", "event-0")]


@pytest.mark.parametrize(
    ("options", "passes"), [({}, 1), ({"warm": 0}, 2), ({"warm": 0, "replay": True}, 3)], ids=["kept", "cold", "replay"]
)
async def test_scheduled_steps_end_first(zart_harness: Any, options: Any, passes: int) -> None:
    @zart_step("slow", retry="fixed(1, 1h)")
    async def slow() -> int:
        EFFECTS.append("slow")
        if not zart.context().is_retry():
            raise OSError
        return 1

    @zart_durable("leaving")
    async def leaving(is_last: bool) -> str:
        if not is_last:
            zart.schedule(slow())
            EFFECTS.append("left")
            await zart.continue_as_new(True)
        return await note("last")

    async with zart_harness(leaving, **options) as h:
        await h.scheduler.start_for(leaving, "leaving-1", False)
        await h.settle()
        record = await h.scheduler.status("leaving-1")
        assert (record.run, record.status, record.waiting_for) == (1, "waiting", ("step slow",))
        await h.advance("1h")
        assert await h.scheduler.wait_for(leaving, "leaving-1") == "last"
        assert [effect for effect in EFFECTS if effect != "left"] == ["slow", "slow", "last"]
        assert EFFECTS.count("left") == passes


async def test_the_timeout_counts_for_each_run(zart_harness: Any) -> None:
    @zart_durable("timed", timeout="90m")
    async def timed(number: int) -> int:
        await zart.sleep("nap", f"{number}h")
        await zart.continue_as_new(number + 1)

    async with zart_harness(timed) as h:
        began = h.now
        with pytest.raises(zart.ExecutionFailed, match="did not end within its timeout"):
            await h.run(timed, "timed-1", 1)
        assert h.now - began == timedelta(hours=2.5)


# No code of the old run follows


async def test_neither_other_tasks_nor_except_and_finally_blocks_go_on(zart_harness: Any) -> None:
    @zart_durable("many-tasks")
    async def many_tasks(is_last: bool) -> str:
        if is_last:
            return "last"

        async def waits() -> None:
            try:
                await zart.wait_for_event("never")
            except Exception:
                EFFECTS.append("except")
            finally:
                zart.schedule(note("finally"))
                await note("waits")

        async def awakes() -> None:
            await woken.wait()
            await note("awakes")

        async def continues() -> None:
            try:
                await note("begin")
                woken.set()
                await zart.continue_as_new(True)
            except BaseException as error:
                EFFECTS.append(type(error))
                raise
            finally:
                await note("continues")

        woken = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for branch in (waits, awakes, continues, waits_for(woken)):
                group.create_task(branch())
        return "first"

    def waits_for(woken: asyncio.Event) -> Any:
        async def returns() -> None:
            await woken.wait()
            raise OSError("would cancel the others")

        return returns

    async with zart_harness(many_tasks) as h:
        assert await h.run(many_tasks, "many-1", False) == "last"
        assert [*EFFECTS] == ["begin", BodyClosed]
        old = await h.scheduler.detail("many-1", run=1)
        assert [(step.name, step.status) for step in old.steps] == [("note-begin", "completed"), ("never", "waiting")]


async def test_an_on_failure_body_may_continue(zart_harness: Any) -> None:
    async def undo(data: int, failure: zart.Failure) -> int:
        await note(f"undo-{data}")
        await zart.continue_as_new(data + 1)

    @zart_durable("tries-again", on_failure=undo)
    async def tries_again(data: int) -> int:
        if data < 3:
            raise OSError
        return data

    async with zart_harness(tries_again) as h:
        assert await h.run(tries_again, "tries-1", 1) == 3
        assert EFFECTS == ["undo-1", "undo-2"]


async def test_outside_of_a_body_it_is_an_error(zart_harness: Any) -> None:
    with pytest.raises(zart.NoExecutionContext):
        await zart.continue_as_new()

    @zart_durable("nested-continue")
    async def nested() -> None:
        await zart.run("nested", zart.continue_as_new)

    async with zart_harness(nested) as h:
        with pytest.raises(zart.ExecutionFailed, match="NestedStepError"):
            await h.run(nested, "nested-1")


async def test_a_loop_without_end_can_be_cancelled(zart_harness: Any) -> None:
    @zart_durable("for-ever")
    async def for_ever(number: int) -> None:
        await asyncio.sleep(3600)
        await zart.continue_as_new(number + 1)

    async with zart_harness(for_ever) as h:
        await h.scheduler.start_for(for_ever, "for-ever-1", 1)
        await h.advance("100h")
        record = await h.scheduler.status("for-ever-1")
        assert (record.run, record.input) == (101, 101)
        assert await h.scheduler.cancel("for-ever-1")
        assert (await h.scheduler.wait("for-ever-1")).status == "cancelled"
        await h.scheduler.purge()
        assert await h.scheduler.doctor() == []
