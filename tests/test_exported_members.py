"""The public surface, frozen: what is added or taken away here is added to or taken from users."""

import ast
import inspect
import subprocess
import sys
from typing import Any

import pytest

import zart_redis as zart
from zart_redis import api

PUBLIC = """\
AttemptDetail BulkResult BusinessErr Cancelled ChildCall ConfigurationError DeadlineExceeded DuplicateStepName
DurableExecution DurableHandler DurableScheduler Err EventClient EventDelivery ExecutionAlreadyExists
ExecutionCancelled ExecutionDeadlineExceeded ExecutionFailed ExecutionFinished ExecutionInfo ExecutionNotFound
ExecutionPage ExecutionRecord ExecutionStatus ExecutionTimeout Failure HandlerCrashed HandlerError HistoryTooLong
InvalidInput Limit LimitRecord MailboxFull MaxRetriesExhausted NestedStepError NoExecutionContext Ok PauseRule
PayloadTooLarge Progress QueueRecord RecurringNotFound RecurringRecord RedisUnavailable RemoteError ReplayMismatch
RerunReport Restarted RetriesExhausted RetryConfig RetryExhausted RunDetail RunSummary SchedulerError
SerializationError Settings StartRequest StartedRun Stats StepBusinessError StepCall StepDetail StepError StepFailed
StepFailure StepFunction StepHandle StepStatus StreamItem TaskError TimedOut Truncated UnknownTask UntrustedPayload
WaitTimedOut Worker WorkerInfo ZartErr ZartError ZartStep ZartStepError capture child context continue_as_new emit
logger now progress receive require run schedule send set_value sleep sleep_until start step step_or step_or_else sync
testing wait wait_for_event zart_durable zart_step
"""

SIGNATURES = {
    "require": "(step)",
    "step": "(step)",
    "step_or": "(step, default)",
    "step_or_else": "(step, f)",
    "run": "(name, fn, *, retry, timeout, raises, type)",
    "schedule": "(step)",
    "wait": "(handles)",
    "sleep": "(name, duration)",
    "sleep_until": "(name, when)",
    "wait_for_event": "(name, timeout, *, type)",
    "capture": "(name, f, *, type)",
    "now": "(name)",
    "context": "()",
    "emit": "(value, *, stream)",
    "set_value": "(key, value)",
    "progress": "(done, total, note)",
    "continue_as_new": "(data)",
    "child": "(handler, data, *, name, id, queue, tags, on_parent_end)",
    "start": "(handler, execution_id, data, *, queue)",
    "send": "(name, execution_id, channel, payload)",
    "receive": "(name, *, channel, timeout, type)",
    "zart_step": "(name, *, retry, timeout, timeout_scope, raises)",
    "zart_durable": "(name, *, timeout, on_failure, retry, queue, retention, limits)",
    "DurableScheduler.start": "(self, execution_id, task_name, data, *, queue, delay, if_live, if_finished, expires)",
    "DurableScheduler.start_for": "(self, handler, execution_id, data, *, queue, delay)",
    "DurableScheduler.start_many": "(self, requests)",
    "DurableScheduler.status": "(self, execution_id)",
    "DurableScheduler.wait": "(self, execution_id, timeout)",
    "DurableScheduler.wait_completion": "(self, execution_id, timeout, *, type)",
    "DurableScheduler.wait_for": "(self, handler, execution_id, timeout)",
    "DurableScheduler.start_and_wait_for": "(self, handler, execution_id, data, timeout)",
    "DurableScheduler.cancel": "(self, execution_id, *, reason)",
    "DurableScheduler.offer_event": "(self, execution_id, name, payload)",
    "DurableScheduler.send": "(self, execution_id, channel, payload, *, message_id, start)",
    "DurableScheduler.list_executions": "(self, *, status, task_name, queue, limit, cursor, order)",
    "DurableScheduler.stats": "(self)",
    "DurableScheduler.follow": "(self, execution_id, stream, *, after, type)",
    "DurableScheduler.value": "(self, execution_id, key, default, *, type)",
    "DurableScheduler.values": "(self, execution_id)",
    "DurableScheduler.set_limit": "(self, name, *, key, concurrency, rate)",
    "DurableScheduler.reset_limit": "(self, name, *, key)",
    "DurableScheduler.limits": "(self)",
}


def parameters(signature: str) -> list[str]:
    return [name for name in signature.strip("()").split(", ") if name]


def bare(signature: inspect.Signature) -> str:
    """Names and kinds only."""
    bare = [p.replace(annotation=p.empty, default=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def test_what_is_exported() -> None:
    assert sorted(zart.__all__) == PUBLIC.split()
    assert [name for name in zart.__all__ if not hasattr(zart, name)] == []
    assert set(zart.__all__) <= set(dir(zart))


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="module 'zart_redis' has no attribute 'durable'"):
        _ = getattr(zart, "durable")  # noqa: B009 - a type checker would report the attribute


def test_importing_the_package_imports_only_its_errors() -> None:
    code = "import sys, zart_redis; print([n for n in sys.modules if n.startswith('zart_redis.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[1] for name in ast.literal_eval(run.stdout)} == {"errors", "lazy"}


@pytest.mark.parametrize("path", SIGNATURES)
def test_how_it_is_called(path: str) -> None:
    """A keyword may be added; what there is neither goes nor moves."""
    target: Any = zart
    for name in path.split("."):
        target = getattr(target, name)
    found = parameters(bare(inspect.signature(target)))
    assert [name for name in found if name in parameters(SIGNATURES[path])] == parameters(SIGNATURES[path])
    added = [name for name in found if name not in parameters(SIGNATURES[path])]
    assert all(inspect.signature(target).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in added)


def test_every_free_function_is_exported() -> None:
    assert set(api.__all__) <= set(zart.__all__)


def test_every_error_is_a_zart_error() -> None:
    errors = [value for value in vars(zart).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(errors) > 25
    assert [error for error in errors if not issubclass(error, zart.ZartError)] == []
