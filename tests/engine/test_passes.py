"""One pass of a body: what is parked together, what is held, and how a body is put away."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

import zart_redis as zart
from tests.engine.memory import WORKER, MemoryPort, an_execution, one_pass
from tests.support.waiting import happens, until
from zart_redis import zart_step
from zart_redis.engine.drive import run_pass
from zart_redis.engine.journal import encode_result
from zart_redis.engine.observer import CodeMismatch, PassInterrupted, Raised, Returned
from zart_redis.layout import Record, Size

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
        Record.VALUE, msgspec.msgpack.encode("from elsewhere"), note.definition.origin("pass-a"), 1, 0, WORKER
    )
    port.records["pass-a"] = record + bytes(Size.STAMP)

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
    assert await one_pass(port, after) == CodeMismatch(zart.ReplayMismatch("pass-a", "step", "sleep"))


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
async def test_all_branches_are_parked_as_one(port: MemoryPort, together: Callable[..., Any]) -> None:
    async def chain() -> None:
        await note("a")
        await note("b")
        await zart.sleep("later", "2h")

    async def fan_out() -> None:
        await zart.wait([zart.schedule(note("c"))])

    async def body() -> None:
        await together(zart.sleep("nap", "1h"), zart.wait_for_event("told"), chain(), fan_out())

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert port.parks[-1] == (["later", "nap", "told"], "parked")
    assert runs == ["a", "b"]


async def test_a_wait_that_has_ended_goes_on_while_the_others_stay(port: MemoryPort) -> None:
    async def told() -> None:
        assert await zart.wait_for_event("told") == "now"
        await note("a")

    async def body() -> None:
        await asyncio.gather(zart.sleep("nap", "1h"), told())

    port.offer("told", "now")
    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert port.parks[-1] == (["nap"], "parked")
    assert runs == ["a"]


async def test_while_a_step_runs_in_place_the_body_is_held_and_a_wake_moves_its_sleeper(port: MemoryPort) -> None:
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
    execution.wake()
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
    assert await passing is PassInterrupted.PARKED
    assert port.parks[-1] == (["nap"], "parked")
    assert port.recorded == ["pass-brief"]


async def test_a_step_between_two_attempts_does_not_hold_the_body(port: MemoryPort) -> None:
    @zart_step("pass-flaky", retry="fixed(1, 1h)")
    async def flaky() -> str:
        runs.append("flaky")
        if len(runs) == 1:
            raise RuntimeError
        return "at last"

    async def body() -> object:
        return await asyncio.gather(flaky(), zart.sleep("nap", "2h"))

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert port.parks[-1] == (["nap", "pass-flaky"], "parked")
    port.wake()
    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert port.parks[-1] == (["nap"], "parked")
    port.wake()
    assert await one_pass(port, body) == Returned(["at last", None])
    assert runs == ["flaky", "flaky"]


async def test_a_step_between_two_attempts_is_tried_again_in_a_held_body(port: MemoryPort) -> None:
    begun, go_on, attempts = asyncio.Event(), asyncio.Event(), 0

    @zart_step("pass-flaky-beside", retry="fixed(1, 1h)")
    async def flaky() -> str:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError
        return "at last"

    @zart_step("pass-beside")
    async def beside() -> None:
        begun.set()
        await go_on.wait()

    async def body() -> object:
        return await asyncio.gather(flaky(), beside())

    execution = an_execution(port)
    passing = asyncio.create_task(run_pass(execution, body))
    port.on_change = execution.wake
    await happens(begun)
    await until(lambda: port.parks and port.parks[-1] == (["pass-flaky-beside"], "held"))
    port.wake()
    await until(lambda: attempts == 2)
    assert not passing.done()
    go_on.set()
    assert await passing == Returned(["at last", None])


async def test_a_pause_rule_holds_steps_that_have_not_begun(port: MemoryPort) -> None:
    async def body() -> str:
        return await note("a")

    port.paused = "rule"
    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert (port.parks, runs) == ([(["pass-a"], "parked")], [])
    port.resume()
    assert await one_pass(port, body) == Returned("a")


async def test_a_pause_rule_that_is_removed_lets_a_held_body_begin_its_steps(port: MemoryPort) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @zart_step("pass-before-the-rule")
    async def before() -> None:
        begun.set()
        await go_on.wait()

    async def later() -> str:
        await zart.sleep("nap", "1s")
        return await note("held")

    async def body() -> object:
        return await asyncio.gather(before(), later())

    execution = an_execution(port)
    port.on_change = execution.wake
    passing = asyncio.create_task(run_pass(execution, body))
    await happens(begun)
    await until(lambda: port.parks and port.parks[-1] == (["nap"], "held"))
    port.paused = "rule"
    port.wake()
    await until(lambda: port.parks[-1] == (["pass-held"], "held"))
    assert runs == []
    port.resume()
    await until(lambda: runs == ["held"])
    go_on.set()
    assert await passing == Returned([None, "held"])


async def test_a_step_that_its_body_cancelled_is_not_begun_again(port: MemoryPort) -> None:
    begun: list[str] = []

    @zart_step("pass-loser")
    async def loser() -> None:
        begun.append("loser")
        await asyncio.sleep(60)

    async def body() -> str:
        racing = asyncio.ensure_future(loser())
        await zart.sleep("limit", "1s")
        racing.cancel()
        await asyncio.wait([racing])
        await zart.sleep("nap", "1h")
        return "after it"

    execution = an_execution(port)
    port.on_change = execution.wake
    passing = asyncio.create_task(run_pass(execution, body))
    await until(lambda: begun and port.parks)
    port.wake()
    assert await passing is PassInterrupted.PARKED
    assert port.records["pass-loser"].startswith(Record.CANCELLED.encode())
    port.wake()
    assert await one_pass(port, body) == Returned("after it")
    assert begun == ["loser"]


async def test_scheduled_steps_are_registered_before_the_body_may_be_parked(port: MemoryPort) -> None:
    async def body() -> list[str]:
        handles = [zart.schedule(note(word)) for word in "abc"]
        return [result.unwrap() for result in await zart.wait(handles)]

    assert await one_pass(port, body) is PassInterrupted.PARKED
    assert sorted(port.children) == ["pass-a", "pass-b", "pass-c"]
    assert runs == []


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
    assert await one_pass(port, body) is PassInterrupted.LOST
    assert (runs, seen, port.records) == (["a"], [], {})


async def test_a_refused_schedule_ends_the_pass(port: MemoryPort) -> None:
    async def body() -> None:
        await zart.wait([zart.schedule(note("a"))])

    port.fenced = True
    assert await one_pass(port, body) is PassInterrupted.LOST


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
    execution.revoke()
    assert await passing is PassInterrupted.LOST
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
    assert await passing is PassInterrupted.DRAINED
    assert port.recorded == ["pass-running"]
    assert runs == []


async def test_a_draining_body_that_only_sleeps_is_parked(port: MemoryPort) -> None:
    async def body() -> None:
        await zart.sleep("nap", "1h")

    execution = an_execution(port)
    passing = asyncio.create_task(run_pass(execution, body))
    await asyncio.sleep(0)
    execution.drain()
    assert await passing in (PassInterrupted.PARKED, PassInterrupted.DRAINED)
