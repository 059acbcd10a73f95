"""The context variable by which code finds what it runs in: a body's `Execution`, or one attempt of a step."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from zart_redis.errors import NestedStepError, NoExecutionContext
from zart_redis.model import ExecutionInfo
from zart_redis.registry import Call

if TYPE_CHECKING:
    from zart_redis.engine.execution import Execution


class StepScope(msgspec.Struct, frozen=True):
    """An attempt of a step in place; what is known of it is put together only when it is asked for."""

    body: ExecutionInfo
    call: Call[Any, Any]
    number: int

    @property
    def info(self) -> ExecutionInfo:
        body, call = self.body, self.call
        return ExecutionInfo(
            body.execution_id,
            body.task_name,
            self.number,
            call.definition.retry.retries,
            f"{body.idempotency_key}:{call.name}",
            call.name,
            body._load,
        )


current: ContextVar[Execution | StepScope | ExecutionInfo | None] = ContextVar("zart_execution", default=None)
"""In a body its `Execution`; in a step, or in what `capture` calls, only what is known of it."""


def current_execution() -> Execution:
    """The execution whose body calls.

    Raises:
        NoExecutionContext: nothing durable runs here.
        NestedStepError: a step runs here, which cannot record anything of its own.
    """
    scope = current.get()
    if scope is None:
        raise NoExecutionContext
    if isinstance(scope, StepScope | ExecutionInfo):
        raise NestedStepError
    return scope


def current_info() -> ExecutionInfo:
    """What is known of the execution, in a body and in a step.

    Raises:
        NoExecutionContext: nothing durable runs here.
    """
    scope = current.get()
    if scope is None:
        raise NoExecutionContext
    return scope if isinstance(scope, ExecutionInfo) else scope.info
