"""Runs a claimed execution: its body, the consequences of a failure, and the transition that ends the claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from zart_redis.codec import check_size
from zart_redis.engine import failures, journal
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.drive import resume_pass, run_pass
from zart_redis.engine.execution import Execution
from zart_redis.engine.history import History, read_news
from zart_redis.engine.holds import hold_for
from zart_redis.engine.observer import (
    CodeMismatch,
    Continued,
    Observer,
    PassEnd,
    PassInterrupted,
    Raised,
    Release,
    ReleaseReason,
    Returned,
)
from zart_redis.engine.passes import PauseRuleFor
from zart_redis.engine.ports import BodyPort
from zart_redis.errors import (
    Cancelled,
    ExecutionTimeout,
    HandlerCrashed,
    InvalidInput,
    MaxRetriesExhausted,
    SerializationError,
    ZartError,
)
from zart_redis.layout import UNKNOWN_COUNTERS, FailReason, Wait
from zart_redis.model import (
    BodyClaim,
    Clock,
    ExecutionInfo,
    ExecutionStatus,
    Fenced,
    idempotency_key,
    optional_time,
    run_of,
)
from zart_redis.registry import HandlerDefinition

FAILURE_SCOPE = "f"
"""Ends the scope of an on_failure body."""


class BodyRun:
    """One claim of an execution, from the claim to the transition that ends it."""

    def __init__(
        self,
        claim: BodyClaim,
        handler: HandlerDefinition,
        port: BodyPort,
        context: WorkerContext,
        *,
        observer: Observer,
        clock: Clock,
        pause_rule: PauseRuleFor,
    ) -> None:
        self._claim = claim
        self._handler = handler
        self._port = port
        self._context = context
        self._observer = observer
        self._clock = clock
        self._pause_rule = pause_rule
        self.execution: Execution | None = None
        """The current pass; the worker wakes and revokes it."""
        self.lost = False
        """The claim is lost."""
        self.is_parked = False
        """The body is parked: it can be resumed, and must else be closed."""
        self._failed: Callable[[Exception], Awaitable[None]] = self._end_failed
        """What happens if the running body fails."""
        self._draining = False

    def drain(self) -> None:
        """Begin nothing new: the body is returned to its queue once its running steps are recorded."""
        self._draining = True
        if self.execution is not None:
            self.execution.drain()

    async def run(self) -> None:
        is_failure = self._claim.scope.endswith(FAILURE_SCOPE)
        await self._until_fenced(self._run_on_failure(self._claim) if is_failure else self._run_body())

    async def _until_fenced(self, running: Awaitable[None]) -> None:
        try:
            await running
        except Fenced:
            self.lost = True
        if self.lost:
            self._observer.fenced(self._claim)

    async def _run_body(self) -> None:
        claim, handler = self._claim, self._handler
        if claim.fail_reason == FailReason.CANCELLED:
            await self._fail_for_good(Cancelled(), self._begin(claim.scope, _recorded(claim)))
            return
        if claim.fail_reason:
            error = ExecutionTimeout() if claim.fail_reason == FailReason.DEADLINE else self._crashed()
            await self._fail(error, self._begin(claim.scope, _recorded(claim)))
            return
        if handler.timeout_ms is not None and claim.deadline is None:
            await self._port.limit(handler.timeout_ms)
        execution = self._begin(claim.scope, _recorded(claim))
        try:
            data = self._input()
        except SerializationError as error:
            if claim.has_begun:  # under other code, which has decoded it
                await self._hold(error)
            else:
                await self._fail_for_good(error, execution)
            return
        if claim.limits == UNKNOWN_COUNTERS:
            try:
                limits = handler.encode_limits(data)
            except InvalidInput as error:
                await self._fail_for_good(error, execution)
                return
            if not await self._port.gate(limits):
                return

        async def body() -> Any:
            return await handler.body(data)

        self._failed = lambda error: self._fail(error, execution)
        await self._conclude(await run_pass(execution, body), execution)

    async def resume(self, claim: BodyClaim, port: BodyPort) -> None:
        """Resume a body that was parked and kept, under another claim."""
        execution = self.execution
        assert execution is not None
        self._claim, self._port, self.is_parked = claim, port, False
        execution.resume(port, read_news(claim.news), claim.completions)
        if self._draining:
            execution.drain()
        await self._until_fenced(self._resume_pass(execution))

    async def _resume_pass(self, execution: Execution) -> None:
        await self._conclude(await resume_pass(execution), execution)

    def close(self) -> None:
        """End a parked body: none of its code runs any more."""
        if self.execution is not None:
            self.execution.close()

    async def _conclude(self, end: PassEnd, execution: Execution) -> None:
        match end:
            case Returned() | Continued():
                await self._end_run(end, execution)
            case Raised(error):
                self._report_unused(execution)
                await self._failed(failures.as_task_error(error, execution.failed_names))
            case CodeMismatch(mismatch):
                await self._hold(mismatch)
            case PassInterrupted.DRAINED:
                await self._release(ReleaseReason.REPLAY if execution.must_replay else ReleaseReason.STOPPING)
            case PassInterrupted.LOST:
                self.lost = True
            case PassInterrupted.PARKED:
                self.is_parked = True

    def _report_unused(self, execution: Execution) -> None:
        unused = sorted(set(execution.recorded_names) - set(execution.called_names))
        if unused:
            self._observer.records_unused(execution, unused)

    async def _end_run(self, end: Returned | Continued, execution: Execution) -> None:
        try:
            data = self._encode_output(end.value) if isinstance(end, Returned) else end.data
            self._observer.body_returned(execution, data)
        except ZartError as error:
            await self._failed(error)
            return
        if execution.must_replay:
            await self._release(ReleaseReason.REPLAY)
            return
        self._report_unused(execution)
        if isinstance(end, Returned):
            await self._port.finish(data, self._handler.retention_ms)
            self._ended(ExecutionStatus.CANCELLED if self._claim.compensates else ExecutionStatus.COMPLETED)
        else:
            limits = self._limits_of(data)
            await self._port.continue_as_new(data, self._handler.timeout_ms, execution.received_events, limits)

    async def _release(self, reason: ReleaseReason) -> None:
        self._observer.released(self._claim, Release(reason))
        await self._port.release(None)

    async def _hold(self, error: ZartError) -> None:
        """The code of this worker does not fit the execution: leave it to other code."""
        release = hold_for(self._claim, ReleaseReason.CODE_MISMATCH, error)
        self._observer.released(self._claim, release)
        await self._port.hold(release.delay_ms or 0, release.detail)

    def _begin(self, scope: str, history: History) -> Execution:
        """Begin a pass."""
        self.execution = Execution(
            self._port,
            self._info(self._claim, scope),
            self._context,
            observer=self._observer,
            clock=self._clock,
            pause_rule=self._pause_rule,
            history=history,
            encode_input=self._encode_next_input,
        )
        if self._draining:
            self.execution.drain()
        return self.execution

    def _info(self, claim: BodyClaim, scope: str) -> ExecutionInfo:
        key = idempotency_key(self._context.namespace, claim.execution_id, claim.created, scope)
        return ExecutionInfo(
            claim.execution_id,
            claim.task,
            claim.attempt - 1,
            self._handler.retry.retries,
            key,
            run=run_of(scope),
            version=claim.version,
            tags=claim.tags,
            scheduled_for=optional_time(claim.scheduled_for),
            _load=self._input,
        )

    def _input(self) -> Any:
        """Decoded for each use, so that a body cannot change what another body or a replay sees."""
        return self._handler.input.decode(self._claim.input, f"the input of task {self._claim.task!r}")

    def _encode_error(self, error: Exception) -> bytes:
        return failures.UNDECLARED.encode(error, self._context.max_payload)

    def _encode_next_input(self, data: Any) -> bytes:
        """The input of the next run, which begins under limits that can be found out."""
        what = f"the input of task {self._claim.task!r}"
        encoded = self._handler.encode_input(data, self._context.max_payload, what)
        self._limits_of(encoded)
        return encoded

    def _limits_of(self, data: bytes) -> str:
        handler = self._handler
        return handler.encode_limits(handler.input.decode(data, "the input")) if handler.limits else ""

    def _encode_output(self, value: Any) -> bytes:
        what = f"the output of task {self._claim.task!r}"
        data, _ = self._handler.output.round_trip(value, what)
        return check_size(self._context.max_payload, data, what)

    async def _fail(self, error: Exception, execution: Execution) -> None:
        """The body has failed: retry the execution, begin its on_failure body, or end it."""
        policy, attempt = self._handler.retry, self._claim.attempt
        if policy.retries and not failures.is_terminal(error) and policy.retryable(failures.own_error(error)):
            if attempt <= policy.retries:
                note = journal.encode_note("", attempt, self._encode_error(error), 0, self._context.worker)
                delay_ms = policy.delay_ms(attempt)
                await self._port.retry(delay_ms, note)
                self._observer.retried(self._claim, delay_ms, error)
                return
            error = MaxRetriesExhausted(attempt, error)
        await self._fail_for_good(error, execution)

    async def _fail_for_good(self, error: Exception, execution: Execution) -> None:
        """Begin the on_failure body of the execution, or end it."""
        if self._handler.on_failure is None:
            await self._end_failed(error)
            return
        reason = self._claim.reason or None
        failure = failures.encode_failure(error, execution.definitions, self._context.max_payload, reason)
        clock_base, completions = await self._port.compensate(failure)
        fresh = History({}, self._claim.events, set(), {}, completions, clock_base)
        await self._run_on_failure(self._claim, failure, fresh)

    async def _run_on_failure(
        self, claim: BodyClaim, failure: bytes | None = None, fresh: History | None = None
    ) -> None:
        """Run the on_failure body. Without `failure`, an earlier claim began it, and it is replayed."""
        on_failure = self._handler.on_failure
        stored = claim.failure if failure is None else failure
        try:
            first, given = failures.decode_error(stored), failures.decode_failure(stored)
        except SerializationError as error:
            await self._hold(error)
            return
        if on_failure is None:
            await self._end_failed(first)
            return
        self._failed = lambda second: self._end_failed(failures.note_second(first, second))
        if claim.fail_reason and failure is None:
            await self._failed(self._crashed())
            return
        try:
            data = self._input()
        except SerializationError as error:
            await (self._hold(error) if claim.has_begun else self._failed(error))
            return
        scope = claim.scope if fresh is None else f"{claim.scope}{FAILURE_SCOPE}"
        execution = self._begin(scope, _recorded(claim) if fresh is None else fresh)

        async def body() -> Any:
            return await on_failure(data, given)

        await self._conclude(await run_pass(execution, body), execution)

    async def _end_failed(self, error: Exception) -> None:
        await self._port.fail(self._encode_error(error), self._handler.retention_ms)
        self._ended(ExecutionStatus.CANCELLED if self._claim.compensates else ExecutionStatus.FAILED, error)

    def _crashed(self) -> HandlerCrashed:
        blame = self._claim.blame
        return HandlerCrashed(blame.counted or self._context.max_deliveries, str(blame))

    def _ended(self, status: ExecutionStatus, error: Exception | None = None) -> None:
        self._observer.ended(self._claim, status, self._port.now() - self._claim.created, error)


def _recorded(claim: BodyClaim) -> History:
    kinds = journal.KINDS_OF_WAITS
    registered = {(kinds[Wait(letter)], name): due for (letter, name), due in claim.waits.items() if letter in kinds}
    return History(
        claim.records,
        claim.events,
        claim.steps,
        registered,
        claim.completions,
        claim.clock_base,
        claim.parked_at,
        claim.emitted,
    )
