"""Retry a step, restart, rerun: history is append-only, and nothing of an old run reaches the new one."""

import asyncio

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, happens, reaches, until
from tests.support.workers import running_worker
from zart_redis import DurableScheduler, zart_durable, zart_step

pytestmark = pytest.mark.anyio


class Declined(Exception):
    pass


async def failed(scheduler: DurableScheduler, execution_id: str) -> None:
    await reaches(scheduler, execution_id, "failed")


async def test_retry_step_goes_on_from_the_failed_step(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    ran: list[str] = []
    funds = 0

    @zart_step("reserve")
    async def reserve() -> int:
        ran.append("reserve")
        return 1

    @zart_step("charge", raises=(Declined,))
    async def charge() -> int:
        ran.append("charge")
        if not funds:
            raise Declined
        return 2

    @zart_durable("retried")
    async def retried() -> int:
        return await reserve() + await charge()

    await scheduler.start_for(retried, "o")
    await failed(scheduler, "o")
    funds = 1
    await scheduler.retry_step("o", "charge", triggered_by="ada")
    assert await scheduler.wait_for(retried, "o", SOON) == 3
    assert ran == ["reserve", "charge", "charge"]
    (run,) = await scheduler.runs("o")
    assert (run.run, run.status, run.trigger, run.triggered_by) == (1, "completed", "retry_step", "ada")


@pytest.mark.parametrize("how", ["timed out", "exhausted", "raised"])
@pytest.mark.parametrize("scheduled", [False, True])
async def test_retry_step_forgets_every_kind_of_failure(
    scheduler: DurableScheduler, worker: zart.Worker, how: str, scheduled: bool
) -> None:
    mended = False
    policies = {"timed out": {"timeout": "50ms"}, "exhausted": {"retry": "fixed(1, 1ms)"}, "raised": {}}

    @zart_step("shaky", **policies[how])  # type: ignore[call-overload, untyped-decorator]
    async def shaky() -> str:
        if mended:
            return "mended"
        if how == "timed out":
            await asyncio.sleep(60)
        raise Declined

    @zart_durable("shaking", timeout="1h")
    async def shaking() -> str:
        if scheduled:
            (result,) = await zart.wait([zart.schedule(shaky())])
            return str(result.unwrap())
        return str(await shaky())

    await scheduler.start_for(shaking, "s")
    await failed(scheduler, "s")
    mended = True
    await scheduler.retry_step("s", "shaky")
    assert await scheduler.wait_for(shaking, "s", SOON) == "mended"


async def test_retry_step_refuses_what_has_not_failed(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    @zart_step("fine")
    async def fine() -> int:
        return 1

    @zart_durable("finely")
    async def finely(fail: bool) -> int:
        await fine()
        if fail:
            raise Declined
        await zart.wait_for_event("go")
        return 1

    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.retry_step("nobody", "fine")
    await scheduler.start_for(finely, "live", False)
    await reaches(scheduler, "live", "waiting")
    with pytest.raises(zart.ExecutionAlreadyExists):
        await scheduler.retry_step("live", "fine")
    await scheduler.offer_event("live", "go")
    await reaches(scheduler, "live", "completed")
    with pytest.raises(zart.ExecutionFinished):
        await scheduler.retry_step("live", "fine")
    await scheduler.start_for(finely, "failed", True)
    await failed(scheduler, "failed")
    with pytest.raises(zart.InvalidInput, match="no failure of a step 'fine'"):
        await scheduler.retry_step("failed", "fine")


async def test_restart_while_it_runs_fences_the_old_body_off(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    began, free = asyncio.Event(), asyncio.Event()
    inputs: list[int] = []

    @zart_step("slow")
    async def slow(n: int) -> int:
        inputs.append(n)
        if len(inputs) == 1:
            began.set()
            await asyncio.shield(free.wait())
        return n

    @zart_durable("slowly")
    async def slowly(n: int) -> int:
        return await slow(n) * 10

    await scheduler.start_for(slowly, "r", 1)
    await happens(began)
    assert await scheduler.restart("r", 2, triggered_by="ada") == 2
    assert await scheduler.wait_for(slowly, "r", SOON) == 20
    free.set()
    await until(lambda: inputs == [1, 2])
    first, second = await scheduler.runs("r")
    assert (first.run, first.status, second.status) == (1, "cancelled", "completed")
    assert (second.trigger, second.triggered_by) == ("restart", "ada")
    assert (await scheduler.detail("r", 1)).input == 1


async def test_restart_takes_children_timers_and_waits_with_it(scheduler: DurableScheduler) -> None:
    @zart_step("never-{i}", retry="fixed(1, 1h)")
    async def never(i: int) -> int:
        raise Declined

    @zart_durable("tangled")
    async def tangled(deep: bool) -> str:
        if not deep:
            return "plain"
        handles = [zart.schedule(never(i)) for i in range(3)]
        await asyncio.gather(zart.wait(handles), zart.sleep("long", "1h"), zart.wait_for_event("e"))
        return "deep"

    async with running_worker(scheduler):
        await scheduler.start_for(tangled, "t", True)
        await reaches(scheduler, "t", "waiting", "sleep long")
        await scheduler.restart("t", False)
        assert await scheduler.wait_for(tangled, "t", SOON) == "plain"
        with pytest.raises(zart.ExecutionFinished):
            await scheduler.offer_event("t", "e")


async def test_rerun_carries_over_what_is_not_to_run_again(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    ran: list[str] = []

    @zart_step("s-{name}")
    async def s(name: str) -> int:
        ran.append(name)
        return len(ran)

    @zart_durable("abc")
    async def abc() -> list[int]:
        event = await zart.wait_for_event("go", type=int)
        return [await s("a"), await s("b"), await s("c"), event]

    await scheduler.start_for(abc, "x")
    await scheduler.offer_event("x", "go", 7)
    assert await scheduler.wait_for(abc, "x", SOON) == [1, 2, 3, 7]
    report = await scheduler.rerun_steps("x", rerun=["s-b"])
    assert await scheduler.wait_for(abc, "x", SOON) == [1, 4, 3, 7]
    assert ran == ["a", "b", "c", "b"]
    assert report.run == 2
    assert report.rerun == ("s-b",)
    assert set(report.preserved) == {"go", "s-a", "s-c"}
    assert set(report.stale) <= {"s-c"}


async def test_rerunning_one_child_of_many_runs_one(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    ran: list[int] = []

    @zart_step("part-{i}")
    async def part(i: int) -> int:
        ran.append(i)
        if i == 500 and ran.count(500) == 1:
            raise Declined
        return i

    @zart_durable("parts")
    async def parts() -> int:
        results = await zart.wait([zart.schedule(part(i)) for i in range(1000)])
        return sum(r.is_ok() for r in results)

    await scheduler.start_for(parts, "p")
    assert await scheduler.wait_for(parts, "p", SOON) == 999
    report = await scheduler.rerun_steps("p")
    assert await scheduler.wait_for(parts, "p", SOON) == 1000
    assert len(ran) == 1001
    assert report.rerun == ("part-500",)


async def test_preserve_alone_reruns_the_rest_and_conflicts_are_refused(
    scheduler: DurableScheduler, worker: zart.Worker
) -> None:
    ran: list[str] = []

    @zart_step("k-{name}")
    async def k(name: str) -> None:
        ran.append(name)

    @zart_durable("ks")
    async def ks() -> None:
        await k("a")
        await k("b%")

    await scheduler.start_for(ks, "k")
    await scheduler.wait_for(ks, "k", SOON)
    with pytest.raises(zart.InvalidInput, match="both"):
        await scheduler.rerun_steps("k", rerun=["k-*"], preserve=["k-a"])
    assert (await scheduler.status("k")).run == 1
    await scheduler.rerun_steps("k", preserve=["k-b%"])
    await scheduler.wait_for(ks, "k", SOON)
    assert ran == ["a", "b%", "a"]


async def test_two_operators_at_once_begin_one_run_each(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    @zart_durable("quick")
    async def quick() -> int:
        return 1

    await scheduler.start_for(quick, "q")
    await scheduler.wait_for(quick, "q", SOON)
    runs = await asyncio.gather(*(scheduler.restart("q") for _ in range(5)))
    assert sorted(runs) == [2, 3, 4, 5, 6]
    assert await scheduler.wait_for(quick, "q", SOON) == 1
    assert [run.run for run in await scheduler.runs("q")] == [1, 2, 3, 4, 5, 6]


async def test_detail_tells_every_attempt(scheduler: DurableScheduler, worker: zart.Worker) -> None:
    @zart_step("flaky", retry="fixed(2, 1ms)", raises=(Declined,))
    async def flaky() -> str:
        if zart.context().current_attempt < 2:
            raise Declined(f"no {zart.context().current_attempt + 1}")
        return "yes"

    @zart_durable("told")
    async def told() -> str:
        await zart.sleep("nap", "1ms")
        (result,) = await zart.wait([zart.schedule(flaky())])
        return str(result.unwrap()) + await flaky().named("again")

    await scheduler.start_for(told, "d")
    assert await scheduler.wait_for(told, "d", SOON) == "yesyes"
    detail = await scheduler.detail("d")
    steps = {step.name: step for step in detail.steps}
    assert list(steps) == ["nap", "flaky", "again"]
    for name in ("flaky", "again"):
        step = steps[name]
        assert (step.declared_name, step.status, step.result) == ("flaky", "completed", "yes")
        assert step.attempt_count == 3
        assert [a.number for a in step.attempts] == [1, 2, 3]
        assert [a.error.message if a.error else None for a in step.attempts] == ["no 1", "no 2", None]
        assert all(a.worker == worker.id for a in step.attempts)
    assert detail.failed_attempts == 4


async def test_the_log_of_attempts_is_bounded_and_its_count_right(
    scheduler: DurableScheduler, worker: zart.Worker
) -> None:
    @zart_step("stubborn", retry="fixed(300, 1ms)")
    async def stubborn() -> int:
        if zart.context().current_attempt < 300:
            raise Declined
        return 1

    @zart_durable("stubbornly")
    async def stubbornly() -> int:
        return await stubborn()

    await scheduler.start_for(stubbornly, "b")
    assert await scheduler.wait_for(stubbornly, "b", "30s") == 1
    detail = await scheduler.detail("b")
    (step,) = detail.steps
    assert (detail.failed_attempts, step.attempt_count) == (300, 301)
    assert len(step.attempts) == 201
    assert step.attempts[-2].number == 300
