"""Steps: declare them, call them, take what they come to."""

import asyncio
import functools
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SECONDS, SOON
from zart_redis import BusinessErr, Err, Ok, ZartErr, zart_durable, zart_step

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("worker")]


class Declined(Exception):
    pass


@zart_step
async def double(number: int) -> int:
    return number * 2


@zart_step("decline", raises=(Declined,))
async def decline(reason: str) -> int:
    raise Declined(reason)


@zart_step("dawdle", timeout="30ms")
async def dawdle() -> int:
    await asyncio.sleep(30)
    return 1


async def test_a_handler_awaits_its_steps_and_returns(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("doubling")
    async def doubling(number: int) -> int:
        return await double(number)

    assert await scheduler.start_and_wait_for(doubling, "doubling-1", 21, SOON) == 42


async def test_a_handler_may_take_no_input(scheduler: zart.DurableScheduler) -> None:
    @zart_durable
    async def plain() -> str:
        return "done"

    assert await scheduler.start_and_wait_for(plain, "plain-1", timeout=SOON) == "done"


@pytest.mark.filterwarnings("ignore:the call of step 'touch' was never awaited")
async def test_a_step_call_does_nothing_until_it_is_awaited(scheduler: zart.DurableScheduler) -> None:
    calls = []

    @zart_step("touch")
    async def touch() -> None:
        calls.append("touch")

    @zart_durable("idle")
    async def idle() -> None:
        touch()

    await scheduler.start_and_wait_for(idle, "idle-1", timeout=SOON)
    assert calls == []


async def test_require_is_the_same_as_awaiting(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("requiring")
    async def requiring() -> int:
        return await zart.require(double(4))

    assert await scheduler.start_and_wait_for(requiring, "requiring-1", timeout=SOON) == 8


async def test_a_required_step_that_fails_raises_step_failed(scheduler: zart.DurableScheduler) -> None:
    seen: list[zart.StepFailed] = []

    @zart_durable("requiring-declined")
    async def requiring_declined() -> None:
        try:
            await decline("too much")
        except zart.StepFailed as failed:
            seen.append(failed)

    await scheduler.start_and_wait_for(requiring_declined, "declined-1", timeout=SOON)
    (failed,) = seen
    assert failed.step == "decline"
    assert isinstance(failed, zart.TaskError)
    assert isinstance(failed.source, zart.StepBusinessError)
    assert isinstance(failed.__cause__, Declined)
    assert failed.__cause__.args == ("too much",)


async def test_step_never_raises_and_its_outcomes_match(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("matching")
    async def matching() -> list[str]:
        said = []
        for call in (double(2), decline("no"), dawdle()):
            match await zart.step(call):
                case Ok(value):
                    said.append(f"ok {value}")
                case BusinessErr(Declined() as error):
                    said.append(f"declined {error}")
                case ZartErr(zart.TimedOut() as error):
                    said.append(f"{error.step} timed out after {error.duration}")
        return said

    outcome = await scheduler.start_and_wait_for(matching, "matching-1", timeout=SOON)
    assert outcome == ["ok 4", "declined no", "dawdle timed out after 0.03"]


async def test_step_or_gives_the_default_on_any_failure(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("defaults")
    async def defaults() -> list[int]:
        return [
            await zart.step_or(double(1), -1),
            await zart.step_or(decline("x"), -2),
            await zart.step_or(dawdle(), -3),
        ]

    assert await scheduler.start_and_wait_for(defaults, "defaults-1", timeout=SOON) == [2, -2, -3]


async def test_step_or_else_calls_f_on_a_business_error(scheduler: zart.DurableScheduler) -> None:
    async def later(error: Exception) -> str:
        return f"async {error}"

    @zart_durable("else")
    async def otherwise() -> list[Any]:
        return [
            await zart.step_or_else(double(1), str),
            await zart.step_or_else(decline("a"), lambda error: f"sync {error}"),
            await zart.step_or_else(decline("b").named("decline-2"), later),
        ]

    assert await scheduler.start_and_wait_for(otherwise, "else-1", timeout=SOON) == [2, "sync a", "async b"]


async def test_step_or_else_raises_a_failure_of_the_framework(scheduler: zart.DurableScheduler) -> None:
    seen: list[Exception] = []

    @zart_durable("else-timed-out")
    async def otherwise() -> None:
        try:
            await zart.step_or_else(dawdle(), lambda error: 0)
        except zart.ZartStepError as error:
            seen.append(error)

    await scheduler.start_and_wait_for(otherwise, "else-2", timeout=SOON)
    assert seen == [zart.TimedOut("dawdle", 0.03)]


async def test_a_plain_def_runs_in_a_thread_and_blocks_nothing(scheduler: zart.DurableScheduler) -> None:
    threads = []
    all_running = threading.Barrier(4)

    @zart_step("blocking-{number}")
    def blocking(number: int) -> int:
        threads.append(threading.current_thread())
        all_running.wait(SECONDS)
        return number

    @zart_durable("threads")
    async def in_threads() -> list[int]:
        return list(await asyncio.gather(*(blocking(n) for n in range(4))))

    assert await scheduler.start_and_wait_for(in_threads, "threads-1", timeout=SOON) == [0, 1, 2, 3]
    assert threading.current_thread() not in threads


async def test_a_name_is_filled_from_the_parameters(scheduler: zart.DurableScheduler) -> None:
    @zart_step("report-{index}-{kind}")
    async def report(index: int, kind: str = "daily") -> str:
        step = zart.context().step
        assert step is not None
        return step

    @zart_durable("reports")
    async def reports() -> list[str]:
        return [await report(1), await report(2, kind="weekly"), await report(3).named("the-last")]

    outcome = await scheduler.start_and_wait_for(reports, "reports-1", timeout=SOON)
    assert outcome == ["report-1-daily", "report-2-weekly", "the-last"]


async def test_an_unknown_placeholder_is_refused_when_it_is_declared() -> None:
    async def report(index: int) -> None: ...

    with pytest.raises(zart.InvalidInput, match=r"'report-\{number\}' has the unknown placeholder 'number'"):
        zart_step("report-{number}")(report)


async def test_a_wrong_call_of_a_step_is_a_type_error_at_once() -> None:
    with pytest.raises(TypeError, match="step 'double'"):
        double(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_fn_is_the_plain_function_for_unit_tests() -> None:
    assert await double.fn(4) == 8


async def test_steps_and_handlers_may_be_classes(scheduler: zart.DurableScheduler) -> None:
    @dataclass
    class Charge(zart.ZartStep[str]):
        account: str
        cents: int
        name = "charge-{account}"

        async def run(self) -> str:
            return f"{self.account}:{self.cents}"

    class Greet(zart.ZartStep[str]):
        def __init__(self, whom: str) -> None:
            self.whom = whom

        def run(self) -> str:
            return f"hello {self.whom}"

    class Checkout(zart.DurableExecution[int, list[str]]):
        name = "class-checkout"
        timeout = "1m"

        async def run(self, data: int) -> list[str]:
            scheduled = zart.schedule(Charge("b", data))
            here = [await Charge("a", data), await zart.require(Greet("you")), await Greet("me").named("greet-me")]
            return [*here, *(result.unwrap() for result in await zart.wait([scheduled]))]

    outcome = await scheduler.start_and_wait_for(Checkout, "class-1", 5, SOON)
    assert outcome == ["a:5", "hello you", "hello me", "b:5"]


async def test_a_step_may_be_a_callable_object(scheduler: zart.DurableScheduler) -> None:
    class Scaled:
        async def __call__(self, number: int) -> int:
            return number * 3

    scaled = zart_step("scaled")(Scaled())
    added = zart_step("added")(functools.partial(lambda one, two: int(one + two), 1))

    @zart_durable("objects")
    async def objects() -> list[int]:
        (scheduled,) = await zart.wait([zart.schedule(scaled(2).named("scaled-elsewhere"))])
        return [await scaled(1), await added(1), scheduled.unwrap()]

    assert await scheduler.start_and_wait_for(objects, "o", timeout=SOON) == [3, 2, 6]
    with pytest.raises(zart.InvalidInput, match="must not be empty"):
        zart_step(functools.partial(int, "2"))  # it has no name


async def test_durations_are_text_seconds_or_timedeltas(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("durations", timeout=timedelta(minutes=1))
    async def durations() -> str:
        await zart.sleep("text", "1ms")
        await zart.sleep("seconds", 0.001)
        await zart.sleep("timedelta", timedelta(milliseconds=1))
        return "slept"

    assert await scheduler.start_and_wait_for(durations, "durations-1", timeout=SOON) == "slept"


# Where free functions may be called


@pytest.mark.parametrize(
    "call",
    [
        lambda: zart.require(double(1)),
        lambda: zart.step(double(1)),
        lambda: zart.step_or(double(1), 0),
        lambda: zart.step_or_else(double(1), str),
        lambda: zart.wait([]),
        lambda: zart.sleep("nap", 1),
        lambda: zart.wait_for_event("ping"),
        lambda: zart.capture("value", lambda: 1),
        lambda: zart.now("moment"),
        lambda: double(1),
    ],
)
async def test_outside_of_an_execution_they_raise(call: Any) -> None:
    with pytest.raises(zart.NoExecutionContext):
        await call()


async def test_outside_of_an_execution_schedule_and_context_raise() -> None:
    with pytest.raises(zart.NoExecutionContext):
        zart.schedule(double(1))
    with pytest.raises(zart.NoExecutionContext):
        zart.context()


async def test_inside_a_step_nothing_can_be_recorded(scheduler: zart.DurableScheduler) -> None:
    refused: list[Any] = []

    @zart_step("nesting")
    async def nesting() -> None:
        for call in (double(1), zart.sleep("nap", 1), zart.now("moment"), zart.wait_for_event("ping")):
            try:
                await call
            except zart.NestedStepError:
                refused.append(call)
        try:
            zart.schedule(double(1))
        except zart.NestedStepError as error:
            refused.append(error)

    @zart_durable("nested")
    async def nested() -> None:
        await nesting()

    await scheduler.start_and_wait_for(nested, "nested-1", timeout=SOON)
    assert len(refused) == 5


# What is known inside


async def test_context_in_a_body_a_step_and_a_scheduled_step(scheduler: zart.DurableScheduler, namespace: str) -> None:
    @zart_step("look-{where}")
    async def look(where: str) -> list[Any]:
        info = zart.context()
        return [info.execution_id, info.task_name, info.data, info.step, info.idempotency_key, info.is_retry()]

    @zart_durable("looking")
    async def looking(data: int) -> list[Any]:
        info = zart.context()
        body = [info.execution_id, info.task_name, info.data, info.step, info.current_attempt, info.max_retries]
        (scheduled,) = await zart.wait([zart.schedule(look("there"))])
        return [body, await look("here"), scheduled.unwrap(), info.idempotency_key]

    body, here, there, key = await scheduler.start_and_wait_for(looking, "look-1", 7, SOON)
    assert body == ["look-1", "looking", 7, None, 0, 0]
    assert here == ["look-1", "looking", 7, "look-here", f"{key}:look-here", False]
    assert there == ["look-1", "looking", 7, "look-there", f"{key}:look-there", False]
    created = round((await scheduler.status("look-1")).created_at.timestamp() * 1000)
    assert key == f"{namespace}:look-1:{created}:1"


async def test_context_works_in_a_step_that_runs_in_a_thread(scheduler: zart.DurableScheduler) -> None:
    @zart_step
    def threaded() -> str:
        return zart.context().execution_id

    @zart_durable("threaded-context")
    async def handler() -> str:
        return await threaded()

    assert await scheduler.start_and_wait_for(handler, "threaded-1", timeout=SOON) == "threaded-1"


# What they come to


async def test_outcomes_are_values() -> None:
    error = Declined("no")
    step_error = zart.StepBusinessError("charge", error)
    assert Ok(1) == Ok(1)
    assert Ok(1).is_ok()
    assert Ok(1).unwrap() == 1
    assert not BusinessErr(error).is_ok()
    with pytest.raises(Declined):
        BusinessErr(error).unwrap()
    with pytest.raises(zart.TimedOut):
        ZartErr(zart.TimedOut("charge", 1.0)).unwrap()
    with pytest.raises(zart.StepBusinessError) as raised:
        Err(step_error).unwrap()
    assert raised.value.__cause__ is error
