"""One pass of a body: what is parked together, what is held, and how a body is put away."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

import zart_redis as zart
from tests.engine.conftest import Log
from tests.engine.memory import WORKER, MemoryPort, an_execution, one_pass
from tests.fundamentals.helpers import happens, until
from zart_redis import zart_step
from zart_redis.engine import drive
from zart_redis.engine.drive import Gone, Raised, Returned, run_pass
from zart_redis.engine.journal import encode_result

pytestmark = pytest.mark.anyio

runs: list[str] = []


@zart_step("pass-{word}")
async def note(word: str) -> str:
    runs.append(word)
    return word


@pytest.fixture(autouse=True)
def _no_runs() -> None:
    runs.clear()


# Replay


async def test_a_body_that_awaits_nothing_returns(port: MemoryPort) -> None:
    async def body() -> int:
        return 1

    assert await one_pass(port, body) == Returned(1)
    assert port.parks == []


async def test_what_is_recorded_is_not_run_again(port: MemoryPort) -> None:
    async def body() -> str:
        return await note("a")

    assert await one_pass(port, body) == Returned("a")
    assert await one_pass(port, body) == Returned("a")
    assert runs == ["a"]


async def test_the_first_record_of_a_name_stands(port: MemoryPort) -> None:
    execution = an_execution(port)  # which knows of no record, as one whose reply was lost
    record = encode_result(
        "v", msgspec.msgpack.encode("from elsewhere"), note.definition.origin("pass-a"), 1, 0, WORKER
    )
    port.records["pass-a"] = record + bytes(6)

    async def body() -> str:
        return await note("a")

    assert await run_pass(execution, body) == Returned("from elsewhere")


async def test_a_name_used_twice_is_refused(port: MemoryPort) -> None:
    async def body() -> None:
        await note("a")
        await note("a")

    assert await one_pass(port, body) == Raised(zart.DuplicateStepName("pass-a"))
    assert runs == ["a"]


async def test_another_kind_of_call_is_a_mismatch(port: MemoryPort) -> None:
    async def before() -> None:
        await note("a")

    async def after() -> None:
        await zart.sleep("pass-a", "1h")

    await one_pass(port, before)
    assert await one_pass(port, after) == Raised(zart.ReplayMismatch("pass-a", "step", "sleep"))


# Parking


async def gathered(*calls: Any) -> Any:
    return await asyncio.gather(*calls)


async def in_task_group(*calls: Any) -> Any:
    async def run(call: Any) -> Any:
        return await call

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(call)) for call in calls]
    return [task.result() for task in tasks]


async def in_anyio_group(*calls: Any) -> Any:
    async def run(call: Any) -> None:
        await call

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(run, call)


async def in_nested_groups(*calls: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(in_task_group(call))


GROUPS = [gathered, in_task_group, in_anyio_group, in_nested_groups]


@pytest.mark.parametrize("together", GROUPS, ids=lambda group: group.__name__)
async def test_all_branches_are_parked_as_one(port: MemoryPort, log: Log, together: Callable[..., Any]) -> None:
    async def chain() -> None:
        await note("a")
        await note("b")
        await zart.sleep("later", "2h")

    async def fan_out() -> None:
        await zart.wait([zart.schedule(note("c"))])

    async def body() -> None:
        await together(zart.sleep("nap", "1h"), zart.wait_for_event("told"), chain(), fan_out())

    assert await one_pass(port, body) is Gone.PARKED
    assert port.parks == [(["1", "later", "nap", "told"], "parked")]
    assert runs == ["a", "b"]
    assert log.said == []


async def test_a_wait_that_has_ended_goes_on_while_the_others_stay(port: MemoryPort) -> None:
    async def told() -> None:
        assert await zart.wait_for_event("told") == "now"
        await note("a")

    async def body() -> None:
        await asyncio.gather(zart.sleep("nap", "1h"), told())

    port.offer("told", "now")
    assert await one_pass(port, body) is Gone.PARKED
    assert port.parks == [(["nap", "told"], "ready"), (["nap"], "parked")]
    assert runs == ["a"]


async def test_while_a_step_runs_in_place_the_body_is_held_and_a_poke_moves_its_sleeper(port: MemoryPort) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @zart_step("pass-long")
    async def long() -> str:
        begun.set()
        await go_on.wait()
        return "long"

    async def napper() -> str:
        await zart.sleep("nap", "1h")
        return await note("after the nap")

    async def body() -> Any:
        return await asyncio.gather(long(), napper())

    execution = an_execution(port)
    passing = asyncio.create_task(run_pass(execution, body))
    await happens(begun)
    await until(lambda: port.parks == [(["nap"], "held")])
    port.wake()
    execution.poke()
    await until(lambda: runs == ["after the nap"])
    assert not passing.done()
    go_on.set()
    assert await passing == Returned(["long", "after the nap"])
    assert port.recorded == ["pass-after the nap", "pass-long"]


async def test_a_held_body_is_parked_when_its_step_has_ended(port: MemoryPort) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @zart_step("pass-brief")
    async def brief() -> None:
        begun.set()
        await go_on.wait()

    async def body() -> None:
        await asyncio.gather(brief(), zart.sleep("nap", "1h"))

    passing = asyncio.create_task(one_pass(port, body))
    await happens(begun)
    await until(lambda: port.parks == [(["nap"], "held")])
    go_on.set()
    assert await passing is Gone.PARKED
    assert port.parks[-1] == (["nap"], "parked")
    assert port.recorded == ["pass-brief"]


async def test_scheduled_steps_are_registered_before_the_body_may_be_parked(port: MemoryPort) -> None:
    async def body() -> list[str]:
        handles = [zart.schedule(note(word)) for word in "abc"]
        return [result.unwrap() for result in await zart.wait(handles)]

    assert await one_pass(port, body) is Gone.PARKED
    assert sorted(port.children) == ["pass-a", "pass-b", "pass-c"]
    assert runs == []


async def test_what_is_not_durable_beside_a_durable_call_is_cut_off_with_a_warning(port: MemoryPort, log: Log) -> None:
    cut: list[str] = []

    async def download() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cut.append("download")
            raise

    async def body() -> None:
        await asyncio.gather(zart.sleep("nap", "1h"), download())

    assert await one_pass(port, body) is Gone.PARKED
    assert cut == ["download"]
    ((event, fields),) = log.said
    assert "not durable" in event
    assert "download" in fields["awaiting"]


# Losing the claim


async def test_a_body_whose_claim_is_lost_ends_and_never_learns_of_it(port: MemoryPort) -> None:
    seen: list[BaseException] = []

    async def body() -> None:
        try:
            await note("a")
            runs.append("went on")
        except Exception as error:
            seen.append(error)

    port.fenced = True
    assert await one_pass(port, body) is Gone.LOST
    assert (runs, seen, port.records) == (["a"], [], {})


async def test_a_refused_schedule_ends_the_pass(port: MemoryPort) -> None:
    async def body() -> None:
        await zart.wait([zart.schedule(note("a"))])

    port.fenced = True
    assert await one_pass(port, body) is Gone.LOST


async def test_a_lost_body_is_cut_off_in_the_middle_of_a_step(port: MemoryPort) -> None:
    begun = asyncio.Event()

    @zart_step("pass-endless")
    async def endless() -> None:
        begun.set()
        await asyncio.sleep(30)

    async def body() -> None:
        await endless()

    execution = an_execution(port)
    passing = asyncio.create_task(run_pass(execution, body))
    await happens(begun)
    execution.lose()
    assert await passing is Gone.LOST
    assert port.recorded == []


# Draining


async def test_a_draining_body_records_the_step_that_runs_and_begins_no_other(port: MemoryPort) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @zart_step("pass-running")
    async def running() -> None:
        begun.set()
        await go_on.wait()

    async def body() -> None:
        await running()
        await note("next")

    execution = an_execution(port)
    passing = asyncio.create_task(run_pass(execution, body))
    await happens(begun)
    execution.drain()
    go_on.set()
    assert await passing is Gone.DRAINED
    assert port.recorded == ["pass-running"]
    assert runs == []


async def test_a_draining_body_that_only_sleeps_is_parked(port: MemoryPort) -> None:
    async def body() -> None:
        await zart.sleep("nap", "1h")

    execution = an_execution(port)
    passing = asyncio.create_task(run_pass(execution, body))
    await asyncio.sleep(0)
    execution.drain()
    assert await passing in (Gone.PARKED, Gone.DRAINED)


# Being put away


async def test_finally_blocks_and_context_managers_see_no_step_executed(port: MemoryPort) -> None:
    class Manager:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            await note("exit")

    async def body() -> None:
        async with Manager():
            try:
                await zart.sleep("nap", "1h")
            finally:
                await note("finally")
                await zart.capture("captured", lambda: runs.append("captured"))
                await zart.sleep("another", "1h")

    assert await one_pass(port, body) is Gone.PARKED
    assert (runs, port.recorded) == ([], [])
    assert port.parks == [(["nap"], "parked")]


async def test_nothing_is_scheduled_while_a_body_is_put_away(port: MemoryPort) -> None:
    async def body() -> None:
        try:
            await zart.sleep("nap", "1h")
        finally:
            zart.schedule(note("late"))

    assert await one_pass(port, body) is Gone.PARKED
    assert port.children == {}


async def test_a_swallowed_cancellation_does_not_let_a_body_go_on(port: MemoryPort) -> None:
    async def body() -> str:
        for attempt in range(3):
            try:
                await zart.sleep(f"nap-{attempt}", "1h")
            except BaseException:
                runs.append("swallowed")
        return await note("never")

    assert await one_pass(port, body) is Gone.PARKED
    assert runs == ["swallowed"] * 3
    assert port.recorded == []


async def test_a_body_that_does_not_end_is_left_to_itself(
    port: MemoryPort, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drive, "UNWIND_SECONDS", 0.05)
    released, left = asyncio.Event(), asyncio.Event()

    async def body() -> None:
        try:
            await zart.sleep("nap", "1h")
        finally:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    pass
            left.set()

    assert await one_pass(port, body) is Gone.PARKED
    assert "does not end" in log.said[-1][0]
    released.set()
    await happens(left)


async def test_no_task_of_a_body_outlives_its_pass(port: MemoryPort) -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("background")

    async def body() -> str:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        assert not task.done()
        return "returned"

    assert await one_pass(port, body) == Returned("returned")
    assert ended == ["background"]


async def test_a_body_that_cancels_itself_has_failed(port: MemoryPort) -> None:
    async def body() -> None:
        raise asyncio.CancelledError

    end = await one_pass(port, body)
    assert isinstance(end, Raised)
