"""A scheduled step in the hands of the worker that claimed it: one attempt, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from zart_redis.adhoc import open_sealed
from zart_redis.engine.attempts import Again, Settled, attempt, settle_crashes, settle_error, settle_timeout
from zart_redis.engine.ports import Surroundings
from zart_redis.engine.spec import ScheduledSpec, decode_spec
from zart_redis.errors import UntrustedPayload, ZartError
from zart_redis.logs import get_logger
from zart_redis.model import ExecutionInfo, Fenced, StepClaim, idempotency_key
from zart_redis.registry import Call, StepDefinition, call_of, define_step, steps
from zart_redis.retry import RetryConfig

log = get_logger()

UNKNOWN_STEP_DELAY_MS = 1000
"""How long a step that is not declared here is put off, for a worker of another version to take it."""


UNTRUSTED_DELAY_MS = 30_000
"""How long a step is put off that no secret known here has signed: a worker with the right one may take it."""


@dataclass(frozen=True, slots=True)
class PutOff:
    """This worker cannot run the step; another one may."""

    delay_ms: int
    reason: str


class StepPort(Protocol):
    async def settle(self, record: bytes) -> None:
        """Record the step's final result."""

    async def postpone(self, failed: int, delay_ms: int | None, note: bytes = b"", why: str = "") -> None:
        """Let the step be claimed again, at once or after a delay, with so many failed attempts behind it; `note` is
        on the last one, if it has just failed, and `why` for operators, if this worker cannot run it."""


class StepRun:
    """One claim of a scheduled step."""

    def __init__(self, claim: StepClaim, load_input: Callable[[], Any], port: StepPort, at: Surroundings) -> None:
        self._claim = claim
        self._load_input = load_input
        self._port = port
        self._at = at
        self._key = idempotency_key(at.namespace, claim.execution_id, claim.scope)
        self.lost = False
        """The claim turned out not to be ours."""

    async def run(self) -> None:
        claim = self._claim
        try:
            match await self._attempt():
                case Settled(record):
                    await self._port.settle(record)
                case Again(delay_ms, note):
                    await self._port.postpone(claim.failed_attempts + 1, delay_ms, note)
                case PutOff(delay_ms, reason):
                    log.warning(
                        f"a scheduled step is put off: {reason}",
                        execution_id=claim.execution_id,
                        name=claim.name,
                    )
                    await self._port.postpone(claim.failed_attempts, delay_ms, why=reason)
        except Fenced:
            self.lost = True
            log.debug(
                "dropped: the step has moved on without this worker",
                execution_id=claim.execution_id,
                name=claim.name,
            )

    async def _attempt(self) -> Settled | Again | PutOff:
        claim, at = self._claim, self._at
        number = claim.failed_attempts + 1
        call: Call[Any, Any] = call_of(define_step(claim.name, _unreadable, RetryConfig.none()), claim.name)
        try:
            spec = decode_spec(claim.spec)
            definition = self._definition(spec)
            if definition is None:
                return PutOff(UNKNOWN_STEP_DELAY_MS, f"no step {spec.step!r} is declared here")
            call = call_of(definition, claim.name)
            if claim.crashes >= at.max_deliveries:
                return settle_crashes(call, claim.crashes, at)
            remaining = None if claim.deadline is None else claim.deadline - claim.now
            if remaining is not None and remaining <= 0:
                return settle_timeout(call, claim.failed_attempts, at)
            args, kwargs = definition.parameters.decode(spec.arguments, f"the arguments of step {claim.name!r}")
            call = call_of(definition, claim.name, args, kwargs)
            return await attempt(call, number, self._info(definition), remaining, at)
        except UntrustedPayload as error:
            return PutOff(UNTRUSTED_DELAY_MS, str(error))
        except ZartError as error:
            return settle_error(call, error, number, 0, at)

    def _info(self, definition: StepDefinition) -> ExecutionInfo:
        claim = self._claim
        return ExecutionInfo(
            claim.execution_id,
            claim.task,
            claim.failed_attempts + 1,
            definition.retry.retries,
            f"{self._key}:{claim.name}",
            claim.name,
            self._load_input,
        )

    def _definition(self, spec: ScheduledSpec) -> StepDefinition | None:
        """The declared step; else, for an ad-hoc one, what travelled with it, once it has proved to be ours.

        Raises:
            UntrustedPayload: it was not signed with one of our secrets, for this execution, run and step.
        """
        definition = steps.get(spec.step, spec.place) if spec.step is not None else None
        if definition is not None or spec.sealed is None:
            return definition
        context = (self._claim.execution_id, self._key, self._claim.name)
        opened = open_sealed(spec.sealed, secrets=self._at.secrets, context=context)
        definition = opened()
        if not isinstance(definition, StepDefinition):
            raise UntrustedPayload(f"step {self._claim.name!r} travelled with something that is no step")
        return definition


def _unreadable() -> None:
    """Stands for a step whose entry cannot be read; it is never called."""
