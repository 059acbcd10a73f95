"""Pause rules: held where the next step would begin, and nothing held is lost."""

import asyncio
import json

import pytest

import zart_redis as zart
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, happens, reaches, until
from tests.support.workers import running_worker
from zart_redis import DurableScheduler, zart_durable, zart_step
from zart_redis.store.pause_rules import encode_rule
from zart_redis.worker.pauses import PauseRules

pytestmark = pytest.mark.anyio


@zart_step("first")
async def first() -> int:
    return 1


@zart_step("second-{i}")
async def second(i: int) -> int:
    return i


@zart_durable("two-steps")
async def two_steps() -> int:
    await first()
    await zart.wait_for_event("go")
    return await second(2)


@zart_durable("fan")
async def fan() -> int:
    results = await zart.wait([zart.schedule(second(i)) for i in range(3)])
    return sum(r.unwrap() for r in results)


@pytest.mark.parametrize("conditions", [{}, {"execution_id": "e"}, {"task_name": "two-steps"}])
async def test_what_is_paused_is_not_claimed_until_it_is_resumed(
    scheduler: DurableScheduler, worker: zart.Worker, conditions: dict[str, str]
) -> None:
    rule = await scheduler.pause(**conditions)  # type: ignore[arg-type]
    await scheduler.start_for(two_steps, "e")
    record = await reaches(scheduler, "e", "scheduled", f"the end of pause rule {rule.rule_id}")
    assert record.started_at is None
    assert [r.rule_id for r in await scheduler.list_pause_rules()] == [rule.rule_id]
    assert await scheduler.resume(**conditions)
    assert await scheduler.list_pause_rules() == []
    await scheduler.offer_event("e", "go")
    assert await scheduler.wait_for(two_steps, "e", SOON) == 2
    assert not await scheduler.resume(**conditions)


async def test_a_queue_is_paused_and_others_are_not(scheduler: DurableScheduler) -> None:
    async with running_worker(scheduler, queues=["default", "mail"]):
        await scheduler.start_for(two_steps, "begun", queue="mail")
        await reaches(scheduler, "begun", "waiting", "event go")
        rule = await scheduler.pause(queue="mail")
        assert [found.queue for found in await scheduler.list_pause_rules()] == ["mail"]
        await scheduler.start_for(two_steps, "new", queue="mail")
        await scheduler.start_for(two_steps, "other")
        for id in ("begun", "new", "other"):
            await scheduler.offer_event(id, "go")
        assert await scheduler.wait_for(two_steps, "other", SOON) == 2
        await reaches(scheduler, "new", "scheduled", f"the end of pause rule {rule.rule_id}")
        await reaches(scheduler, "begun", "waiting", f"the end of pause rule {rule.rule_id}")
        assert await scheduler.doctor() == []
        assert not await scheduler.resume()
        assert await scheduler.resume(queue="mail")
        for id in ("begun", "new"):
            assert await scheduler.wait_for(two_steps, id, SOON) == 2


async def test_queues_with_their_depth_workers_and_pauses(scheduler: DurableScheduler) -> None:
    for number in range(3):
        await scheduler.start_for(fan, f"e-{number}", queue="mail")
    await scheduler.pause(queue="mail")
    async with running_worker(scheduler, queues=["default", "other"]):
        found = {record.name: record for record in await scheduler.queues()}
    assert {name: (record.depth, record.workers, record.paused) for name, record in found.items()} == {
        "default": (0, 1, False),
        "mail": (3, 0, True),
        "other": (0, 1, False),
    }
    assert found["default"].oldest_seconds is None
    assert found["mail"].oldest_seconds is not None
    await scheduler.resume(queue="mail")
    await scheduler.pause(queue="mail", step_pattern="x")
    assert not any(record.paused for record in await scheduler.queues())
    await scheduler.pause()
    assert all(record.paused for record in await scheduler.queues())


async def test_a_queue_and_a_step_hold_a_body_that_runs(scheduler: DurableScheduler) -> None:
    async with running_worker(scheduler, queues=["default", "mail"]):
        rule = await scheduler.pause(queue="mail", step_pattern="second-*")
        for id, queue in (("mailed", "mail"), ("other", "default")):
            await scheduler.start_for(two_steps, id, queue=queue)
            await scheduler.offer_event(id, "go")
        assert await scheduler.wait_for(two_steps, "other", SOON) == 2
        await reaches(scheduler, "mailed", "waiting", f"the end of pause rule {rule.rule_id}")
        await scheduler.resume(queue="mail", step_pattern="second-*")
        assert await scheduler.wait_for(two_steps, "mailed", SOON) == 2


async def test_a_version_that_knows_of_no_queues_takes_the_rule_for_none(scheduler: DurableScheduler) -> None:
    stored = json.loads(encode_rule(await scheduler.pause(queue="mail")))
    assert "created" not in stored  # without which it ignores a rule


async def test_a_step_pattern_holds_the_body_at_that_step(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    rule = await scheduler.pause(step_pattern="second-?")
    await scheduler.start_for(two_steps, "e")
    await scheduler.offer_event("e", "go")
    await reaches(scheduler, "e", "waiting", f"the end of pause rule {rule.rule_id}")
    assert {s.name for s in (await scheduler.detail("e")).steps} == {"first", "go"}
    await scheduler.resume(step_pattern="second-?")
    assert await scheduler.wait_for(two_steps, "e", SOON) == 2


async def test_a_rule_whose_id_is_all_digits_is_not_taken_for_a_time(
    scheduler: DurableScheduler, worker: zart.Worker, redis_server: RedisProcess
) -> None:
    rule = await scheduler.pause(execution_id="e187", step_pattern="first")
    assert rule.rule_id.isdigit()
    await scheduler.start_for(two_steps, "e187")
    await reaches(scheduler, "e187", "waiting", f"the end of pause rule {rule.rule_id}")
    key = f"{{{scheduler.settings.namespace}:0}}:x:e187"
    with redis_server.connect() as client:
        fence = client.hget(key, "fence")
        await scheduler.start_for(fan, "another")
        assert await scheduler.wait_for(fan, "another", SOON) == 3
        assert client.hget(key, "fence") == fence, "it was claimed again"
    await scheduler.resume(execution_id="e187", step_pattern="first")
    await scheduler.offer_event("e187", "go")
    assert await scheduler.wait_for(two_steps, "e187", SOON) == 2


async def test_scheduled_steps_are_held(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    await scheduler.pause(step_pattern="second-1")
    await scheduler.start_for(fan, "f")
    record = await reaches(scheduler, "f", "waiting", "step second-1")
    await until(lambda: _awaited(scheduler, "f", ("step second-1",)))
    assert record.status == "waiting"
    await scheduler.resume(step_pattern="second-1")
    assert await scheduler.wait_for(fan, "f", SOON) == 3


async def _awaited(scheduler: DurableScheduler, execution_id: str, names: tuple[str, ...]) -> bool:
    return (await scheduler.status(execution_id)).waiting_for == names


async def test_a_running_step_finishes_and_the_next_one_is_held(
    scheduler: DurableScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, free, reads = asyncio.Event(), asyncio.Event(), []
    read = PauseRules._read

    async def observed(rules: PauseRules) -> None:
        await read(rules)
        reads.append(rules)

    monkeypatch.setattr(PauseRules, "_read", observed)

    @zart_step("long")
    async def long() -> int:
        began.set()
        await free.wait()
        return 1

    @zart_durable("long-then-first")
    async def long_then_first() -> int:
        return await long() + await first()

    async with running_worker(scheduler):
        await scheduler.start_for(long_then_first, "l")
        await happens(began)
        reads.clear()
        rule = await scheduler.pause(task_name="long-then-first")
        await until(lambda: reads)  # the worker knows it
        free.set()
        await reaches(scheduler, "l", "waiting", f"the end of pause rule {rule.rule_id}")
        assert [s.name for s in (await scheduler.detail("l")).steps] == ["long"]
        await scheduler.resume(task_name="long-then-first")
        assert await scheduler.wait_for(long_then_first, "l", SOON) == 2


async def test_a_timer_that_fires_while_paused_is_not_lost(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    @zart_durable("napping-then-first")
    async def napping() -> int:
        await zart.sleep("nap", "300ms")
        return await first()

    await scheduler.start_for(napping, "n")
    await reaches(scheduler, "n", "waiting", "sleep nap")
    await scheduler.pause(execution_id="n")
    await asyncio.sleep(0.5)
    assert (await scheduler.status("n")).status == "waiting"
    await scheduler.resume(execution_id="n")
    assert await scheduler.wait_for(napping, "n", SOON) == 1


@pytest.mark.parametrize("extend", [False, True])
async def test_deadlines_go_on_unless_the_rule_extends_them(
    scheduler: DurableScheduler, worker: zart.Worker, extend: bool
) -> None:
    @zart_durable("timed", timeout="400ms")
    async def timed() -> int:
        return await first()

    await scheduler.pause(task_name="timed", extend_deadlines=extend)
    await scheduler.start_for(timed, "t")
    if extend:
        await asyncio.sleep(0.8)
        await scheduler.resume(task_name="timed")
        assert await scheduler.wait_for(timed, "t", SOON) == 1
    else:  # it ends at its deadline, though it is still paused: no step begins by that
        with pytest.raises(zart.ExecutionFailed, match="timeout"):
            await scheduler.wait_for(timed, "t", SOON)


async def test_on_failure_of_a_deadline_that_passes_while_paused_is_held_at_its_first_step(
    scheduler: DurableScheduler, worker: zart.Worker
) -> None:
    async def undo(data: None, failure: zart.Failure) -> int:
        return await first() + 10

    @zart_durable("timed-undone", timeout="300ms", on_failure=undo)
    async def timed() -> int:
        await zart.sleep("long", "1h")
        return 0

    await scheduler.start_for(timed, "t")
    await reaches(scheduler, "t", "waiting", "sleep long")
    rule = await scheduler.pause(task_name="timed-undone")
    await reaches(scheduler, "t", "waiting", f"the end of pause rule {rule.rule_id}")
    assert [step.name for step in (await scheduler.detail("t")).steps] == ["long"]
    await scheduler.resume(task_name="timed-undone")
    assert await scheduler.wait_for(timed, "t", SOON) == 11


async def test_cancel_and_restart_take_what_is_held(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    await scheduler.pause(task_name="two-steps")
    await scheduler.start_for(two_steps, "c")
    await scheduler.start_for(two_steps, "r")
    assert await scheduler.cancel("c")
    await scheduler.restart("r")
    await scheduler.resume(task_name="two-steps")
    await scheduler.offer_event("r", "go")
    assert await scheduler.wait_for(two_steps, "r", SOON) == 2
    assert (await scheduler.status("c")).status == "cancelled"


async def test_many_held_go_on_when_resumed_though_no_worker_was_there(scheduler: DurableScheduler) -> None:
    await scheduler.pause()
    async with running_worker(scheduler):
        await scheduler.start_many([(f"m-{i}", "fan", None) for i in range(300)])
        await until(lambda: _held(scheduler, 300))
    await scheduler.resume()
    async with running_worker(scheduler):
        await until(lambda: _completed(scheduler, 300))


async def _held(scheduler: DurableScheduler, count: int) -> bool:
    stats = await scheduler.stats()
    queue = stats.queues.get("default")
    return queue is not None and queue.queued == queue.held == 0 and sum(stats.by_status.values()) == count


async def _completed(scheduler: DurableScheduler, count: int) -> bool:
    return (await scheduler.stats()).by_status.get(zart.ExecutionStatus.COMPLETED, 0) == count
