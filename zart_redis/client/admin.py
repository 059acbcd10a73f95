"""Repair and control: retry a step, restart, rerun, pause and resume, purge. History is append-only."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from zart_redis import names, registry
from zart_redis.client.connection import Client, decoding_errors_for, read_status
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import ExecutionAlreadyExists, ExecutionFinished, ExecutionNotFound, InvalidInput
from zart_redis.layout import Field
from zart_redis.model import ExecutionStatus, PauseRule
from zart_redis.registry import HandlerDefinition
from zart_redis.store.pause_rules import encode_rule
from zart_redis.store.store import Partition

PURGED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RerunReport:
    """The run that `rerun_steps` began, and what it does with each recorded name."""

    run: int
    rerun: tuple[str, ...]
    """Steps that run again: requested, failed, or unfinished."""
    preserved: tuple[str, ...]
    stale: tuple[str, ...]
    """Preserved steps that were recorded after one that runs again, and so may depend on its old value."""


class Admin(Client):
    """Operations for operators. `triggered_by` records who asked for them in the history."""

    async def cancel(self, execution_id: str, *, reason: str | None = None, compensate: bool = False) -> bool:
        """Cancel an execution. Returns True if it was live, and not cancelled already.

        Sleeps and waits end at once. A running step may finish, but no other step starts, and its result is
        discarded.

        Args:
            reason: why, for `status` and the history.
            compensate: run the handler's `on_failure` with `ExecutionCancelled` before the execution ends, if it has
                begun. It is cancelled when that has ended, and has no output.
        """
        names.check_name(execution_id, "an execution id")
        names.check_text(reason or "", "the reason")
        partition = (await self._open()).partition(execution_id)
        transitions, retention = partition.transitions, self.settings.retention
        cancelled = await transitions.cancel(execution_id, retention, reason or "", compensate=compensate)
        return cancelled.was_live

    async def retry_step(self, execution_id: str, step: str, *, triggered_by: str | None = None) -> None:
        """Resume a failed execution from the step that failed, in the same run.

        The failure of that step is forgotten, with its attempts and its deadline; all other records are kept.

        Raises:
            ExecutionNotFound: there is no such execution.
            ExecutionAlreadyExists: it is live.
            ExecutionFinished: it has ended, but not failed.
            InvalidInput: no failure of this step is recorded.
        """
        names.check_name(step, "the name of a step")
        names.check_text(triggered_by or "", "who asks for it")
        partition = await self._partition(execution_id)
        answer = await partition.transitions.retry_step(execution_id, step, triggered_by or "")
        if answer == "missing":
            raise ExecutionNotFound(execution_id)
        if answer == "no step":
            raise InvalidInput(f"execution {execution_id!r} has recorded no failure of a step {step!r}")
        if answer != "retrying":
            with decoding_errors_for(execution_id):
                status = ExecutionStatus(answer)
            raise (ExecutionFinished if status.is_final else ExecutionAlreadyExists)(execution_id, status)

    async def restart(self, execution_id: str, data: Any = None, *, triggered_by: str | None = None) -> int:
        """Begin a new run from scratch, with `data` or the previous input. Returns its number.

        The previous run is kept as history. If it is live it is cancelled, and the writes of what still runs of it are
        refused.

        Raises:
            ExecutionNotFound: there is no such execution.
            SerializationError, PayloadTooLarge: as for `start`.
        """
        names.check_text(triggered_by or "", "who asks for it")
        partition = await self._partition(execution_id)
        handler = await self._handler_of(partition, execution_id)
        payload = (
            None if data is None else self._encode_input(handler, data, f"the input of execution {execution_id!r}")
        )
        timeout_ms = handler.timeout_ms if handler else None
        run = await partition.transitions.restart(execution_id, payload, timeout_ms, triggered_by or "")
        if run is None:
            raise ExecutionNotFound(execution_id)
        return run

    async def rerun_steps(
        self,
        execution_id: str,
        *,
        rerun: Sequence[str] = (),
        preserve: Sequence[str] = (),
        triggered_by: str | None = None,
    ) -> RerunReport:
        """Begin a new run that keeps the records of steps that need not run again, in one transition.

        Names and patterns (`*` matches any text, `?` one character) select what runs again and what is preserved. A
        step that neither selects is preserved, or runs again if only `preserve` is given. Failures always run again.

        Raises:
            ExecutionNotFound: there is no such execution.
            InvalidInput: a step is in both lists.
        """
        for patterns in (rerun, preserve):
            if isinstance(patterns, str | bytes) or not isinstance(patterns, Collection):
                raise InvalidInput(f"expected a list of step-name patterns, not {patterns!r:.100}")
            for pattern in patterns:
                names.check_name(pattern, "a pattern of steps")
        names.check_text(triggered_by or "", "who asks for it")
        partition = await self._partition(execution_id)
        handler = await self._handler_of(partition, execution_id)
        timeout_ms = handler.timeout_ms if handler else None
        rest = bool(preserve) and not rerun
        answer = await partition.transitions.rerun(
            execution_id, timeout_ms, triggered_by or "", list(rerun), list(preserve), rest
        )
        if answer is None:
            raise ExecutionNotFound(execution_id)
        if isinstance(answer, str):
            raise InvalidInput(f"step {answer!r} is selected both to run again and to be preserved")
        return RerunReport(answer.run, tuple(answer.rerun), tuple(answer.preserved), tuple(answer.stale))

    async def pause(
        self,
        *,
        execution_id: str | None = None,
        task_name: str | None = None,
        step_pattern: str | None = None,
        queue: str | None = None,
        extend_deadlines: bool = False,
    ) -> PauseRule:
        """Hold matching executions before their next step; without conditions, all of them.

        Running steps may finish. Held work is not lost, and `resume` releases it.

        Args:
            step_pattern: names of steps, awaited or scheduled; `*` matches any text, `?` one character.
            queue: that of executions; workers continue to take work from other queues.
            extend_deadlines: stop the clock of an execution's deadline while it is held.
        """
        rule = self._rule(execution_id, task_name, step_pattern, queue, extend_deadlines)
        description = encode_rule(rule)
        partitions = await self._partitions_of(rule)
        await asyncio.gather(*(p.transitions.pause(rule.rule_id, description) for p in partitions))
        return rule

    async def resume(
        self,
        *,
        execution_id: str | None = None,
        task_name: str | None = None,
        step_pattern: str | None = None,
        queue: str | None = None,
    ) -> bool:
        """Remove the rule with exactly these conditions, and resume what it held. Returns True if it existed."""
        rule = self._rule(execution_id, task_name, step_pattern, queue, extend=False)
        partitions = await self._partitions_of(rule)
        return any(await asyncio.gather(*(p.transitions.resume(rule.rule_id) for p in partitions)))

    async def list_pause_rules(self) -> list[PauseRule]:
        """The rules in force, the oldest first."""
        store = await self._open()
        found = {
            rule.rule_id: rule
            for rules in await asyncio.gather(*(p.queries.pause_rules() for p in store.partitions))
            for rule in rules
        }
        return sorted(found.values(), key=lambda rule: rule.created_at)

    async def purge(self, *, older_than: Duration = 0, status: ExecutionStatus | str | None = None) -> int:
        """Remove executions that finished longer ago than `older_than`, with everything they own, regardless of their
        retention. Returns how many were removed."""
        age = to_ms(older_than, what="older_than")
        wanted = read_status(status)
        store = await self._open()
        purged = 0
        for partition in store.partitions:
            now = await self._time(partition)
            async for ids in partition.index.finished_by(now - age, wanted, PURGED_AT_ONCE):
                purged += await partition.transitions.purge(PURGED_AT_ONCE, ids)
        return purged

    async def _partition(self, execution_id: str) -> Partition:
        names.check_name(execution_id, "an execution id")
        return (await self._open()).partition(execution_id)

    async def _handler_of(self, partition: Partition, execution_id: str) -> HandlerDefinition | None:
        """The execution's handler, where this process has declared it."""
        described = await partition.transitions.read_execution(execution_id)
        if described is None:
            raise ExecutionNotFound(execution_id)
        with decoding_errors_for(execution_id):
            return registry.handlers.get_unambiguous(described.fields[Field.TASK].decode())

    def _rule(
        self, execution_id: str | None, task_name: str | None, step_pattern: str | None, queue: str | None, extend: bool
    ) -> PauseRule:
        """A rule's id is made from its conditions: pausing twice is pausing once."""
        names.check_optional(execution_id, "an execution id")
        names.check_optional(task_name, "the name of a task")
        names.check_optional(step_pattern, "a pattern of steps")
        names.check_optional(queue, "the name of a queue")
        conditions = (execution_id, task_name, step_pattern) + (() if queue is None else (queue,))
        rule_id = hashlib.sha256(repr(conditions).encode()).hexdigest()[:8]
        return PauseRule(rule_id, execution_id, task_name, step_pattern, queue, extend, datetime.now(UTC))

    async def _partitions_of(self, rule: PauseRule) -> list[Partition]:
        store = await self._open()
        return store.partitions if rule.execution_id is None else [store.partition(rule.execution_id)]
