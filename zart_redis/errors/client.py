"""A request of a client cannot be carried out."""

from __future__ import annotations

from zart_redis.errors.base import ZartError


class SchedulerError(ZartError):
    """A request of a client cannot be carried out."""


class ExecutionAlreadyExists(SchedulerError):
    """An execution with this id is live, in the state ``status``."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(execution_id, status)
        self.execution_id = execution_id
        self.status = status

    def __str__(self) -> str:
        return (
            f"execution {self.execution_id!r} exists already and is {self.status}. "
            "The id is the idempotency key: a new run can begin only after this one has ended"
        )


class ExecutionNotFound(SchedulerError):
    """There is no execution with this id, or its retention has passed."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"there is no execution {self.execution_id!r}: it was never started in this namespace, or it has expired"


class RecurringNotFound(SchedulerError):
    """There is no recurring execution with this id."""

    def __init__(self, recurring_id: str) -> None:
        super().__init__(recurring_id)
        self.recurring_id = recurring_id

    def __str__(self) -> str:
        return f"there is no recurring execution {self.recurring_id!r}: it was never started, or it was stopped"


class ExecutionFinished(SchedulerError):
    """The execution has ended, in the state ``status``, and accepts no further changes."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(execution_id, status)
        self.execution_id = execution_id
        self.status = status

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} has ended ({self.status})"


class MailboxFull(SchedulerError):
    """Too many messages wait for the execution, or too large ones; see the setting `max_mailbox`."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"the mailbox of execution {self.execution_id!r} is full: it receives messages too slowly, or not at all"


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
    """The execution had not ended when the timeout of the wait passed. It continues."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} has not ended within the timeout; it continues"


class UnknownTask(SchedulerError):
    """No handler with this name is declared in this process."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no handler is declared for task {self.name!r}: is the module that declares it imported?"
