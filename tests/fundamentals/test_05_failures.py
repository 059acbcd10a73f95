"""Failures: retries of steps and of executions, timeouts, deadlines, and on_failure, which is durable itself."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import zart_redis as zart
from tests.support.waiting import SECONDS, SOON, happens, reaches, until
from tests.support.workers import running_worker
from zart_redis import RetryConfig, ZartErr, zart_durable, zart_step

pytestmark = pytest.mark.anyio


class Declined(Exception):
    pass


@zart_step("decline-{why}", raises=(Declined,))
async def decline(why: str = "no") -> int:
    raise Declined(why)


async def failure_of(scheduler: zart.DurableScheduler, handler: Any, data: Any = None) -> Exception:
    with pytest.raises(zart.ExecutionFailed) as raised:
        await scheduler.start_and_wait_for(handler, "failing-1", data, SOON)
    assert raised.value.__cause__ is raised.value.error
    assert (await scheduler.status("failing-1")).status == "failed"
    return raised.value.error


# Steps are tried again


def flaky(retry: RetryConfig | str, works_at: int, times: list[float], error: type[Exception] = RuntimeError) -> Any:
    @zart_step("flaky", retry=retry, raises=(Declined,))
    async def flaky() -> int:
        times.append(time.monotonic())
        if len(times) < works_at:
            raise error("not yet")
        return len(times)

    return flaky


@pytest.mark.usefixtures("worker")
async def test_fixed_retries_come_after_an_equal_delay(scheduler: zart.DurableScheduler) -> None:
    times: list[float] = []
    step = flaky("fixed(3, 50ms)", 3, times)

    @zart_durable("fixed")
    async def fixed() -> int:
        return int(await step())

    assert await scheduler.start_and_wait_for(fixed, "fixed-1", timeout=SOON) == 3
    assert all(later - earlier >= 0.045 for earlier, later in itertools.pairwise(times))


@pytest.mark.usefixtures("worker")
async def test_exponential_retries_wait_twice_as_long_each_time(scheduler: zart.DurableScheduler) -> None:
    times: list[float] = []
    step = flaky(RetryConfig.exponential(3, "40ms", jitter=0), 4, times)

    @zart_durable("doubling-delays")
    async def exponential() -> int:
        return int(await step())

    assert await scheduler.start_and_wait_for(exponential, "exponential-1", timeout=SOON) == 4
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [gap >= least for gap, least in zip(gaps, (0.035, 0.075, 0.155), strict=True)] == [True] * 3


@pytest.mark.usefixtures("worker")
async def test_a_delay_between_attempts_holds_no_worker_slot(scheduler: zart.DurableScheduler) -> None:
    times: list[float] = []
    step = flaky("fixed(1, 150ms)", 2, times)

    @zart_durable("delayed")
    async def delayed() -> int:
        return int(await step())

    await scheduler.start_for(delayed, "delayed-1")
    await reaches(scheduler, "delayed-1", "waiting", "retry of step flaky")
    assert await scheduler.wait_for(delayed, "delayed-1", SOON) == 2


@pytest.mark.usefixtures("worker")
async def test_n_counts_retries_so_there_are_n_plus_1_attempts(scheduler: zart.DurableScheduler) -> None:
    times: list[float] = []
    step = flaky("fixed(2, 1ms)", 9, times, Declined)

    @zart_durable("spent")
    async def spent() -> None:
        await step()

    error = await failure_of(scheduler, spent)
    assert len(times) == 3
    assert isinstance(error, zart.StepFailed)
    assert isinstance(error.source, zart.RetryExhausted)
    assert error.source.attempts == 3


@pytest.mark.usefixtures("worker")
async def test_no_retry_errors_are_final_at_once_and_stay_business_errors(scheduler: zart.DurableScheduler) -> None:
    times: list[float] = []
    step = flaky(RetryConfig.fixed(5, "1ms", no_retry=(Declined,)), 9, times, Declined)
    outcomes: list[Any] = []

    @zart_durable("final")
    async def final() -> None:
        outcomes.append(await zart.step(step()))

    await scheduler.start_and_wait_for(final, "final-1", timeout=SOON)
    (outcome,) = outcomes
    assert isinstance(outcome, zart.BusinessErr)
    assert isinstance(outcome.error, Declined)
    assert len(times) == 1


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("way", ["in place", "scheduled"])
async def test_the_idempotency_key_is_equal_in_every_attempt(scheduler: zart.DurableScheduler, way: str) -> None:
    keys: list[str] = []

    @zart_step("charge", retry="fixed(2, 1ms)")
    async def charge() -> None:
        keys.append(zart.context().idempotency_key)
        if len(keys) < 3:
            raise RuntimeError

    @zart_durable("keyed")
    async def keyed() -> None:
        if way == "in place":
            await charge()
        else:
            await zart.wait([zart.schedule(charge())])

    await scheduler.start_and_wait_for(keyed, "keyed-1", timeout=SOON)
    await scheduler.start_and_wait_for(keyed, "keyed-2", timeout=SOON)
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


@pytest.mark.usefixtures("worker")
async def test_a_step_in_on_failure_has_another_idempotency_key_than_that_name_in_the_body(
    scheduler: zart.DurableScheduler,
) -> None:
    keys: list[str] = []

    @zart_step("notify")
    async def notify() -> None:
        keys.append(zart.context().idempotency_key)

    async def apologise(data: None, failure: zart.Failure) -> None:
        await notify()
        await zart.wait([zart.schedule(notify().named("notify-elsewhere"))])

    @zart_durable("notifying", on_failure=apologise)
    async def notifying() -> None:
        await notify()
        await zart.wait([zart.schedule(notify().named("notify-elsewhere"))])
        raise LookupError

    await scheduler.start_and_wait_for(notifying, "n-1", timeout=SOON)
    assert len(set(keys)) == 4


# Timeouts


@pytest.mark.usefixtures("worker")
async def test_a_global_timeout_is_shared_by_all_attempts(scheduler: zart.DurableScheduler) -> None:
    attempts: list[int] = []

    @zart_step("slow", retry="fixed(50, 30ms)", timeout="150ms")
    async def slow() -> None:
        attempts.append(1)
        raise RuntimeError

    outcomes: list[Any] = []

    @zart_durable("shared")
    async def shared() -> None:
        outcomes.append(await zart.step(slow()))

    await scheduler.start_and_wait_for(shared, "shared-1", timeout=SOON)
    assert outcomes[-1] == ZartErr(zart.TimedOut("slow", 0.15))
    assert 2 <= len(attempts) <= 6


@pytest.mark.usefixtures("worker")
async def test_a_per_attempt_timeout_begins_anew_each_time(scheduler: zart.DurableScheduler) -> None:
    attempts: list[int] = []

    @zart_step("steady", retry="fixed(4, 20ms)", timeout="100ms", timeout_scope="per_attempt")
    async def steady() -> int:
        attempts.append(1)
        await asyncio.sleep(0.04)
        if len(attempts) < 5:
            raise RuntimeError
        return len(attempts)

    @zart_durable("each")
    async def each() -> int:
        return await steady()

    assert await scheduler.start_and_wait_for(each, "each-1", timeout=SOON) == 5


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("scope", ["global", "per_attempt"])
@pytest.mark.parametrize("way", ["in place", "scheduled"])
async def test_a_timeout_is_terminal_and_never_retried(scheduler: zart.DurableScheduler, scope: Any, way: str) -> None:
    attempts: list[int] = []
    seen: list[Any] = []

    @zart_step("stuck", retry="fixed(5, 1ms)", timeout="30ms", timeout_scope=scope)
    async def stuck() -> None:
        attempts.append(1)
        await asyncio.sleep(30)

    @zart_durable("terminal")
    async def terminal() -> None:
        if way == "in place":
            outcome: Any = await zart.step(stuck())
        else:
            (outcome,) = await zart.wait([zart.schedule(stuck())])
        seen.append(outcome.error)

    await scheduler.start_and_wait_for(terminal, "terminal-1", timeout=SOON)
    assert seen == [zart.TimedOut("stuck", 0.03)]
    assert len(attempts) == 1


@pytest.mark.usefixtures("worker")
async def test_a_step_that_raises_timeout_error_itself_has_a_business_error(scheduler: zart.DurableScheduler) -> None:
    @zart_step("own", timeout="1m", raises=(TimeoutError,))
    async def own() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    names: list[str] = []

    @zart_durable("own-timeout")
    async def own_timeout() -> None:
        outcome = await zart.step(own())
        assert isinstance(outcome, zart.BusinessErr)
        names.append(type(outcome.error).__name__)

    await scheduler.start_and_wait_for(own_timeout, "own-1", timeout=SOON)
    assert names == ["TimeoutError"]


# The execution's deadline


async def sleeping() -> None:
    await zart.sleep("nap", "1h")


async def waiting() -> None:
    await zart.wait_for_event("never")


async def holding() -> None:
    await zart_step("hold-still")(asyncio.sleep)(30)


async def fanning_out() -> None:
    await zart.wait([zart.schedule(zart_step("hold-still")(asyncio.sleep)(30))])


async def retrying() -> None:
    async def again() -> None:
        raise RuntimeError

    await zart_step("again", retry="fixed(1, 1h)")(again)()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("what", [sleeping, waiting, holding, fanning_out, retrying], ids=lambda what: what.__name__)
async def test_the_deadline_of_an_execution_fires_whatever_it_does(scheduler: zart.DurableScheduler, what: Any) -> None:
    handler = zart_durable(f"late-{what.__name__}", timeout="80ms")(what)
    assert await failure_of(scheduler, handler) == zart.ExecutionTimeout()
    assert (await scheduler.stats()).queues["default"].held == 0


async def test_the_deadline_counts_from_start_though_no_worker_was_there(scheduler: zart.DurableScheduler) -> None:
    ran: list[int] = []

    @zart_durable("unattended", timeout="30ms")
    async def unattended() -> None:
        ran.append(1)

    await scheduler.start_for(unattended, "unattended-1")
    created = (await scheduler.status("unattended-1")).created_at.timestamp()
    await until(lambda: time.time() > created + 0.05)
    async with running_worker(scheduler):
        record = await scheduler.wait("unattended-1", SOON)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type_name == "ExecutionTimeout"
    assert ran == []


async def test_a_starter_without_the_handler_gets_its_deadline_too(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("bare-1", "declared-later")
    later = zart_durable("declared-later", timeout="60ms")(waiting)
    async with running_worker(scheduler):
        with pytest.raises(zart.ExecutionFailed) as raised:
            await scheduler.wait_for(later, "bare-1", SOON)
    assert raised.value.error == zart.ExecutionTimeout()


# The execution is tried again


@pytest.mark.usefixtures("worker")
async def test_recorded_successes_stay_and_failed_steps_run_again(scheduler: zart.DurableScheduler) -> None:
    runs: list[str] = []

    @zart_step("good")
    async def good() -> None:
        runs.append("good")

    @zart_step("bad-{way}")
    async def bad(way: str) -> None:
        runs.append(f"bad-{way}")
        if runs.count(f"bad-{way}") < 2:
            raise RuntimeError

    @zart_durable("again", retry="fixed(3, 20ms)")
    async def again() -> int:
        await good()
        for result in await zart.wait([zart.schedule(bad("scheduled")), zart.schedule(good().named("good-2"))]):
            result.unwrap()
        await bad("in-place")
        return zart.context().current_attempt

    assert await scheduler.start_and_wait_for(again, "again-1", timeout=SOON) == 2
    assert sorted(runs) == ["bad-in-place"] * 2 + ["bad-scheduled"] * 2 + ["good"] * 2
    assert (await scheduler.status("again-1")).attempt == 3


@pytest.mark.usefixtures("worker")
async def test_a_failed_step_that_was_never_waited_for_runs_again_too(scheduler: zart.DurableScheduler) -> None:
    runs: list[int] = []
    failed = asyncio.Event()

    @zart_step("aside")
    async def aside() -> str:
        runs.append(1)
        if len(runs) == 1:
            failed.set()
            raise RuntimeError
        return "well"

    @zart_step("give-time")
    async def give_time() -> None:
        await failed.wait()
        await asyncio.sleep(0.05)

    @zart_durable("not-looking", retry="fixed(1, 1ms)")
    async def not_looking() -> str:
        handle = zart.schedule(aside())
        await give_time()
        if zart.context().current_attempt == 0:
            raise RuntimeError
        (result,) = await zart.wait([handle])
        return result.unwrap()

    assert await scheduler.start_and_wait_for(not_looking, "aside-1", timeout=SOON) == "well"


@pytest.mark.usefixtures("worker")
async def test_an_event_that_was_not_in_time_is_waited_for_again_in_the_next_attempt(
    scheduler: zart.DurableScheduler,
) -> None:
    @zart_durable("patient-retry", retry="fixed(5, 1ms)")
    async def patient_retry() -> tuple[str, bool]:
        answer = await zart.wait_for_event("approval", timeout="150ms", type=str)
        return answer, zart.context().is_retry()

    await scheduler.start_for(patient_retry, "patient-1")

    async def second_attempt() -> bool:
        return (await scheduler.status("patient-1")).attempt == 2

    await until(second_attempt)
    await scheduler.offer_event("patient-1", "approval", "yes")
    assert await scheduler.wait_for(patient_retry, "patient-1", SOON) == ("yes", True)


@pytest.mark.usefixtures("worker")
async def test_spent_execution_retries_are_max_retries_exhausted(scheduler: zart.DurableScheduler) -> None:
    attempts: list[tuple[int, int]] = []

    @zart_durable("hopeless", retry="fixed(2, 1ms)")
    async def hopeless() -> None:
        info = zart.context()
        attempts.append((info.current_attempt, info.max_retries))
        raise ValueError("never")

    error = await failure_of(scheduler, hopeless)
    assert isinstance(error, zart.MaxRetriesExhausted)
    assert error.attempts == 3
    assert isinstance(error.last_error, zart.RemoteError)
    assert (error.last_error.type_name, error.last_error.message) == ("ValueError", "never")
    assert attempts == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.usefixtures("worker")
async def test_no_retry_counts_for_executions_too(scheduler: zart.DurableScheduler) -> None:
    runs: list[int] = []

    @zart_durable("final", retry=RetryConfig.fixed(3, "1ms", no_retry=(Declined,)))
    async def final() -> None:
        runs.append(1)
        await decline()

    error = await failure_of(scheduler, final)
    assert isinstance(error, zart.StepFailed)
    assert len(runs) == 1


@pytest.mark.usefixtures("worker")
async def test_the_delay_before_a_retry_is_a_wait(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("later", retry="fixed(1, 200ms)")
    async def later() -> int:
        if not zart.context().is_retry():
            raise RuntimeError
        return 1

    await scheduler.start_for(later, "later-1")
    await reaches(scheduler, "later-1", "waiting", "retry of the execution")
    assert await scheduler.wait_for(later, "later-1", SOON) == 1


# Errors that leave a body


@pytest.mark.usefixtures("worker")
async def test_what_a_body_raises_is_the_error_of_its_execution(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("raising")
    async def raising() -> None:
        raise LookupError("nothing there")

    error = await failure_of(scheduler, raising)
    assert isinstance(error, zart.RemoteError)
    assert (error.type_name, error.message) == ("LookupError", "nothing there")
    assert "raise LookupError" in error.traceback
    record = await scheduler.status("failing-1")
    assert record.error == error


@pytest.mark.usefixtures("worker")
async def test_system_exit_in_a_step_or_body_fails_it_and_not_the_worker(scheduler: zart.DurableScheduler) -> None:
    @zart_step("exit")
    async def leave() -> None:
        raise SystemExit(3)

    @zart_durable("exiting")
    async def exiting() -> None:
        await leave()

    error = await failure_of(scheduler, exiting)
    assert isinstance(error, zart.StepFailed)
    assert isinstance(error.source, zart.StepBusinessError)

    @zart_durable("exiting-body")
    async def exiting_body() -> None:
        raise SystemExit(3)

    error = await failure_of(scheduler, exiting_body)
    assert isinstance(error, zart.RemoteError)
    assert error.type_name == "SystemExit"


@pytest.mark.usefixtures("worker")
async def test_a_step_that_cancels_itself_has_failed(scheduler: zart.DurableScheduler) -> None:
    @zart_step("cancelling")
    async def cancelling() -> None:
        raise asyncio.CancelledError

    @zart_durable("cancelled-step")
    async def handler() -> str:
        outcome = await zart.step(cancelling())
        return type(outcome).__name__

    assert await scheduler.start_and_wait_for(handler, "cancelled-1", timeout=SOON) == "BusinessErr"


@pytest.mark.usefixtures("worker")
async def test_the_deadline_fires_while_scheduled_steps_outlast_the_body(scheduler: zart.DurableScheduler) -> None:
    @zart_step("endless")
    async def endless() -> None:
        await asyncio.sleep(60)

    @zart_durable("early", timeout="300ms")
    async def early() -> str:
        zart.schedule(endless())
        return "early"

    assert isinstance(await failure_of(scheduler, early), zart.ExecutionTimeout)


# on_failure


async def handled(
    scheduler: zart.DurableScheduler, body: Callable[[str], Coroutine[Any, Any, Any]], **policies: Any
) -> zart.Failure:
    """What on_failure was given; the execution completes with what it returns."""
    given: list[zart.Failure] = []

    async def on_failure(data: Any, failure: zart.Failure) -> str:
        given.append(failure)
        return f"handled {data}"

    handler = zart_durable("guarded", on_failure=on_failure, **policies)(body)
    assert await scheduler.start_and_wait_for(handler, "guarded-1", "this", SOON) == "handled this"
    assert (await scheduler.status("guarded-1")).status == "completed"
    (failure,) = given
    return failure


@pytest.mark.usefixtures("worker")
async def test_on_failure_is_given_the_steps_own_error(scheduler: zart.DurableScheduler) -> None:
    async def body(data: str) -> Any:
        await decline("too much")

    failure = await handled(scheduler, body)
    assert isinstance(failure, zart.StepFailure)
    assert failure.step == "decline-too much"
    assert isinstance(failure.error, Declined)
    assert failure.error.args == ("too much",)
    assert (failure.raw.type_name, failure.raw.message) == ("Declined", "too much")


@pytest.mark.usefixtures("worker")
async def test_on_failure_is_given_a_scheduled_steps_own_error(scheduler: zart.DurableScheduler) -> None:
    async def body(data: str) -> Any:
        for result in await zart.wait([zart.schedule(decline("there"))]):
            result.unwrap()

    failure = await handled(scheduler, body)
    assert isinstance(failure, zart.StepFailure)
    assert isinstance(failure.error, Declined)


@pytest.mark.usefixtures("worker")
async def test_on_failure_is_told_of_the_deadline(scheduler: zart.DurableScheduler) -> None:
    async def body(data: str) -> Any:
        await zart.sleep("nap", "1h")

    assert await handled(scheduler, body, timeout="50ms") == zart.ExecutionDeadlineExceeded()


@pytest.mark.usefixtures("worker")
async def test_on_failure_is_told_of_spent_retries(scheduler: zart.DurableScheduler) -> None:
    async def body(data: str) -> Any:
        raise ValueError

    assert await handled(scheduler, body, retry="fixed(1, 1ms)") == zart.RetriesExhausted(2)


@pytest.mark.usefixtures("worker")
async def test_on_failure_is_given_the_error_of_the_body(scheduler: zart.DurableScheduler) -> None:
    async def body(data: str) -> Any:
        raise LookupError("nothing there")

    failure = await handled(scheduler, body)
    assert isinstance(failure, zart.HandlerError)
    assert isinstance(failure.error, zart.RemoteError)
    assert failure.error.type_name == "LookupError"


@pytest.mark.usefixtures("worker")
async def test_an_on_failure_that_raises_fails_the_execution(scheduler: zart.DurableScheduler) -> None:
    async def on_failure(data: None, failure: zart.Failure) -> None:
        raise RuntimeError("cannot help")

    @zart_durable("unhandled", on_failure=on_failure)
    async def unhandled() -> None:
        raise ValueError("the first")

    error = await failure_of(scheduler, unhandled)
    assert isinstance(error, zart.RemoteError)
    assert error.message == "the first"
    shown = (await scheduler.status("failing-1")).error
    for noted in (error, shown):
        assert noted is not None
        assert noted.__notes__[-1] == "on_failure failed too: RuntimeError: cannot help"


async def test_on_failure_may_use_every_free_function_and_survives_a_change_of_workers(
    scheduler: zart.DurableScheduler,
) -> None:
    runs: list[str] = []
    seen: list[Any] = []

    @zart_step("give-back-{what}")
    async def give_back(what: str) -> str:
        runs.append(what)
        return what

    async def compensate(data: int, failure: zart.Failure) -> list[Any]:
        token = await zart.capture("token", lambda: time.monotonic_ns())
        first = await give_back("money")
        moment = await zart.now("moment")
        other = [r.unwrap() for r in await zart.wait([zart.schedule(give_back(what)) for what in ("goods", "points")])]
        seen.append((failure, token, moment, zart.context().data))
        await zart.sleep("nap", "10ms")
        who = await zart.wait_for_event("signed", type=str)
        fallback = await zart.step_or(decline(), -1)
        return [first, *other, who, fallback]

    @zart_durable("compensated", on_failure=compensate)
    async def compensated(data: int) -> list[Any]:
        # The names are used by both bodies: their records are their own.
        await give_back("money")
        await zart.sleep("nap", "10ms")
        await decline("not today")
        return []

    async with running_worker(scheduler):
        await scheduler.start_for(compensated, "compensated-1", 7)
        await reaches(scheduler, "compensated-1", "waiting", "event signed")
    async with running_worker(scheduler):
        await scheduler.offer_event("compensated-1", "signed", "me")
        outcome = await scheduler.wait_for(compensated, "compensated-1", SOON)
    assert outcome == ["money", "goods", "points", "me", -1]
    assert sorted(runs) == ["goods", "money", "money", "points"]
    assert len(seen) >= 2
    assert all(one[1:] == seen[0][1:] for one in seen)
    failures = [one[0] for one in seen]
    assert all(isinstance(failure, zart.StepFailure) and failure.error.args == ("not today",) for failure in failures)


@pytest.mark.usefixtures("worker")
async def test_a_class_handler_has_its_on_failure_as_a_method(scheduler: zart.DurableScheduler) -> None:
    class Guarded(zart.DurableExecution[int, str]):
        retry = "fixed(1, 1ms)"

        async def run(self, data: int) -> str:
            raise ValueError

        async def on_failure(self, data: int, failure: zart.Failure) -> str:
            return f"{data}: {failure}"

    assert await scheduler.start_and_wait_for(Guarded, "class-1", 4, SOON) == "4: RetriesExhausted(attempts=2)"


async def test_a_body_in_on_failure_is_past_its_deadline_and_not_cut_off(scheduler: zart.DurableScheduler) -> None:
    began = asyncio.Event()

    async def on_failure(data: None, failure: zart.Failure) -> str:
        began.set()
        await zart.sleep("rest", "100ms")
        return "rested"

    @zart_durable("resting", timeout="40ms", on_failure=on_failure)
    async def resting() -> str:
        await zart.sleep("nap", "1h")
        return ""

    async with running_worker(scheduler):
        await scheduler.start_for(resting, "resting-1")
        await happens(began)
        record = await scheduler.wait("resting-1", SECONDS)
    assert record.output == "rested"


# Several failures at once


@zart_step("lose-{what}", raises=(Declined,))
async def lose(what: str) -> None:
    raise Declined(what)


async def substitute(what: str) -> None:
    """Loses it, but only when the other has failed."""
    try:
        await zart.wait_for_event(f"never-{what}")
    except asyncio.CancelledError:
        await lose(what)


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(substitute("coat"))
        group.create_task(zart.require(lose("hat")))


async def lose_later(what: str) -> None:
    await zart.sleep(f"before-{what}", "20ms")
    await lose(what)


async def by_hand() -> None:
    results = await asyncio.gather(lose_later("coat"), lose("hat"), return_exceptions=True)
    raise ExceptionGroup("both", [result for result in results if isinstance(result, Exception)])


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("body", [in_a_group, by_hand], ids=lambda body: body.__name__)
@pytest.mark.parametrize("is_nested", [False, True])
async def test_the_first_recorded_failure_of_a_group_is_the_failure(
    scheduler: zart.DurableScheduler, body: Callable[[], Coroutine[Any, Any, None]], is_nested: bool
) -> None:
    failures: list[zart.Failure] = []

    async def keep(data: None, failure: zart.Failure) -> str:
        failures.append(failure)
        raise RuntimeError("no more")

    @zart_durable("losing", on_failure=keep)
    async def losing() -> str:
        if not is_nested:
            await body()
        async with asyncio.TaskGroup() as group:
            group.create_task(substitute("scarf"))
            group.create_task(body())
        return "kept"

    error = await failure_of(scheduler, losing)
    assert isinstance(error, zart.StepFailed)
    assert error.step == "lose-hat"
    others = ["lose-coat", "lose-scarf"] if is_nested else ["lose-coat"]
    noted = [note for note in error.__notes__ if note.startswith("Another failure at the same time: ")]
    assert len(noted) == len(others)
    assert all(any(other in note for note in noted) for other in others)
    (failure,) = failures
    assert isinstance(failure, zart.StepFailure)
    assert failure.step == "lose-hat"
    assert set(noted) <= set(failure.error.__notes__)


# Records that nothing asks for any more


@pytest.mark.parametrize("fails", [False, True])
async def test_recorded_names_that_a_body_does_not_ask_for_are_logged_once(
    scheduler: zart.DurableScheduler, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    names = iter(["one", "two"])

    @zart_step("work")
    async def work() -> None: ...

    @zart_step("endless")
    async def endless() -> None:
        await asyncio.sleep(60)

    @zart_durable("renaming")
    async def renaming() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await endless()
        await work().named(next(names))
        await zart.wait_for_event("go")
        if fails:
            raise ValueError

    caplog.set_level(logging.WARNING, "zart")
    async with running_worker(scheduler, handlers=[renaming], warm=0):
        await scheduler.start("renaming-1", "renaming")
        await reaches(scheduler, "renaming-1", "waiting", "event go")
        await scheduler.offer_event("renaming-1", "go", None)
        assert (await scheduler.wait("renaming-1", SOON)).status == ("failed" if fails else "completed")
    (line,) = [record.getMessage() for record in caplog.records if "without using" in record.getMessage()]
    assert "'one'" in line
    assert "'two'" not in line
    assert "endless" not in line
