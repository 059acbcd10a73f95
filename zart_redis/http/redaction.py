"""Records without payloads, for callers that may not see them: those fields are None."""

from __future__ import annotations

from dataclasses import replace

from zart_redis.client.history import AttemptDetail, RunDetail, RunSummary, StepDetail
from zart_redis.model import ExecutionRecord


def bare_record(record: ExecutionRecord) -> ExecutionRecord:
    return replace(record, input=None, output=None, error=None)


def bare_summary(run: RunSummary) -> RunSummary:
    return replace(run, error=None)


def bare_detail(run: RunDetail) -> RunDetail:
    return replace(
        run,
        summary=bare_summary(run.summary),
        input=None,
        output=None,
        attempts=tuple(map(_bare_attempt, run.attempts)),
        steps=tuple(map(_bare_step, run.steps)),
    )


def _bare_step(step: StepDetail) -> StepDetail:
    return replace(step, result=None, error=None, attempts=tuple(map(_bare_attempt, step.attempts)))


def _bare_attempt(attempt: AttemptDetail) -> AttemptDetail:
    return replace(attempt, error=None)
