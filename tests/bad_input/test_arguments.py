"""Rubbish as arguments of clients: a clear error, before anything is written, and never at another's cost."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zart_redis as zart
from tests.bad_input.junk import JUNK
from zart_redis import names, zart_durable, zart_step
from zart_redis.store.lua import library

pytestmark = pytest.mark.anyio


@zart_durable("bad-input-typed")
async def typed(data: tuple[int, str]) -> None:
    raise AssertionError("no worker runs here")


Call = Callable[[zart.DurableScheduler, Any], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "start, id": lambda s, junk: s.start(junk, "t"),
    "start, task": lambda s, junk: s.start("e", junk),
    "start, data": lambda s, junk: s.start("e", "t", junk),
    "start, queue": lambda s, junk: s.start("e", "t", queue=junk),
    "start, delay": lambda s, junk: s.start("e", "t", delay=junk),
    "start, by": lambda s, junk: s.start("e", "t", triggered_by=junk),
    "start_for": lambda s, junk: s.start_for(junk, "e", None),
    "start_for, data": lambda s, junk: s.start_for(typed, "e", junk),
    "start_many": lambda s, junk: s.start_many([("ok", "t", None), junk]),
    "start_many, id": lambda s, junk: s.start_many([("ok", "t", None), (junk, "t", None)]),
    "status": lambda s, junk: s.status(junk),
    "wait": lambda s, junk: s.wait(junk, 0),
    "wait, timeout": lambda s, junk: asyncio.wait_for(s.wait("done", junk), 5),
    "wait_completion, type": lambda s, junk: s.wait_completion("done", 0, type=junk),
    "wait_for": lambda s, junk: s.wait_for(junk, "done", 0),
    "cancel": lambda s, junk: s.cancel(junk),
    "offer_event, id": lambda s, junk: s.offer_event(junk, "go"),
    "offer_event, name": lambda s, junk: s.offer_event("e", junk),
    "offer_event, payload": lambda s, junk: s.offer_event("e", "go", junk),
    "list, status": lambda s, junk: s.list_executions(status=junk),
    "list, task": lambda s, junk: s.list_executions(task_name=junk),
    "list, queue": lambda s, junk: s.list_executions(queue=junk),
    "list, prefix": lambda s, junk: s.list_executions(id_prefix=junk),
    "list, after": lambda s, junk: s.list_executions(created_after=junk),
    "list, limit": lambda s, junk: s.list_executions(limit=junk),
    "list, cursor": lambda s, junk: s.list_executions(cursor=junk),
    "list, order": lambda s, junk: s.list_executions(order=junk),
    "retry_step, id": lambda s, junk: s.retry_step(junk, "step"),
    "retry_step, step": lambda s, junk: s.retry_step("e", junk),
    "retry_step, by": lambda s, junk: s.retry_step("e", "step", triggered_by=junk),
    "restart": lambda s, junk: s.restart(junk),
    "restart, data": lambda s, junk: s.restart("e", junk),
    "restart, by": lambda s, junk: s.restart("e", triggered_by=junk),
    "rerun": lambda s, junk: s.rerun_steps("e", rerun=junk),
    "rerun, pattern": lambda s, junk: s.rerun_steps("e", rerun=["step"], preserve=[junk]),
    "rerun, by": lambda s, junk: s.rerun_steps("e", triggered_by=junk),
    "pause, id": lambda s, junk: s.pause(execution_id=junk or "x", task_name="no-task"),
    "pause, task": lambda s, junk: s.pause(execution_id="no-execution", task_name=junk),
    "pause, pattern": lambda s, junk: s.pause(execution_id="no-execution", step_pattern=junk),
    "resume": lambda s, junk: s.resume(execution_id="no-execution", step_pattern=junk),
    "purge, age": lambda s, junk: s.purge(older_than=junk, status="completed"),
    "purge, status": lambda s, junk: s.purge(older_than="1d", status=junk),
    "runs": lambda s, junk: s.runs(junk),
    "detail": lambda s, junk: s.detail(junk),
    "detail, run": lambda s, junk: s.detail("e", junk),
}


@given(junk=JUNK)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", CALLS)
async def test_rubbish_as_an_argument_is_an_error_of_ours(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, name: str, junk: Any
) -> None:
    for known in ("e", "done"):
        try:
            await scheduler.start(known, "t", "bystander")
        except zart.ExecutionAlreadyExists:
            await scheduler.restart(known, "bystander")
    await scheduler.cancel("done")
    neighbour = asyncio.ensure_future(scheduler.status("done"))
    try:
        await CALLS[name](scheduler, junk)
    except (zart.ZartError, TimeoutError) as error:
        assert str(error)
    # Its neighbours in the same pipeline are unharmed, and so is what it could have been mistaken for.
    assert (await neighbour).status == "cancelled"
    assert (await scheduler.status("done")).input == "bystander"
    assert await scheduler.doctor() == []


async def test_one_bad_argument_harms_no_other_call_of_its_pipeline(scheduler: zart.DurableScheduler) -> None:
    """Below the checks of the client, as a mistake of ours would be."""
    store = await scheduler._open()
    transitions = store.partitions[0].transitions
    wrong: Any = object()
    answers = await asyncio.gather(
        transitions.start("a", "t", "default", b"\xc0", None, None, ""),
        transitions.start("b", wrong, "default", b"\xc0", None, None, ""),
        transitions.start("c", "t", "default", b"\xc0", None, None, "\ud800"),
        transitions.start("d", "t", "default", b"\xc0", None, None, ""),
        return_exceptions=True,
    )
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, True, False]


@zart_step("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
async def long_named() -> int:
    return 1


@zart_durable("bad-input-long-named")
async def slow_to_match() -> int:
    return await long_named()


@pytest.mark.usefixtures("worker")
async def test_no_pattern_stops_the_server_or_a_worker(scheduler: zart.DurableScheduler) -> None:
    """One that is tried again and again, as a regular expression is, would take longer than the universe lasts."""
    pattern = "*a" * 40 + "*b"
    async with asyncio.timeout(60):
        await scheduler.start_and_wait_for(slow_to_match, "s")
        await scheduler.rerun_steps("s", rerun=[pattern])
        await scheduler.pause(step_pattern=pattern)
        assert await scheduler.wait_for(slow_to_match, "s") == 1
        assert await scheduler.start_and_wait_for(slow_to_match, "s2") == 1


@given(
    st.text(st.sampled_from("*?abé"), min_size=1, max_size=8), st.text(st.sampled_from("abé*"), min_size=1, max_size=8)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_scripts_and_the_workers_agree_on_what_a_pattern_matches(
    raw: redis.Redis, namespace: str, pattern: str, name: str
) -> None:
    script = library().assemble("test", "", "return glob(ARGV[1], ARGV[2]) and 1 or 0")
    found = raw.eval(script, 0, pattern, name)
    expected = re.fullmatch(
        "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern), name, re.DOTALL
    )
    assert names.matches(pattern, name) == (expected is not None)
    assert bool(found) == (expected is not None)
