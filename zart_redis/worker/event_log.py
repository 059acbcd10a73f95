"""The observer that writes to the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from zart_redis.engine.body import MAX_RECORDS
from zart_redis.engine.observer import BodyPass, Claim, Observer, Release, ReleaseReason, StepAttempt
from zart_redis.logs import get_logger
from zart_redis.model import BodyClaim, ExecutionStatus, StepClaim, Unreadable, Unserved

log = get_logger()

MAX_NAMES = 20
"""Names listed in one line."""

_HOLDS = {
    ReleaseReason.UNKNOWN_TASK: "held: task not registered on this worker",
    ReleaseReason.NEWER_RECORD: "held: records of a newer version, which this worker does not know",
    ReleaseReason.UNKNOWN_STEP: "held: scheduled step not declared on this worker",
    ReleaseReason.CODE_MISMATCH: "held: what is recorded does not fit the code of this worker",
    ReleaseReason.UNTRUSTED: "held: scheduled step not signed with a secret of this worker",
}


class EventLog(Observer):
    """Logs what operators need to know; what happens in every healthy execution is not logged."""

    def __init__(self) -> None:
        self._abandoned: set[str] = set()
        """Steps that have left a thread running."""
        self._unserved = set[tuple[str, int | None]]()
        """Tasks and versions that this worker has left to others."""

    def released(self, claim: Claim, release: Release) -> None:
        if event := _HOLDS.get(release.reason):
            write = log.debug if claim.holds else log.warning if _is_unbegun(claim, release) else log.error
            write(
                f"{event}; tried again later, and when a worker with other code starts",
                **_fields(claim),
                reason=release.detail,
            )
        elif release.error is not None:
            log.error("unexpected error; work returned to its queue", **_fields(claim), exc_info=release.error)

    def release_failed(self, claim: Claim, error: BaseException) -> None:
        log.error(
            "work could not be returned to its queue; it will be claimed again", **_fields(claim), error=repr(error)
        )

    def fenced(self, claim: Claim) -> None:
        log.debug("claim lost: the work has moved on", **_fields(claim))

    def ended(self, claim: BodyClaim, status: ExecutionStatus, duration_ms: int, error: Exception | None) -> None:
        if error is not None:
            log.warning("execution failed", **_fields(claim), error=repr(error))

    def left_unserved(self, work: Unserved) -> None:
        level = logging.WARNING if work.version is None else logging.INFO
        if (work.task, work.version) in self._unserved:
            level = logging.DEBUG
        self._unserved.add((work.task, work.version))
        log.log(
            level,
            "this worker does not run the task in this version; left to a worker that does, logged once for each",
            execution_id=work.execution_id,
            task=work.task,
            version=work.version,
        )

    def set_aside(self, work: Unreadable) -> None:
        log.error(
            "stored work cannot be read and was set aside; `zart doctor` lists it",
            execution_id=work.execution_id or None,
            reason=work.reason,
        )

    def reclaimed(self, worker: str, entries: int) -> None:
        log.warning("recovered the work of a dead worker", worker=worker, requeued=entries)

    def records_unused(self, body: BodyPass, names: Sequence[str]) -> None:
        log.warning(
            "a body has ended without using some recorded names; was a step renamed while it ran?",
            execution_id=body.info.execution_id,
            task=body.info.task_name,
            names=[*names[:MAX_NAMES], f"and {len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else [*names],
        )

    def thread_abandoned(self, attempt: StepAttempt) -> None:
        step = attempt.call.definition.name
        if step not in self._abandoned:
            self._abandoned.add(step)
            log.warning(
                "the thread of a step that timed out or was cancelled still runs, and takes the place of another step "
                "until it ends; logged once for each step",
                execution_id=attempt.body.execution_id,
                task=attempt.body.task_name,
                step=step,
            )

    def history_is_long(self, body: BodyPass, records: int) -> None:
        log.warning(
            f"a run has many records, all of which a replay reads; at {MAX_RECORDS} its next durable call fails; "
            "use zart.continue_as_new",
            execution_id=body.info.execution_id,
            task=body.info.task_name,
            run=body.info.run,
            records=records,
        )

    def unwind_timed_out(self, body: BodyPass) -> None:
        log.error(
            "a step does not end when it is cancelled; it is left running, and can record nothing",
            execution_id=body.info.execution_id,
            task=body.info.task_name,
        )


def _is_unbegun(claim: Claim, release: Release) -> bool:
    """Whether the run only waits for the first worker that knows its task, so that nothing in progress is delayed."""
    return release.reason is ReleaseReason.UNKNOWN_TASK and isinstance(claim, BodyClaim) and not claim.has_begun


def _fields(claim: Claim) -> dict[str, str]:
    fields = {"execution_id": claim.execution_id, "task": claim.task}
    return {**fields, "name": claim.name} if isinstance(claim, StepClaim) else fields
