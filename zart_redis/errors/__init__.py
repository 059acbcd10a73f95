"""Every error that this package raises.

::

    ZartError
    ├── NoExecutionContext      a free function was called outside a body
    ├── NestedStepError         ... or inside a step's body
    ├── DuplicateStepName       one name used twice in one pass of a body
    ├── ReplayMismatch          a name was recorded by another kind of call
    ├── NotDurable              a body used something that a replay cannot repeat
    ├── HistoryTooLong          a run has reached the maximum number of records
    ├── SerializationError      a value cannot be recorded, or a record cannot be read
    ├── UntrustedPayload        an ad-hoc callable that no known secret has signed
    ├── ConfigurationError      settings that cannot work
    ├── RedisUnavailable        Redis is unreachable, or refuses to write
    ├── InvalidInput            (also a ValueError) a bad id, name or duration
    │   └── PayloadTooLarge
    ├── RemoteError             an exception whose type was not declared in ``raises=``
    ├── StepError               a step has failed; ``.step`` names it
    │   ├── StepBusinessError   its code raised ``.error``
    │   └── ZartStepError       the framework failed it
    │       ├── RetryExhausted
    │       ├── TimedOut
    │       └── DeadlineExceeded
    ├── TaskError               an execution has failed
    │   ├── StepFailed          because a required step did; ``.source`` is the StepError
    │   ├── MaxRetriesExhausted
    │   ├── ExecutionTimeout
    │   ├── Cancelled
    │   └── HandlerCrashed
    └── SchedulerError          a request of a client cannot be carried out
        ├── ExecutionAlreadyExists
        ├── ExecutionNotFound
        ├── ExecutionFinished
        ├── ExecutionFailed
        ├── MailboxFull
        ├── RecurringNotFound
        ├── WaitTimedOut
        └── UnknownTask

``error_codec`` defines how errors are written to Redis; the failures handed to ``on_failure`` are in
``outcomes``.
"""

from __future__ import annotations

from zart_redis.errors.base import ZartError
from zart_redis.errors.client import (
    ExecutionAlreadyExists,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionNotFound,
    MailboxFull,
    RecurringNotFound,
    SchedulerError,
    UnknownTask,
    WaitTimedOut,
)
from zart_redis.errors.failures import (
    Cancelled,
    DeadlineExceeded,
    ExecutionTimeout,
    HandlerCrashed,
    MaxRetriesExhausted,
    RemoteError,
    RetryExhausted,
    StepBusinessError,
    StepError,
    StepFailed,
    TaskError,
    TimedOut,
    ZartStepError,
)
from zart_redis.errors.usage import (
    ConfigurationError,
    DuplicateStepName,
    HistoryTooLong,
    InvalidInput,
    NestedStepError,
    NoExecutionContext,
    NotDurable,
    PayloadTooLarge,
    RedisUnavailable,
    ReplayMismatch,
    SerializationError,
    UntrustedPayload,
)

__all__ = [
    "Cancelled",
    "ConfigurationError",
    "DeadlineExceeded",
    "DuplicateStepName",
    "ExecutionAlreadyExists",
    "ExecutionFailed",
    "ExecutionFinished",
    "ExecutionNotFound",
    "ExecutionTimeout",
    "HandlerCrashed",
    "MailboxFull",
    "HistoryTooLong",
    "InvalidInput",
    "MaxRetriesExhausted",
    "NestedStepError",
    "NoExecutionContext",
    "NotDurable",
    "PayloadTooLarge",
    "RecurringNotFound",
    "RedisUnavailable",
    "RemoteError",
    "ReplayMismatch",
    "RetryExhausted",
    "SchedulerError",
    "SerializationError",
    "StepBusinessError",
    "StepError",
    "StepFailed",
    "TaskError",
    "TimedOut",
    "UnknownTask",
    "UntrustedPayload",
    "WaitTimedOut",
    "ZartError",
    "ZartStepError",
]
