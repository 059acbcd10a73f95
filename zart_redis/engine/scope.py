"""The context variable through which code finds what it runs in: a body, or one attempt of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from zart_redis.codec import Codec
from zart_redis.engine.emitting import Emitted, Emitter
from zart_redis.engine.journal import Outcome
from zart_redis.engine.observer import StepAttempt
from zart_redis.engine.ports import StartArguments
from zart_redis.errors import NestedStepError, NoExecutionContext
from zart_redis.model import ExecutionInfo
from zart_redis.outcomes import Err, Ok, T_co
from zart_redis.registry import Call

T = TypeVar("T")


class DurableBody(Protocol):
    """What the free functions need of the body that calls them, and the task factory of a body that creates a task."""

    @property
    def info(self) -> ExecutionInfo: ...

    @property
    def is_put_away(self) -> bool:
        """Whether this pass of the body is over, and the body has not returned."""
        ...

    async def run(self, call: Call[Any, Any]) -> Outcome:
        """The outcome of a step."""
        ...

    def schedule(self, call: Call[Any, Any]) -> StepHandle[Any]:
        """Register a step for any worker."""
        ...

    def cancel_step(self, handle: StepHandle[Any]) -> None:
        """Take back a scheduled step, unless it has ended."""

    async def wait(self, handles: Iterable[StepHandle[Any]]) -> list[Ok[Any] | Err]:
        """The results of scheduled steps."""
        ...

    async def sleep(self, name: str, argument: str) -> None:
        """Sleep for a time in ms, or until "@<ms>"."""

    async def wait_for_event(self, name: str, argument: str, codec: Codec[T]) -> T:
        """The payload of an event; `argument` is a timeout in ms, or ""."""
        ...

    async def receive(self, name: str, argument: str, codec: Codec[T]) -> T:
        """A message; `argument` is `journal.receive_argument`."""
        ...

    async def capture(self, name: str, f: Callable[[], Any], codec: Codec[T]) -> T:
        """The recorded value of `f()`."""
        ...

    async def send(self, name: str, execution_id: str, channel: str, payload: bytes) -> None:
        """Send a message to any execution."""

    async def start_other(self, arguments: StartArguments) -> None:
        """Start an independent execution."""

    async def continue_as_new(self, data: Any) -> NoReturn:
        """End the run, and begin the next one with this input."""
        ...

    def clock(self) -> datetime:
        """The current time in UTC."""
        ...

    @property
    def max_payload(self) -> int:
        """Bytes of one encoded value."""
        ...

    @property
    def retention_ms(self) -> int:
        """How long a finished execution is kept, by default."""
        ...

    def emit(self, emitted: Emitted) -> None:
        """Emit something, unless an earlier pass has."""


@dataclass(frozen=True, slots=True)
class StepHandle(Generic[T_co]):
    """A scheduled step, to be waited for by the body that scheduled it."""

    name: str
    _call: Call[T_co, Any] = field(repr=False)
    _body: DurableBody = field(repr=False)

    def cancel(self) -> None:
        """Take the step back: its result is not needed any more.

        If it has not begun, it does not begin; if it runs, its attempt is cancelled, and so is a child. `wait` returns
        the error `Cancelled` for it. A step that has ended keeps its result.
        """
        self._body.cancel_step(self)


Scope = DurableBody | StepAttempt | ExecutionInfo

current: ContextVar[Scope | None] = ContextVar("zart_execution", default=None)
"""The body itself; in a step its attempt; in a function that `capture` calls the `ExecutionInfo` of the body."""


def current_body() -> DurableBody:
    """The body that calls.

    Raises:
        NoExecutionContext: called outside of an execution.
        NestedStepError: called in a step, which cannot record anything.
    """
    scope = current.get()
    if scope is None:
        raise NoExecutionContext
    if isinstance(scope, StepAttempt | ExecutionInfo):
        raise NestedStepError
    return scope


def current_emitter() -> DurableBody | Emitter:
    """The body, or the attempt of a step, that calls.

    Raises:
        NoExecutionContext: called outside of an execution.
        NestedStepError: called in a function that `capture` calls.
    """
    scope = current.get()
    if isinstance(scope, StepAttempt):
        if scope.emitter is None:
            raise NoExecutionContext
        return scope.emitter
    return current_body()


def current_info() -> ExecutionInfo:
    """The execution, seen from its body or from one of its steps.

    Raises:
        NoExecutionContext: called outside of an execution.
    """
    scope = current.get()
    if scope is None:
        raise NoExecutionContext
    return scope if isinstance(scope, ExecutionInfo) else scope.info


def log_fields() -> dict[str, object]:
    """What a log line says about where it was written: execution, task, step and attempt; nothing outside of one."""
    scope = current.get()
    if scope is None:
        return {}
    info = scope if isinstance(scope, ExecutionInfo) else scope.info
    fields: dict[str, object] = {"execution_id": info.execution_id, "task": info.task_name}
    if info.step is not None:
        fields["step"] = info.step
    return {**fields, "attempt": info.current_attempt}
