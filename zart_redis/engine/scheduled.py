"""Runs a claimed scheduled step: one attempt, and the transition that follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from zart_redis.adhoc import open_sealed
from zart_redis.engine.attempts import (
    RetryLater,
    StepDone,
    done_with_crashes,
    done_with_error,
    done_with_timeout,
    run_attempt,
)
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.emitting import Emitter
from zart_redis.engine.holds import delay_of, hold_for
from zart_redis.engine.observer import Observer, Release, ReleaseReason, StepAttempt
from zart_redis.engine.ports import StepPort
from zart_redis.engine.spec import ScheduledSpec, decode_spec
from zart_redis.errors import SerializationError, UntrustedPayload, ZartError
from zart_redis.model import ExecutionInfo, Fenced, StepClaim, idempotency_key, optional_time, run_of
from zart_redis.outcomes import Ok
from zart_redis.registry import Call, StepDefinition, call_of, define_step, steps
from zart_redis.retry import RetryConfig


class StepRun:
    """One claim of a scheduled step."""

    def __init__(
        self,
        claim: StepClaim,
        load_input: Callable[[], Any],
        port: StepPort,
        context: WorkerContext,
        observer: Observer,
    ) -> None:
        self._claim = claim
        self._load_input = load_input
        self._unreadable_input: SerializationError | None = None
        """The step has asked for the input of its execution, which the code of this worker cannot decode."""
        self._port = port
        self._context = context
        self._observer = observer
        self._key = idempotency_key(context.namespace, claim.execution_id, claim.created, claim.scope)
        self._queued_ms = 0
        """How long the first attempt waited for a thread: the timeout that all attempts share counts from then."""
        self.lost = False
        """The claim is lost."""

    async def run(self) -> None:
        claim, observer = self._claim, self._observer
        attempt = self._attempt_of(call_of(define_step(claim.name, _unreadable, RetryConfig.none()), claim.name))
        try:
            attempt, ended = await self._run_attempt(attempt)
            match ended:
                case StepDone(record):
                    await self._port.settle(record)
                    observer.step_recorded(attempt)
                case RetryLater(delay_ms, note):
                    await self._port.postpone(attempt.number, delay_ms, note, queued_ms=self._queued_ms)
                    observer.step_retried(attempt, delay_ms)
                case Release() as release:
                    observer.released(claim, release)
                    await self._port.hold(claim.failed_attempts, release.delay_ms or 0, release.detail)
        except Fenced:
            self.lost = True
            observer.fenced(claim)

    async def _run_attempt(self, attempt: StepAttempt) -> tuple[StepAttempt, StepDone | RetryLater | Release]:
        """How the attempt ended, and the attempt itself with what is read of the step on the way."""
        claim, context = self._claim, self._context
        try:
            spec = decode_spec(claim.spec)
            definition = self._definition(spec)
            if definition is None:
                detail = f"step {spec.step!r} is not declared on this worker"
                return attempt, Release(ReleaseReason.UNKNOWN_STEP, delay_of(claim), detail)
            attempt = self._attempt_of(call_of(definition, claim.name))
            if claim.blame.convicted:
                return attempt, done_with_crashes(attempt.call, claim.blame, context)
            args, kwargs = definition.parameters.decode(spec.arguments, f"the arguments of step {claim.name!r}")
        except UntrustedPayload as error:
            return attempt, hold_for(claim, ReleaseReason.UNTRUSTED, error)
        except SerializationError as error:
            return attempt, hold_for(claim, ReleaseReason.CODE_MISMATCH, error)
        attempt = self._attempt_of(context.resolve(call_of(definition, claim.name, args, kwargs)))
        try:
            ended = await self._run_in_time(attempt)
        except ZartError as error:
            ended = done_with_error(attempt.call, error, attempt.number, 0, context)
        if self._unreadable_input is not None and not (isinstance(ended, StepDone) and isinstance(ended.outcome, Ok)):
            return attempt, hold_for(claim, ReleaseReason.CODE_MISMATCH, self._unreadable_input)
        return attempt, ended

    def _decoded_input(self) -> Any:
        try:
            return self._load_input()
        except SerializationError as error:
            self._unreadable_input = error
            raise

    async def _run_in_time(self, attempt: StepAttempt) -> StepDone | RetryLater:
        claim, context = self._claim, self._context
        began = time.monotonic()
        thread = None if attempt.call.definition.is_async else await context.threads.take()
        try:
            waited = round((time.monotonic() - began) * 1000)
            is_first = not (claim.failed_attempts or claim.blame.deaths)
            self._queued_ms = waited if is_first else 0
            remaining = None if claim.deadline is None else claim.deadline - claim.now - waited + self._queued_ms
            if remaining is not None and remaining <= 0:
                return done_with_timeout(attempt.call, claim.failed_attempts, context)
            return await run_attempt(attempt, remaining, thread, context, self._observer)
        finally:
            if thread is not None:
                thread.leave()

    def _attempt_of(self, call: Call[Any, Any]) -> StepAttempt:
        claim = self._claim
        run, load = run_of(claim.scope), self._decoded_input
        body = ExecutionInfo(
            claim.execution_id,
            claim.task,
            claim.attempt - 1,
            0,
            self._key,
            None,
            run,
            claim.version,
            claim.tags,
            optional_time(claim.scheduled_for),
            load,
        )
        emitter = Emitter(self._port, self._context.max_payload, claim.name, claim.failed_attempts)
        return StepAttempt(body, call, claim.failed_attempts + 1, emitter=emitter)

    def _definition(self, spec: ScheduledSpec) -> StepDefinition | None:
        """The declared step, or the unsealed definition of an ad-hoc step.

        Raises:
            UntrustedPayload: it is not signed with one of this worker's secrets, for this execution, run and step.
        """
        definition = steps.get(spec.step, spec.import_path) if spec.step is not None else None
        if definition is not None or spec.sealed is None:
            return definition
        signed_for = (self._claim.execution_id, self._key, self._claim.name)
        opened = open_sealed(spec.sealed, secrets=self._context.secrets, context=signed_for)
        definition = opened()
        if not isinstance(definition, StepDefinition):
            raise UntrustedPayload(f"step {self._claim.name!r} is sealed with something that is not a step")
        return definition


def _unreadable() -> None:
    """The function of a step whose definition cannot be read. Never called."""
