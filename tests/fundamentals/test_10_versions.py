"""Versions of a handler: a run keeps the one that first claimed it, and waits for a worker that can run it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest
import redis

import zart_redis as zart
from tests.invariants import violations
from tests.snapshot import take_snapshot
from tests.support.waiting import SOON, reaches, until
from zart_redis import DurableHandler, zart_durable, zart_step
from zart_redis.client.doctor import Problem
from zart_redis.testing import Harness, UnknownVersion

pytestmark = pytest.mark.anyio

Declared = DurableHandler[None, Any]


@zart_step("versioned-work")
async def work(name: str) -> str:
    return f"{name} by {zart.context().version}"


async def body() -> list[object]:
    seen: list[object] = [zart.context().version, await work("a").named("a")]
    await zart.wait_for_event("go")
    (b,) = await zart.wait([zart.schedule(work("b").named("b"))])
    return [*seen, zart.context().version, b.unwrap()]


def declare(name: str, version: int, compatible_from: int = 1, **options: Any) -> Declared:
    return zart_durable(name, version=version, compatible_from=compatible_from, **options)(body)


@pytest.fixture
def name() -> str:
    return f"versioned-{uuid4().hex[:8]}"


def worker_of(scheduler: zart.DurableScheduler, *handlers: Declared, **options: Any) -> zart.Worker:
    settings = scheduler.settings
    return zart.Worker(settings.redis_url, namespace=settings.namespace, handlers=handlers, **options)


async def test_a_run_keeps_the_version_that_first_claimed_it(scheduler: zart.DurableScheduler, name: str) -> None:
    first, second = declare(name, 1), declare(name, 3)
    await scheduler.start_for(first, "x")
    assert (await scheduler.status("x")).version is None
    async with worker_of(scheduler, first):
        await reaches(scheduler, "x", "waiting", "event go")
    async with worker_of(scheduler, second):
        await scheduler.start_for(second, "y")
        await reaches(scheduler, "y", "waiting", "event go")
        assert (await scheduler.stats()).by_version[name] == {1: 1, 3: 1}
        for execution_id in ("x", "y"):
            await scheduler.offer_event(execution_id, "go")
        assert await scheduler.wait_completion("x", SOON) == [1, "a by 1", 1, "b by 1"]
        assert await scheduler.wait_completion("y", SOON) == [3, "a by 3", 3, "b by 3"]
        assert [(await scheduler.status(id)).version for id in ("x", "y")] == [1, 3]
        assert name not in (await scheduler.stats()).by_version
        assert (await scheduler.stats()).by_task[name] == {zart.ExecutionStatus.COMPLETED: 2}
        assert {record.execution_id for record in await scheduler.list_executions(task_name=name)} == {"x", "y"}
        assert await scheduler.doctor() == []


async def test_which_version_new_runs_get(scheduler: zart.DurableScheduler, name: str) -> None:
    """A restart claims anew; a rerun and a retried step keep the version."""
    old, new = declare(name, 2, 2), declare(name, 3, 2)
    await scheduler.start_for(old, "x")
    async with worker_of(scheduler, old):
        await reaches(scheduler, "x", "waiting", "event go")
    async with worker_of(scheduler, new):
        await scheduler.rerun_steps("x", preserve=["*"])
        await reaches(scheduler, "x", "waiting", "event go")
        assert (await scheduler.status("x")).version == 2
        await scheduler.restart("x")
        await reaches(scheduler, "x", "waiting", "event go")
        assert (await scheduler.status("x")).version == 3
        assert (await scheduler.stats()).by_version[name] == {3: 1}


async def test_retried_steps_and_continued_runs(name: str) -> None:
    failing = True

    @zart_step("versioned-fails")
    async def fails() -> None:
        if failing:
            raise ValueError("no")

    async def continues(left: int) -> int:
        await fails()
        if left:
            await zart.continue_as_new(left - 1)
        return zart.context().version

    old = zart_durable(name, version=4)(continues)
    new = zart_durable(name, version=5)(continues)
    async with Harness([old]) as h:
        with pytest.raises(zart.ExecutionFailed):
            await h.run(old, "x", 1)
        failing = False
        vars(h)["_handlers"] = [new]
        async with h.outage():
            await h.scheduler.retry_step("x", "versioned-fails")
            assert (await h.scheduler.stats()).by_version[name] == {4: 1}
        assert (await h.finish("x")).output == 5
        assert (await h.scheduler.status("x")).version == 5


async def test_what_no_worker_can_run_says_so_and_costs_nothing(
    scheduler: zart.DurableScheduler, name: str, raw: redis.Redis, prefix: str
) -> None:
    old, new = declare(name, 1, timeout="1h"), declare(name, 2, 2)
    async with worker_of(scheduler, old):
        await scheduler.start_for(old, "x")
        await reaches(scheduler, "x", "waiting", "event go")
    async with worker_of(scheduler, new):
        await scheduler.offer_event("x", "go")
        record = await reaches(scheduler, "x", "waiting", f"a worker for version 1 of task {name}")
        assert record.waiting_for == (f"a worker for version 1 of task {name}",)
        await scheduler.start_for(new, "y")
        await reaches(scheduler, "y", "waiting", "event go")
        assert (await scheduler.stats()).by_version[name] == {1: 1, 2: 1}
        assert (await scheduler.stats()).held == 1
        entries, timers = raw.xlen(f"{prefix}q:default"), raw.zcard(f"{prefix}timers")
        assert (entries, timers) == (0, 1)  # its deadline
        assert await scheduler.doctor() == []
        assert violations(take_snapshot(raw, prefix)) == []
        async with worker_of(scheduler, old):
            assert await scheduler.wait_completion("x", SOON) == [1, "a by 1", 1, "b by 1"]
    assert violations(take_snapshot(raw, prefix)) == []
    assert not raw.exists(f"{prefix}unserved")


async def offer_in_an_outage(h: Harness) -> None:
    async with h.outage():
        await h.scheduler.offer_event("x", "go")


async def test_the_doctor_names_what_waits_for_a_version(name: str) -> None:
    old, new = declare(name, 1), declare(name, 2, 2)
    async with Harness([old]) as h:
        await h.scheduler.start_for(old, "x")
        await h.settle()
        vars(h)["_handlers"] = [new]
        with pytest.raises(UnknownVersion, match="version 1"):
            await offer_in_an_outage(h)
        await h.advance("6s")
        (finding,) = await h.scheduler.doctor()
        assert (finding.problem, finding.subject) == (Problem.HELD, "x")
        assert finding.detail == f"a worker for version 1 of task {name}"


def ends_by_cancel(scheduler: zart.DurableScheduler) -> Coroutine[Any, Any, Any]:
    return scheduler.cancel("x")


def ends_by_restart(scheduler: zart.DurableScheduler) -> Coroutine[Any, Any, Any]:
    return scheduler.restart("x")


@pytest.mark.parametrize("end", [ends_by_cancel, ends_by_restart])
async def test_what_waits_for_a_version_can_be_ended(
    end: Callable[[zart.DurableScheduler], Coroutine[Any, Any, Any]],
    scheduler: zart.DurableScheduler,
    name: str,
    raw: redis.Redis,
    prefix: str,
) -> None:
    old, new = declare(name, 1), declare(name, 2, 2)
    async with worker_of(scheduler, old):
        await scheduler.start_for(old, "x")
        await reaches(scheduler, "x", "waiting", "event go")
    async with worker_of(scheduler, new):
        await scheduler.offer_event("x", "go")
        await reaches(scheduler, "x", "waiting", f"a worker for version 1 of task {name}")
        await end(scheduler)
        if end is ends_by_restart:
            assert (await reaches(scheduler, "x", "waiting", "event go")).version == 2
        assert not raw.exists(f"{prefix}unserved", f"{prefix}held")
        assert violations(take_snapshot(raw, prefix)) == []


async def test_a_deadline_passes_while_no_worker_runs_the_version(scheduler: zart.DurableScheduler, name: str) -> None:
    async def regret(data: object, failure: zart.Failure) -> list[object]:
        return [type(failure).__name__]

    old, new = declare(name, 1, timeout="500ms", on_failure=regret), declare(name, 2, 2)
    async with worker_of(scheduler, old):
        await scheduler.start_for(old, "x")
        await reaches(scheduler, "x", "waiting", "event go")
    async with worker_of(scheduler, new):
        await scheduler.offer_event("x", "go")
        await asyncio.sleep(0.7)
        await reaches(scheduler, "x", "waiting", f"a worker for version 1 of task {name}")
        async with worker_of(scheduler, old):
            assert await scheduler.wait_completion("x", SOON) == ["ExecutionDeadlineExceeded"]


async def test_workers_of_two_versions_hand_over_at_once(scheduler: zart.DurableScheduler, name: str) -> None:
    old, new = declare(name, 1), declare(name, 2, 2)
    async with worker_of(scheduler, old):
        for number in range(20):
            await scheduler.start_for(old, f"old-{number}")
        for number in range(20):
            await reaches(scheduler, f"old-{number}", "waiting", "event go")
        async with worker_of(scheduler, new):
            loop = asyncio.get_running_loop()
            began = loop.time()
            for number in range(20):
                await scheduler.offer_event(f"old-{number}", "go")
            for number in range(20):
                assert await scheduler.wait_completion(f"old-{number}", SOON) == [1, "a by 1", 1, "b by 1"]
            assert loop.time() - began < 10  # it took 0.1 s; 20 times half a second if they bounced
            assert (await scheduler.stats()).held == 0


async def test_a_mixed_fleet_hands_over_tasks_at_once(scheduler: zart.DurableScheduler, name: str) -> None:
    one, other = declare(f"{name}-one", 1), declare(f"{name}-other", 1)
    async with worker_of(scheduler, one), worker_of(scheduler, other):
        for number in range(20):
            for handler in (one, other):
                await scheduler.start_for(handler, f"{handler.name}-{number}")
        for number in range(20):
            for handler in (one, other):
                await reaches(scheduler, f"{handler.name}-{number}", "waiting", "event go")
    async with worker_of(scheduler, one):
        await scheduler.start_for(other, "x")
        await reaches(scheduler, "x", "scheduled", f"a worker that knows task '{other.name}'")
        assert (await scheduler.stats()).by_version[other.name] == {1: 20}


async def test_scheduled_steps_wait_for_workers_of_their_version(
    scheduler: zart.DurableScheduler, name: str, raw: redis.Redis, prefix: str
) -> None:
    old, new = declare(name, 1), declare(name, 2, 2)
    rule = await scheduler.pause(step_pattern="b")
    async with worker_of(scheduler, old):
        await scheduler.start_for(old, "x")
        await reaches(scheduler, "x", "waiting", "event go")
        await scheduler.offer_event("x", "go")
        await reaches(scheduler, "x", "waiting", "step b")
        await until(lambda: raw.exists(f"{prefix}paused:{rule.rule_id}"))
    async with worker_of(scheduler, new):
        await scheduler.resume(step_pattern="b")
        await reaches(scheduler, "x", "waiting", f"held: step b: a worker for version 1 of task {name}")
        assert violations(take_snapshot(raw, prefix)) == []
        assert await scheduler.doctor() == []
        async with worker_of(scheduler, old):
            assert await scheduler.wait_completion("x", SOON) == [1, "a by 1", 1, "b by 1"]
    assert not raw.exists(f"{prefix}unserved", f"{prefix}held")


async def test_a_handler_declared_later_takes_what_has_waited(scheduler: zart.DurableScheduler, name: str) -> None:
    """A worker that runs whatever is declared looks again when something is."""
    settings = scheduler.settings
    async with zart.Worker(settings.redis_url, namespace=settings.namespace, lease="1s"):
        await scheduler.start("x", name, None)
        await reaches(scheduler, "x", "scheduled", f"a worker that knows task '{name}'")
        declare(name, 1)
        await reaches(scheduler, "x", "waiting", "event go")


# Declarations


async def test_versions_side_by_side(scheduler: zart.DurableScheduler, name: str) -> None:
    async def later() -> str:
        return f"later {zart.context().version}"

    one = declare(name, 2)
    other = zart_durable(name, version=4, compatible_from=3)(later)
    async with worker_of(scheduler, one):
        await scheduler.start_for(one, "x")
        await reaches(scheduler, "x", "waiting", "event go")
    async with worker_of(scheduler, one, other):
        await scheduler.offer_event("x", "go")
        assert await scheduler.wait_completion("x", SOON) == [2, "a by 2", 2, "b by 2"]
        await scheduler.start_for(other, "y")
        assert await scheduler.wait_completion("y", SOON) == "later 4"


def test_overlapping_ranges_are_refused(name: str) -> None:
    with pytest.raises(zart.InvalidInput, match="both run version 2"):
        zart.Worker("redis://localhost", handlers=[declare(name, 2), declare(name, 3, 2)])


@pytest.mark.parametrize(
    ("version", "compatible_from"), [(0, 1), (1, 0), (2, 3), (True, 1), (1.5, 1), ("2", 1), (1, None)]
)
def test_versions_that_cannot_be(version: Any, compatible_from: Any) -> None:
    with pytest.raises(zart.InvalidInput, match="'unversionable'"):
        declare("unversionable", version, compatible_from)


def test_versions_of_a_class() -> None:
    class Later(zart.DurableExecution[None, int]):
        version = 3
        compatible_from = 2

        async def run(self, data: None) -> int:
            return 1

    assert (Later.definition.version, Later.definition.compatible_from) == (3, 2)
