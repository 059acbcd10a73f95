"""Distinguishes a step that cancels itself, which has failed, from one that its body or its worker gives up."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from zart_redis.engine.observer import StepAttempt
from zart_redis.engine.scope import current
from zart_redis.model import ExecutionInfo


class CancelWatch:
    """Watches who cancels the current task while a user's function runs in it: that function, or someone else.

    What a step runs has its attempt in its context, the callbacks and tasks that it makes included.
    """

    __slots__ = ("_task", "by_others")

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self.by_others = False
        task.cancel = self._cancel  # type: ignore[method-assign]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._task.cancel

    def _cancel(self, msg: Any = None) -> bool:
        if not isinstance(current.get(), StepAttempt | ExecutionInfo):
            self.by_others = True
        return type(self._task).cancel(self._task, msg)

    def ends(self, error: BaseException) -> bool:
        """Whether the task was cancelled from outside, and not by the function itself."""
        if isinstance(error, asyncio.CancelledError):
            return self.by_others
        if isinstance(error, GeneratorExit):
            try:
                return asyncio.current_task() is not self._task  # it is thrown in by `close`
            except RuntimeError:
                return True
        return isinstance(error, KeyboardInterrupt)

    async def settle(self) -> None:
        """Withdraw the cancellations that the function requested, so that the task can record the end of the step."""
        if self._task.cancelling() and not self.by_others:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if self.by_others:
                    raise
            while self._task.cancelling():
                self._task.uncancel()
