"""Executions in every state, as the code before layout 1.0 left them, run to their end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compat import dump
from tests.compat.handlers import HANDLERS
from tests.support.servers import RedisProcess
from zart_redis.testing import Harness

pytestmark = pytest.mark.anyio

QUEUES = ("default", "second", "queued", "held", "crashed", "doomed", "released", "put-off", "unread",
          "steps-queued", "steps-held", "steps-crashed", "steps-put-off", "returned-queued")  # fmt: skip

ENDS: dict[str, tuple[str, Any]] = {
    "both": ("completed", 10),
    "buffered": ("completed", ["b", "bird", "now"]),
    "cancelled": ("cancelled", None),
    "crashed": ("completed", 2),
    "damaged": ("waiting", None),
    "deadline": ("failed", "ExecutionTimeout"),
    "deadline-undo": ("completed", ["ExecutionDeadlineExceeded", 2]),
    "delayed": ("completed", 2),
    "done": ("completed", 4),
    "done-steps": ("completed", 7),
    "doomed-crashes": ("failed", "HandlerCrashed"),
    "doomed-crashes-undo": ("completed", ["HandlerError", 2, 2]),
    "event": ("completed", ["e", "bird", "come"]),
    "event-first": ("completed", ["e", "bird", "come"]),
    "event-timed-out": ("completed", ["t", "too late"]),
    "event-timeout": ("completed", ["t", "come"]),
    "failed": ("failed", "StepFailed"),
    "failed-plain": ("failed", "StepFailed"),
    "failed-twice": ("completed", 111),
    "failed-undone": ("completed", ["StepFailure", 2, 2]),
    "held": ("completed", 2),
    "held-recorded": ("completed", 4),
    "paused-claim": ("completed", 4),
    "paused-claim-clock": ("completed", 4),
    "paused-step": ("completed", 4),
    "paused-step-clock": ("completed", 4),
    "purged-0": ("completed", 7),
    "purged-1": ("completed", 7),
    "purged-2": ("completed", 7),
    "put-off": ("completed", 2),
    "queued": ("completed", 2),
    "released": ("completed", 2),
    "rerun": ("completed", 7),
    "rerun-sleeping": ("completed", 10),
    "restarted": ("completed", 8),
    "resuming": ("completed", 4),
    "resuming-step": ("completed", 4),
    "retried": ("completed", 3),
    "retrying-body": ("completed", [2, 2]),
    "retrying-step": ("completed", 111),
    "returned": ("completed", 1),
    "returned-queued": ("completed", 1),
    "sleeping": ("completed", 7),
    "sleeping-second": ("completed", 7),
    "steps-crashed": ("completed", 7),
    "steps-gated": ("completed", 2),
    "steps-held": ("completed", 7),
    "steps-paused": ("completed", 7),
    "steps-paused-all": ("completed", 7),
    "steps-put-off": ("completed", 7),
    "steps-queued": ("completed", 7),
    "steps-resuming": ("completed", 7),
    "steps-retrying": ("completed", 3),
    "told": ("completed", [1, 7]),
    "undoing": ("completed", ["StepFailure", 2, 2]),
    "undoing-held": ("completed", ["StepFailure", 1]),
    "unread-0": ("completed", 1),
    "unread-1": ("completed", 2),
    "unread-2": ("completed", 3),
}
"""Each execution's final status, with its output or the name of its error."""


@pytest.mark.parametrize("partitions", [1, 3])
async def test_executions_in_every_state_run_to_their_end(
    redis_server: RedisProcess, namespace: str, partitions: int
) -> None:
    source = dump.load(partitions)
    with redis_server.connect() as client:
        source.restore(client, namespace)
        harness = Harness(
            HANDLERS,
            server=redis_server.url,
            namespace=namespace,
            queues=QUEUES,
            retention="36500d",
            lease="4s",
            patience="60s",
        )
        harness.clock.ms = source.now
        async with harness:
            await _run_all(harness)
            assert await _ends(harness) == ENDS  # the scheduled steps of `damaged` cannot be read
            assert [run.status for run in await harness.scheduler.runs("done")] == ["completed"] * 3
            assert {finding.subject for finding in await harness.scheduler.doctor()} == {"damaged"}


async def _run_all(harness: Harness) -> None:
    """Resume what is paused, offer the events, and let all time pass."""
    scheduler = harness.scheduler
    for rule in await scheduler.list_pause_rules():
        await scheduler.resume(execution_id=rule.execution_id, task_name=rule.task_name, step_pattern=rule.step_pattern)
    await harness.settle()
    await scheduler.offer_event("event-first", "early", "bird")
    for execution_id in ("event", "event-first", "event-timeout", "both"):
        await scheduler.offer_event(execution_id, "go", "come")
    await harness.advance("60d")


async def _ends(harness: Harness) -> dict[str, tuple[str, Any]]:
    found = await harness.scheduler.list_executions(limit=1000)
    return {
        record.execution_id: (str(record.status), record.error.type_name if record.error else record.output)
        for record in found
    }
