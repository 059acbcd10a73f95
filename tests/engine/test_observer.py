"""Observers: what the engine reports, in which order, and what an observer can do to a body."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

import zart_redis as zart
from tests.engine.memory import MemoryPort, one_pass, play, worker_context
from tests.support.observing import Recorder
from zart_redis import zart_durable, zart_step
from zart_redis.engine.emitting import Emitted, Emitter
from zart_redis.engine.observer import (
    AttemptOutcome,
    BodyPass,
    Observer,
    PassInterrupted,
    Raised,
    ReleaseReason,
    Returned,
    StepAttempt,
    combine,
)
from zart_redis.engine.scheduled import StepRun
from zart_redis.engine.spec import ScheduledSpec
from zart_redis.errors import InvalidInput
from zart_redis.model import Blame, Fenced, StepClaim
from zart_redis.registry import Call

pytestmark = pytest.mark.anyio


class Refused(Exception):
    pass


@zart_step("observed-{word}")
async def say(word: str) -> str:
    return word


@zart_step("observed-flaky", retry="fixed(1, 1s)")
async def flaky() -> int:
    if zart.context().current_attempt == 0:
        raise Refused
    return 1


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


# What is reported


async def test_a_life_from_its_first_pass_to_its_end(port: MemoryPort, recorder: Recorder) -> None:
    @zart_durable("observed-life")
    async def life() -> str:
        await flaky()
        await zart.sleep("nap", "1h")
        return await zart.capture("captured", lambda: "output")

    assert await play(life, port, observer=recorder) == ("completed", "output")
    parked = ["body_blocked", "pass_ended"]
    assert recorder.events == [
        *("pass_begun", "step_called", "step_begun", "step_ended", "step_retried", *parked),
        *("pass_begun", "step_called", "step_begun", "step_ended", "step_recorded", "resumed", *parked),
        *("pass_begun", "step_called", "resumed", "step_replayed", "resumed", "captured", "resumed"),
        *("pass_ended", "body_returned", "ended"),
    ]
    ends = [end for _, end in recorder.of("pass_ended")]
    assert ends == [PassInterrupted.PARKED, PassInterrupted.PARKED, Returned("output")]
    ((claim, status, duration_ms, error),) = recorder.of("ended")
    assert (claim.execution_id, status, error) == ("x", "completed", None)
    assert duration_ms == port.time


async def test_a_failed_life(port: MemoryPort, recorder: Recorder) -> None:
    @zart_durable("observed-failure", retry="fixed(1, 5s)")
    async def failure() -> None:
        raise Refused

    await play(failure, port, observer=recorder)
    ((_, delay_ms, error),) = recorder.of("retried")
    assert (delay_ms, type(error)) == (5000, Refused)
    ((_, status, _, last),) = recorder.of("ended")
    assert (status, type(last)) == ("failed", zart.MaxRetriesExhausted)


@zart_step("observed-late", timeout="1ms")
async def late() -> None:
    await asyncio.sleep(60)


@zart_step("observed-refused", raises=(Refused,))
async def refused() -> None:
    raise Refused


@zart_step("observed-odd")
async def odd() -> object:
    return object()


@zart_step("observed-endless")
async def endless() -> None:
    await asyncio.sleep(60)


async def cancelled() -> None:
    running = asyncio.ensure_future(zart.step(endless()))
    await zart.capture("captured", int)
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (lambda: say("a"), AttemptOutcome.OK),
        (lambda: zart.step(refused()), AttemptOutcome.ERROR),
        (lambda: zart.step(odd()), AttemptOutcome.ERROR),
        (lambda: zart.step(late()), AttemptOutcome.TIMEOUT),
        (cancelled, AttemptOutcome.CANCELLED),
    ],
    ids=["ok", "error", "not encodable", "timeout", "cancelled"],
)
async def test_how_an_attempt_ended(
    port: MemoryPort, recorder: Recorder, body: Callable[[], Awaitable[Any]], outcome: AttemptOutcome
) -> None:
    async def awaits() -> None:
        await body()

    await one_pass(port, awaits, recorder)
    ((begun,),) = recorder.of("step_begun")
    ((ended, said, _, _),) = recorder.of("step_ended")
    assert ended is begun
    assert said is outcome
    assert isinstance(begun, StepAttempt)
    assert (begun.number, begun.body.task_name) == (1, "task")
    assert begun.origin is not None


async def test_a_lost_claim(port: MemoryPort, recorder: Recorder) -> None:
    @zart_durable("observed-lost")
    async def lost() -> None:
        await say("a")

    port.fenced = True
    with pytest.raises(AssertionError, match="did not end"):
        await play(lost, port, passes=1, observer=recorder)
    assert recorder.events[-2:] == ["pass_ended", "fenced"]
    assert "step_recorded" not in recorder.events


async def test_a_store_that_fails_aborts_the_pass(
    port: MemoryPort, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(name: str, record: bytes, *, ordered: bool) -> bytes:
        raise OSError

    async def body() -> None:
        await say("a")

    monkeypatch.setattr(port, "record", record)
    with pytest.raises(OSError):
        await one_pass(port, body, recorder)
    assert [end for _, end in recorder.of("pass_ended")] == [PassInterrupted.ABORTED]


# Scheduled steps


class Port:
    """The transitions of one scheduled step."""

    def __init__(self, fenced: bool = False) -> None:
        self.fenced = fenced

    def emit(self, emitter: Emitter, emitted: Emitted) -> None: ...

    async def settle(self, record: bytes) -> None:
        if self.fenced:
            raise Fenced

    async def postpone(self, failed: int, delay_ms: int | None, note: bytes = b"", queued_ms: int = 0) -> None: ...

    async def hold(self, failed: int, delay_ms: int, reason: str) -> None: ...


async def run_scheduled(step: str, port: Port) -> Recorder:
    recorder = Recorder()
    arguments = say.definition.parameters.encode(("a",), {}, "the arguments")
    spec = msgspec.msgpack.encode(ScheduledSpec(step, "", arguments, None))
    claim = StepClaim(
        entry="1-0",
        queue="default",
        execution_id="x",
        fence="1@w",
        scope="1",
        task="task",
        version=1,
        tags={},
        scheduled_for=None,
        attempt=1,
        input=b"",
        created=7,
        name="observed-a",
        failed_attempts=0,
        deadline=None,
        spec=spec,
        holds=0,
        blame=Blame(),
        now=0,
    )
    await StepRun(claim, lambda: None, port, worker_context(), recorder).run()
    return recorder


async def test_a_scheduled_step_is_reported_like_one_in_place_without_a_pass() -> None:
    recorder = await run_scheduled("observed-{word}", Port())
    assert recorder.events == ["step_begun", "step_ended", "step_recorded"]
    ((attempt,),) = recorder.of("step_recorded")
    assert (attempt.call.name, attempt.origin, attempt.body.task_name) == ("observed-a", None, "task")
    assert attempt.info.idempotency_key == "memory:x:7:1:observed-a"


async def test_a_scheduled_step_that_is_not_declared_here() -> None:
    recorder = await run_scheduled("observed-nowhere", Port())
    ((_, release),) = recorder.of("released")
    assert release.reason is ReleaseReason.UNKNOWN_STEP
    assert "observed-nowhere" in release.detail


async def test_a_scheduled_step_whose_claim_is_lost() -> None:
    recorder = await run_scheduled("observed-{word}", Port(fenced=True))
    assert recorder.events == ["step_begun", "step_ended", "fenced"]


# What an observer can do


async def test_an_observer_may_end_a_pass_to_have_the_body_replayed(port: MemoryPort) -> None:
    class Replaying(Recorder):
        def step_recorded(self, attempt: StepAttempt) -> None:
            super().step_recorded(attempt)
            assert attempt.origin is not None
            attempt.origin.replay()

    @zart_durable("observed-replayed")
    async def replayed() -> list[str]:
        return [await say(word) for word in "ab"]

    observer = Replaying()
    for _ in range(2):
        assert await play(replayed, port, observer=observer) == ("released", None)
        port.outcome = None
    assert await play(replayed, port, observer=observer) == ("completed", ["a", "b"])
    assert [release.reason for _, release in observer.of("released")] == [ReleaseReason.REPLAY] * 2
    assert len(observer.of("step_begun")) == 2


@pytest.mark.parametrize("event", ["step_called", "body_blocked", "body_returned"])
async def test_a_check_that_raises_fails_the_body(port: MemoryPort, event: str) -> None:
    class Checking(Observer):
        pass

    def check(*_: Any) -> None:
        raise InvalidInput("not allowed")

    setattr(Checking, event, check)

    @zart_durable("observed-checked")
    async def checked() -> None:
        await say("a")
        await zart.sleep("nap", "1h")

    status, error = await play(checked, port, observer=combine([Checking(), Recorder()]))
    assert status == "failed"
    assert b"not allowed" in error


async def test_observers_are_told_in_order_although_one_of_them_fails(
    port: MemoryPort, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Observer):
        def step_recorded(self, attempt: StepAttempt) -> None:
            raise LookupError("out of order")

    async def body() -> str:
        return await say("a")

    first, last = Recorder(), Recorder()
    assert await one_pass(port, body, combine([first, Failing(), last])) == Returned("a")
    assert first.events == last.events
    assert "step_recorded" in last.events
    assert "an observer failed" in caplog.text
    assert "out of order" in caplog.text


async def test_an_unexpected_exception_of_a_check_aborts_the_pass(port: MemoryPort) -> None:
    class Broken(Observer):
        def body_blocked(self, body: BodyPass) -> None:
            raise LookupError

    async def body() -> None:
        await zart.sleep("nap", "1h")

    with pytest.raises(LookupError):
        await one_pass(port, body, combine([Broken()]))


async def test_a_call_raises_what_a_check_raises(port: MemoryPort) -> None:
    class Checking(Observer):
        def step_called(self, body: BodyPass, call: Call[Any, Any]) -> None:
            raise InvalidInput(call.name)

    async def body() -> None:
        await say("a")

    assert await one_pass(port, body, combine([Checking()])) == Raised(InvalidInput("observed-a"))
    assert port.recorded == []


def test_events_that_nobody_listens_to_are_not_forwarded() -> None:
    class One(Observer):
        def fenced(self, claim: Any) -> None: ...

    assert set(vars(combine([Observer(), One()]))) == {"fenced"}
