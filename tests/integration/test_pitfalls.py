"""What other libraries of this kind got wrong, one test each; the numbers are those of the team's list of pitfalls.

Held elsewhere, where they are taught: 3, 9, 10, 12 and 42 in `tests/fundamentals`; 1, 22, 24 and 34 in `tests/crash`;
29 to 33 for the connections themselves in `tests/store`. Those of Redis streams are in `test_stream_pitfalls`.
"""

import asyncio
import functools
import itertools
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

import zart_redis as zart
from tests.support.waiting import SOON, Gate, happens, held, reaches, until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.layout import Size

pytestmark = pytest.mark.anyio


class Refused(Exception):
    pass


@zart_durable("pitfall-echo")
async def echo(data: Any) -> Any:
    return data


@zart_durable("pitfall-parked")
async def parked() -> str:
    await zart.wait_for_event("go")
    return "gone"


@zart_step("refuse", raises=(Refused,))
async def refuse() -> str:
    raise Refused("no")


class GatedStep(Gate):
    """A step that holds until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[int] = []

        @zart_step("gated")
        async def gated() -> int:
            self.runs.append(zart.context().current_attempt)
            await self.wait()
            return len(self.runs)

        self.step = gated


@pytest.mark.usefixtures("worker")
async def test_4_a_handled_business_error_is_the_same_error_at_each_replay(scheduler: zart.DurableScheduler) -> None:
    seen: list[str] = []

    @zart_durable("handling")
    async def handling() -> str:
        (scheduled,) = await zart.wait([zart.schedule(refuse().named("refuse-elsewhere"))])
        for number, outcome in enumerate((await zart.step(refuse()), scheduled)):
            seen.append(f"{type(outcome).__name__} {outcome.is_ok()}")
            await zart.sleep(f"nap-{number}", "10ms")
        return "handled"

    assert await scheduler.start_and_wait_for(handling, "h", timeout=SOON) == "handled"
    assert set(seen) == {"BusinessErr False", "Err False"}
    assert len(seen) > 3


@pytest.mark.usefixtures("worker")
async def test_5_two_scheduled_steps_of_one_name_are_refused_and_do_not_hang(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("twins")
    async def twins() -> None:
        await zart.wait([zart.schedule(refuse()), zart.schedule(refuse())])

    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(twins, "t", timeout=SOON)
    assert raised.value.error == zart.DuplicateStepName("refuse")


async def test_6_an_old_body_cannot_complete_the_new_run(scheduler: zart.DurableScheduler) -> None:
    gate, passes = GatedStep(), itertools.count(1)

    @zart_durable("replaced")
    async def replaced() -> int:
        number = next(passes)
        if number == 1:
            try:
                await gate.step()
            except asyncio.CancelledError:
                await gate.opened.wait()  # it does not want to go
            return 1
        await zart.wait_for_event("go")
        return number

    async with running_worker(scheduler):
        await scheduler.start_for(replaced, "r")
        await happens(gate.begun)
        await scheduler.cancel("r")
        await scheduler.start_for(replaced, "r")
        gate.opened.set()
        await reaches(scheduler, "r", "waiting", "event go")
        await scheduler.offer_event("r", "go")
        record = await scheduler.wait("r", SOON)
    assert record.run == 2
    assert record.output != 1


@pytest.mark.parametrize("before", ["nothing", "a finished run"])
async def test_7_of_many_concurrent_starts_exactly_one_wins(
    scheduler: zart.DurableScheduler, redis_url: str, namespace: str, before: str
) -> None:
    if before == "a finished run":
        await scheduler.start("s", "pitfall-echo", -1)
        await scheduler.cancel("s")

    async def start(number: int) -> int | None:
        async with zart.DurableScheduler(redis_url, namespace=namespace) as other:
            try:
                await other.start("s", "pitfall-echo", number)
            except zart.ExecutionAlreadyExists:
                return None
            return number

    winners = [number for number in await asyncio.gather(*map(start, range(12))) if number is not None]
    assert len(winners) == 1
    async with running_worker(scheduler):
        record = await scheduler.wait("s", SOON)
    assert record.output == winners[0]
    assert record.run == (1 if before == "nothing" else 2)


async def test_8_ids_are_no_patterns(scheduler: zart.DurableScheduler) -> None:
    ids = ["user_1", "userA1", "user*", "user?1", "[u]ser_1", "{user}:1", "user 1", "ü", "*"]
    async with running_worker(scheduler):
        for execution_id in ids:
            await scheduler.start_for(parked, execution_id)
        for execution_id in ids:
            await reaches(scheduler, execution_id, "waiting", "event go")
        assert await scheduler.cancel("user_1")
        assert await scheduler.cancel("user*")
        assert await scheduler.cancel("*")
        live = set(ids) - {"user_1", "user*", "*"}
        assert {record.execution_id for record in await scheduler.list_executions(status="waiting")} == live
        for execution_id in live:
            await scheduler.offer_event(execution_id, "go")
            assert await scheduler.wait_for(parked, execution_id, SOON) == "gone"


@pytest.mark.usefixtures("worker")
async def test_8_an_event_does_not_revive_a_cancelled_execution(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(parked, "p")
    await reaches(scheduler, "p", "waiting", "event go")
    await scheduler.cancel("p")
    with pytest.raises(zart.ExecutionFinished):
        await scheduler.offer_event("p", "go")
    assert (await scheduler.status("p")).status == "cancelled"


@pytest.mark.usefixtures("worker")
async def test_11_attempts_are_counted_as_they_are(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("counting", retry="fixed(2, 1ms)")
    async def counting() -> list[int]:
        await zart.sleep("nap", "10ms")  # a replay is no attempt
        info = zart.context()
        if info.current_attempt < 2:
            raise RuntimeError
        return [info.current_attempt, info.max_retries]

    assert await scheduler.start_and_wait_for(counting, "c", timeout=SOON) == [2, 2]
    assert (await scheduler.status("c")).attempt == 3


async def test_16_a_worker_takes_no_more_than_it_has_slots_for(scheduler: zart.DurableScheduler) -> None:
    gate = GatedStep()

    @zart_durable("occupying")
    async def occupying() -> int:
        return await gate.step()

    async with running_worker(scheduler, concurrency=1):
        await scheduler.start_for(occupying, "o")
        await happens(gate.begun)
        await scheduler.start_many([(f"e{n}", "pitfall-echo", n) for n in range(30)])
        async with running_worker(scheduler):
            for number in range(30):
                assert await scheduler.wait_for(echo, f"e{number}", SOON) == number
        assert (await scheduler.status("o")).status == "running"
        gate.opened.set()
        await scheduler.wait("o", SOON)


async def test_16_a_saturated_worker_recovers_the_work_of_a_dead_one(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    gate = GatedStep()

    @zart_durable("saturating")
    async def saturating() -> int:
        return await gate.step()

    async with running_worker(scheduler, concurrency=1, lease="400ms"):
        await scheduler.start_for(saturating, "s")
        await happens(gate.begun)
        await scheduler.start("held", "pitfall-echo", "recovered")
        raw.xreadgroup("zart", "the-dead", {f"{prefix}q:default": ">"}, count=10)
        raw.zadd(f"{prefix}workers", {"the-dead": 1})
        await until(lambda: raw.zscore(f"{prefix}workers", "the-dead") is None)
        assert "the-dead" not in str(raw.xinfo_consumers(f"{prefix}q:default", "zart"))
        gate.opened.set()
        assert await scheduler.wait_for(echo, "held", SOON) == "recovered"


async def test_17_a_replay_costs_no_query_per_step(scheduler: zart.DurableScheduler, raw: redis.Redis) -> None:
    @zart_step("link-{number}")
    async def link(number: int) -> int:
        return number

    @zart_durable("chain")
    async def chain() -> int:
        total = sum([await link(number) for number in range(100)])
        await zart.wait_for_event("go")
        return total

    async with running_worker(scheduler, lease="30s"):
        await scheduler.start_for(chain, "c")
        await reaches(scheduler, "c", "waiting", "event go")
        raw.config_resetstat()
        await scheduler.offer_event("c", "go")
        assert await scheduler.wait_for(chain, "c", SOON) == 4950
        scripts = raw.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    assert scripts < 15


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("group", ["gather", "task group"])
async def test_36_neither_except_exception_nor_a_task_group_sees_control_flow(
    scheduler: zart.DurableScheduler, group: str
) -> None:
    seen: list[Any] = []

    @zart_durable("watchful")
    async def watchful() -> str:
        async def nap(number: int) -> None:
            try:
                await zart.sleep(f"nap-{number}", f"{10 * number}ms")
            except Exception as error:
                seen.append(error)
                raise

        try:
            if group == "gather":
                await asyncio.gather(nap(1), nap(2))
            else:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(nap(1))
                    tasks.create_task(nap(2))
        except Exception as error:
            seen.append(error)
        return "rested"

    assert await scheduler.start_and_wait_for(watchful, "w", timeout=SOON) == "rested"
    assert seen == []


@pytest.mark.parametrize("way", ["in place", "scheduled"])
async def test_37_a_step_that_is_cut_off_by_its_workers_end_has_not_failed(
    scheduler: zart.DurableScheduler, way: str
) -> None:
    gate = GatedStep()

    @zart_durable("cut-off")
    async def cut_off() -> int:
        if way == "in place":
            return await gate.step()
        (result,) = await zart.wait([zart.schedule(gate.step())])
        return result.unwrap()

    async with running_worker(scheduler, grace="10ms", lease="30s"):
        await scheduler.start_for(cut_off, "c")
        await happens(gate.begun)
    assert not (await scheduler.status("c")).status.is_final
    gate.opened.set()
    async with running_worker(scheduler):  # the lease is long: the work was handed back, not recovered
        assert await scheduler.wait_for(cut_off, "c", SOON) == 2
    assert gate.runs == [0, 0]


@pytest.mark.parametrize("way", ["in place", "scheduled"])
async def test_a_stopping_worker_records_the_step_that_runs_and_hands_the_rest_back_at_once(
    scheduler: zart.DurableScheduler, way: str
) -> None:
    gate, after = GatedStep(), []

    @zart_step("after")
    async def following() -> None:
        after.append(1)

    @zart_durable("draining")
    async def draining() -> int:
        if way == "in place":
            count = await gate.step()
        else:
            (result,) = await zart.wait([zart.schedule(gate.step())])
            count = result.unwrap()
        await following()
        return count

    async with running_worker(scheduler, grace="10s", lease="30s") as worker:
        await scheduler.start_for(draining, "d")
        await happens(gate.begun)
        worker.stop()
        await asyncio.sleep(0.05)
        gate.opened.set()
    assert after == []
    async with running_worker(scheduler, lease="30s"):
        assert await scheduler.wait_for(draining, "d", SOON) == 1
    assert (gate.runs, after) == ([0], [1])


@pytest.mark.parametrize("letter", [b"\xff", b""])
async def test_38_a_record_of_an_unknown_kind_is_an_error_and_no_success(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, letter: bytes
) -> None:
    @zart_step("known")
    async def known() -> int:
        return 1

    @zart_durable("misread")
    async def misread() -> int:
        return await known()

    await scheduler.start_for(misread, "m")
    raw.hset(f"{prefix}r:m:1", "known", letter + b"\x95\x01\xc0\x01\x00\xa1w" + bytes(6))
    async with running_worker(scheduler):
        assert "unknown kind of record" in await held(scheduler, "m")


async def test_39_no_class_is_loaded_because_a_string_in_redis_names_it(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, tmp_path: Path
) -> None:
    error = ["declared", "subprocess.Popen", [["touch", str(tmp_path / "owned")]], {}, [False, False]]
    error.append(["remote", "Popen", "forged", ""])
    record = b"b" + msgspec.msgpack.encode([error, None, 1, 0, 7]) + bytes(Size.STAMP)
    names: list[str] = []

    @zart_durable("forged")
    async def forged() -> None:
        outcome = await zart.step(refuse())
        assert isinstance(outcome, zart.BusinessErr)
        names.append(type(outcome.error).__name__)

    await scheduler.start_for(forged, "f")
    raw.hset(f"{prefix}r:f:1", "refuse", record)
    async with running_worker(scheduler):
        await scheduler.wait_for(forged, "f", SOON)
    assert names == ["RemoteError"]
    assert not (tmp_path / "owned").exists()


def test_39_only_one_place_unpickles_and_it_checks_first() -> None:
    package = Path(zart.__file__).parent
    places = [path.name for path in package.rglob("*.py") if re.search(r"pickle\.loads?\(", path.read_text())]
    assert places == ["adhoc.py"]


async def test_39_an_ad_hoc_callable_needs_a_secret(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("adhoc")
    async def adhoc() -> int:
        offset = 40
        handles = [zart.schedule(lambda: offset + 2), zart.schedule(functools.partial(lambda number: number, 2))]
        return sum(result.unwrap() for result in await zart.wait(handles))

    async with running_worker(scheduler):
        with pytest.raises(zart.ExecutionFailed) as raised:
            await scheduler.start_and_wait_for(adhoc, "a", timeout=SOON)
        assert isinstance(raised.value.error, zart.UntrustedPayload)
    async with running_worker(scheduler, secrets=["new", "old"]):
        assert await scheduler.start_and_wait_for(adhoc, "a", timeout=SOON) == 44


async def test_39_a_step_that_another_secret_has_signed_waits_and_says_why(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("adhoc-waits")
    async def adhoc() -> int:
        offset = 40
        (result,) = await zart.wait([zart.schedule(lambda: offset + 2)])
        return result.unwrap()

    await scheduler.pause(step_pattern="<lambda>")
    async with running_worker(scheduler, secrets=["mine"]):
        await scheduler.start_for(adhoc, "a")
        await reaches(scheduler, "a", "waiting", "step <lambda>")
    await scheduler.resume(step_pattern="<lambda>")

    async def told() -> bool:
        (step,) = (await scheduler.detail("a")).steps
        return "not signed" in (step.put_off or "")

    async with running_worker(scheduler, secrets=["another"]):
        await until(told)


async def test_40_every_key_carries_the_hash_tag_of_its_partition(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    async with running_worker(scheduler):
        await scheduler.start_for(parked, "p")
        await scheduler.start("later", "pitfall-echo", delay="1h")
        await scheduler.offer_event("p", "go")
        await scheduler.wait("p", SOON)
        keys = [key.decode() for key in raw.scan_iter()]
    assert len(keys) > 5
    assert [key for key in keys if not key.startswith(prefix)] == []


async def test_29_a_cancelled_call_never_leaves_its_reply_to_another(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_many([(f"e{n}", "pitfall-echo", n) for n in range(50)])

    async def look() -> None:
        number = random.randrange(50)
        assert (await scheduler.status(f"e{number}")).input == number

    for _ in range(10):
        tasks = [asyncio.create_task(look()) for _ in range(60)]
        for task in random.sample(tasks, 30):
            await asyncio.sleep(0)
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)


async def test_35_a_worker_whose_connections_are_cut_goes_on(
    scheduler: zart.DurableScheduler, raw: redis.Redis
) -> None:
    @zart_durable("through-cuts")
    async def through_cuts(number: int) -> int:
        await zart.sleep("nap", "20ms")
        return number

    async with running_worker(scheduler):
        for number in range(8):
            await scheduler.start_for(through_cuts, f"t{number}", number)
            for kind in ("normal", "pubsub"):
                raw.client_kill_filter(_type=kind, skipme=True)
            await asyncio.sleep(0.02)
        for number in range(8):
            assert await scheduler.wait_for(through_cuts, f"t{number}", SOON) == number


async def test_an_idle_worker_sends_next_to_nothing(scheduler: zart.DurableScheduler, raw: redis.Redis) -> None:
    async with running_worker(scheduler, lease="4s"):
        await scheduler.start_and_wait_for(echo, "e", 1, SOON)
        raw.config_resetstat()
        await asyncio.sleep(1)
        scripts = raw.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    assert scripts <= 3  # its heartbeat, and a look whether the queue still exists
