"""Which asyncio tasks belong to a body, so that a pass ends only when each of them is blocked, and none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

from zart_redis.engine.scope import current

Factory = Callable[..., "asyncio.Future[Any]"]


class _Adopting:
    """A task factory that tells executions of the tasks that their bodies create."""

    def __init__(self, previous: Factory | None) -> None:
        self.previous = previous
        self.users = 0

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Future[Any]:
        if context is not None:
            options["context"] = context
        if self.previous is not None:
            task = self.previous(loop, coro, **options)
        else:
            task = asyncio.Task(coro, loop=loop, **options)
        scope = current.get() if context is None else context.get(current)
        if isinstance(task, asyncio.Task) and (adopt := getattr(scope, "adopt", None)):
            adopt(task, asyncio.current_task(loop))
        return task


def install(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Make `loop` tell executions of the tasks that their bodies create. Answers how to undo it; all that install it
    on one loop share it, and the last one to undo takes it away."""
    installed = loop.get_task_factory()
    factory = installed if isinstance(installed, _Adopting) else _Adopting(installed)
    factory.users += 1
    loop.set_task_factory(factory)

    def undo() -> None:
        factory.users -= 1
        if factory.users == 0 and loop.get_task_factory() is factory:
            loop.set_task_factory(factory.previous)

    return undo
