"""The life of a claimed execution in this worker: its body, what follows if it fails, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from zart_redis.codec import within
from zart_redis.engine import failures, journal
from zart_redis.engine.drive import Gone, PassEnd, Raised, Returned, run_pass
from zart_redis.engine.execution import Execution
from zart_redis.engine.ports import Port, Surroundings
from zart_redis.errors import ExecutionTimeout, HandlerCrashed, MaxRetriesExhausted, ZartError
from zart_redis.logs import get_logger
from zart_redis.model import BodyClaim, ExecutionInfo, Fenced, idempotency_key
from zart_redis.registry import HandlerDefinition

log = get_logger()

FAILURE_SCOPE = "f"
"""Ends the scope of an on_failure body."""


class BodyRun:
    """One claim of an execution, from the claim to the transition that ends it."""

    def __init__(self, claim: BodyClaim, handler: HandlerDefinition, port: Port, at: Surroundings) -> None:
        self._claim = claim
        self._handler = handler
        self._port = port
        self._at = at
        self.execution: Execution | None = None
        """The pass that runs now; the worker pokes and drops it."""
        self.lost = False
        """The claim turned out not to be ours."""
        self._draining = False

    def drain(self) -> None:
        """Begin nothing new: the body is handed back when what runs has ended."""
        self._draining = True
        if self.execution is not None:
            self.execution.drain()

    async def run(self) -> None:
        try:
            if self._claim.scope.endswith(FAILURE_SCOPE):
                await self._run_on_failure(self._claim)
            else:
                await self._run_body()
        except Fenced:
            self.lost = True
            log.debug(
                "dropped: the execution has moved on without this worker",
                execution_id=self._claim.execution_id,
            )

    async def _run_body(self) -> None:
        claim, handler = self._claim, self._handler
        if claim.doom:
            error = ExecutionTimeout() if claim.doom == "deadline" else HandlerCrashed(self._at.max_deliveries)
            await self._fail(error, self._begin(claim))
            return
        if handler.timeout_ms is not None and not claim.has_deadline:
            await self._port.limit(handler.timeout_ms)
        execution = self._begin(claim)

        async def body() -> Any:
            return await handler.body(self._input())

        await self._conclude(await run_pass(execution, body), lambda error: self._fail(error, execution))

    async def _conclude(self, end: PassEnd, failed: Callable[[Exception], Awaitable[None]]) -> None:
        match end:
            case Returned(value):
                try:
                    output = self._encode_output(value)
                    again = self._rehearse(output)
                except ZartError as error:
                    await failed(error)
                    return
                if again:
                    await self._port.release(None)
                    return
                await self._port.finish(output, self._handler.retention_ms)
            case Raised(error):
                await failed(failures.as_task_error(error))
            case Gone.DRAINED:
                await self._port.release(None)
            case Gone.LOST:
                self.lost = True
            case Gone.PARKED:
                pass

    def _rehearse(self, output: bytes) -> bool:
        """Whether a test wants to see the body replayed once more. Raises what is wrong with this pass."""
        rehearsal, execution = self._at.rehearsal, self.execution
        if rehearsal is None or execution is None:
            return False
        if wrong := execution.skipped():
            raise wrong
        return rehearsal.returns(execution.body, output)

    def _begin(self, claim: BodyClaim, *, fresh: bool = False) -> Execution:
        """The pass that runs from now on; a fresh one has nothing recorded."""
        records = ({}, claim.events, set[str]()) if fresh else (claim.records, claim.events, claim.children)
        scope = f"{claim.scope}{FAILURE_SCOPE}" if fresh else claim.scope
        self.execution = Execution(self._port, self._info(claim, scope), self._at, *records)
        self.execution.body = f"{claim.execution_id}, run {scope}, attempt {claim.attempt}"
        if self._draining:
            self.execution.drain()
        return self.execution

    def _info(self, claim: BodyClaim, scope: str) -> ExecutionInfo:
        key = idempotency_key(self._at.namespace, claim.execution_id, scope)
        return ExecutionInfo(
            claim.execution_id, claim.task, claim.attempt, self._handler.retry.retries, key, None, self._input
        )

    def _input(self) -> Any:
        """Decoded anew for each body: what one does to it must not be seen by another, nor by a replay."""
        return self._handler.input.decode(self._claim.input, f"the input of task {self._claim.task!r}")

    def _encode_output(self, value: Any) -> bytes:
        what = f"the output of task {self._claim.task!r}"
        data, _ = self._handler.output.round_trip(value, what)
        return within(self._at.max_payload, data, what)

    async def _fail(self, error: Exception, execution: Execution) -> None:
        """The body has failed: another attempt, its on_failure body, or the end."""
        policy, attempt = self._handler.retry, self._claim.attempt
        if policy.retries and not failures.is_terminal(error) and policy.retryable(failures.own_error(error)):
            if attempt <= policy.retries:
                note = journal.encode_note("", attempt, failures.UNDECLARED.encode(error), 0, self._at.worker)
                await self._port.retry(policy.delay_ms(attempt), note)
                return
            error = MaxRetriesExhausted(attempt, error)
        if self._handler.on_failure is None:
            await self._end_failed(error)
            return
        failure = failures.encode_failure(error, execution.definitions)
        await self._port.compensate(failure)
        await self._run_on_failure(self._claim, failure)

    async def _run_on_failure(self, claim: BodyClaim, failure: bytes | None = None) -> None:
        """Without `failure`, go on with an on_failure body that an earlier claim began."""
        on_failure = self._handler.on_failure
        if on_failure is None:
            await self._end_failed(failures.decode_error(claim.failure))
            return
        if claim.doom and failure is None:
            await self._end_failed(HandlerCrashed(self._at.max_deliveries))
            return
        given = failures.decode_failure(claim.failure if failure is None else failure)
        execution = self._begin(claim, fresh=failure is not None)

        async def body() -> Any:
            return await on_failure(self._input(), given)

        await self._conclude(await run_pass(execution, body), self._end_failed)

    async def _end_failed(self, error: Exception) -> None:
        log.info(
            "execution failed",
            execution_id=self._claim.execution_id,
            task=self._claim.task,
            error=repr(error),
        )
        await self._port.fail(failures.UNDECLARED.encode(error), self._handler.retention_ms)
