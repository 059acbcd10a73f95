"""What a client asked for cannot be done."""

from __future__ import annotations

from zart_redis.errors.base import ZartError


class SchedulerError(ZartError):
    """What a client asked for cannot be done."""


class ExecutionAlreadyExists(SchedulerError):
    """An execution of this id is live; ``status`` is its state."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(execution_id, status)
        self.execution_id = execution_id
        self.status = status

    def __str__(self) -> str:
        return (
            f"execution {self.execution_id!r} exists already and is {self.status}. "
            "The id is the idempotency key: a new run can begin only when this one has ended"
        )


class ExecutionNotFound(SchedulerError):
    """There is no execution of this id, or it finished longer ago than its retention."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"there is no execution {self.execution_id!r}: it was never started here, or it has expired"


class ExecutionFinished(SchedulerError):
    """The execution has ended, as ``status`` says, and takes nothing more."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(execution_id, status)
        self.execution_id = execution_id
        self.status = status

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} has ended ({self.status})"


class ExecutionFailed(SchedulerError):
    """The awaited execution failed with ``error``, which is also the ``__cause__``."""

    def __init__(self, execution_id: str, error: Exception) -> None:
        super().__init__(execution_id, error)
        self.execution_id = execution_id
        self.error = error
        self.__cause__ = error

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} failed: {self.error}"


class WaitTimedOut(SchedulerError):
    """The execution had not ended when the time to wait was over. It continues."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} has not ended within the time to wait; it continues"


class UnknownTask(SchedulerError):
    """No handler of this name is known here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no task {self.name!r} is known here: is the module that defines its handler imported?"
