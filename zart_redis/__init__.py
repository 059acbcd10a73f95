"""Durable execution for Python on Redis: `import zart_redis as zart`.

Only the errors are imported at once. Everything else is imported when it is first used, so a program pays for the
parts that it needs.
"""

from typing import TYPE_CHECKING

from zart_redis.errors import (
    Cancelled,
    ConfigurationError,
    DeadlineExceeded,
    DuplicateStepName,
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    ExecutionTimeout,
    HandlerCrashed,
    HistoryTooLong,
    InvalidInput,
    MailboxFull,
    MaxRetriesExhausted,
    NestedStepError,
    NoExecutionContext,
    PayloadTooLarge,
    RecurringNotFound,
    RedisUnavailable,
    RemoteError,
    ReplayMismatch,
    RetryExhausted,
    SchedulerError,
    SerializationError,
    StepBusinessError,
    StepError,
    StepFailed,
    TaskError,
    TimedOut,
    UnknownTask,
    UntrustedPayload,
    WaitTimedOut,
    ZartError,
    ZartStepError,
)
from zart_redis.lazy import lazy_exports

if TYPE_CHECKING:
    from zart_redis import sync, testing
    from zart_redis.api import (
        capture,
        context,
        continue_as_new,
        emit,
        now,
        progress,
        receive,
        require,
        schedule,
        send,
        set_value,
        sleep,
        sleep_until,
        step,
        step_or,
        step_or_else,
        wait,
        wait_for_event,
    )
    from zart_redis.body_log import logger
    from zart_redis.calls import ChildCall, StepCall
    from zart_redis.children import child, start
    from zart_redis.client.admin import RerunReport
    from zart_redis.client.bulk import BulkResult
    from zart_redis.client.delivery import EventClient
    from zart_redis.client.history import AttemptDetail, RunDetail, RunSummary, StepDetail, StepStatus
    from zart_redis.client.limits import LimitRecord
    from zart_redis.client.lists import ExecutionPage, Stats
    from zart_redis.client.queues import QueueRecord
    from zart_redis.client.recurring import RecurringRecord
    from zart_redis.client.scheduler import DurableScheduler
    from zart_redis.emissions import Progress, Restarted, StreamItem, Truncated
    from zart_redis.engine.scope import StepHandle
    from zart_redis.handlers import DurableExecution, DurableHandler, zart_durable
    from zart_redis.limits import Limit
    from zart_redis.model import (
        EventDelivery,
        ExecutionInfo,
        ExecutionRecord,
        ExecutionStatus,
        PauseRule,
        StartedRun,
        WorkerInfo,
    )
    from zart_redis.outcomes import (
        BusinessErr,
        Err,
        ExecutionCancelled,
        ExecutionDeadlineExceeded,
        Failure,
        HandlerError,
        Ok,
        RetriesExhausted,
        StepFailure,
        ZartErr,
    )
    from zart_redis.retry import RetryConfig
    from zart_redis.settings import Settings
    from zart_redis.starting import StartRequest
    from zart_redis.steps import StepFunction, ZartStep, run, zart_step
    from zart_redis.worker.worker import Worker

__all__ = [
    # declare
    "zart_durable", "zart_step", "DurableExecution", "DurableHandler", "ZartStep", "ChildCall", "StepCall",
    "StepFunction", "RetryConfig", "Limit",
    # in a body
    "require", "step", "step_or", "step_or_else", "run", "schedule", "wait", "sleep", "sleep_until", "wait_for_event",
    "capture", "now", "emit", "set_value", "progress", "send", "receive", "start", "child", "continue_as_new",
    "context", "logger", "ExecutionInfo", "StepHandle",
    # outcomes
    "Ok", "BusinessErr", "ZartErr", "Err",
    "Failure", "StepFailure", "ExecutionDeadlineExceeded", "ExecutionCancelled", "RetriesExhausted",
    "HandlerError",
    # run and manage
    "Worker", "BulkResult", "DurableScheduler", "EventClient", "EventDelivery", "ExecutionPage", "ExecutionRecord",
    "ExecutionStatus", "QueueRecord", "RecurringRecord", "Settings", "StartRequest", "StartedRun", "Stats",
    "Progress", "Restarted", "StreamItem", "Truncated",
    "AttemptDetail", "LimitRecord", "PauseRule", "RerunReport", "RunDetail", "RunSummary", "StepDetail", "StepStatus",
    "WorkerInfo",
    # modules: the clients without `await`, and what tests of handlers use
    "sync", "testing",
    # errors
    "ZartError", "NoExecutionContext", "NestedStepError", "DuplicateStepName", "ReplayMismatch",
    "SerializationError", "UntrustedPayload", "ConfigurationError", "RedisUnavailable", "InvalidInput",
    "PayloadTooLarge", "RemoteError", "StepError", "StepBusinessError", "ZartStepError", "RetryExhausted", "TimedOut",
    "DeadlineExceeded", "TaskError", "StepFailed", "MaxRetriesExhausted", "ExecutionTimeout", "Cancelled",
    "HandlerCrashed", "HistoryTooLong", "SchedulerError", "ExecutionAlreadyExists", "ExecutionNotFound",
    "ExecutionFinished", "ExecutionFailed", "MailboxFull", "RecurringNotFound", "WaitTimedOut", "UnknownTask",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers follow the imports above, and so report a name that does not exist
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "api": "capture context continue_as_new emit now progress receive require schedule send set_value sleep "
            "sleep_until step step_or step_or_else wait wait_for_event",
            "children": "child start",
            "body_log": "logger",
            "calls": "ChildCall StepCall",
            "client.admin": "RerunReport",
            "client.delivery": "EventClient",
            "client.history": "AttemptDetail RunDetail RunSummary StepDetail StepStatus",
            "client.limits": "LimitRecord",
            "client.lists": "ExecutionPage Stats",
            "client.bulk": "BulkResult",
            "client.queues": "QueueRecord",
            "client.recurring": "RecurringRecord",
            "client.scheduler": "DurableScheduler",
            "starting": "StartRequest",
            "emissions": "Progress Restarted StreamItem Truncated",
            "engine.scope": "StepHandle",
            "handlers": "DurableExecution DurableHandler zart_durable",
            "limits": "Limit",
            "model": "EventDelivery ExecutionInfo ExecutionRecord ExecutionStatus PauseRule StartedRun WorkerInfo",
            "outcomes": "BusinessErr Err ExecutionCancelled ExecutionDeadlineExceeded Failure HandlerError Ok "
            "RetriesExhausted StepFailure ZartErr",
            "retry": "RetryConfig",
            "settings": "Settings",
            "steps": "StepFunction ZartStep run zart_step",
            "worker.worker": "Worker",
            "sync": "",
            "testing": "",
        },
    )
