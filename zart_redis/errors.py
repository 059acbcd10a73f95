"""Every error this package raises, and what an error becomes when it has crossed processes.

::

    ZartError
    ├── NoExecutionContext      a free function was called outside a body
    ├── NestedStepError         ... or inside a step's body
    ├── DuplicateStepName       one name used twice in one pass of a body
    ├── ReplayMismatch          a name was recorded by another kind of call
    ├── SerializationError      a value or a record cannot be read back as it was
    ├── UntrustedPayload        an ad-hoc callable that no known secret has signed
    ├── ConfigurationError      settings that cannot work
    ├── RedisUnavailable        Redis did not answer, or would not write, for as long as the caller would wait
    ├── InvalidInput            (also a ValueError) a bad id, name or duration
    │   └── PayloadTooLarge
    ├── RemoteError             an exception whose type was not declared in ``raises=``
    ├── StepError               a step has failed; ``.step`` names it
    │   ├── StepBusinessError   with an error of its own: ``.error``
    │   └── ZartStepError       for a reason of the framework's
    │       ├── RetryExhausted
    │       ├── TimedOut
    │       └── DeadlineExceeded
    ├── TaskError               an execution has failed
    │   ├── StepFailed          because a required step did; ``.source`` is the StepError
    │   ├── MaxRetriesExhausted
    │   ├── ExecutionTimeout
    │   ├── Cancelled
    │   └── HandlerCrashed
    └── SchedulerError          what a client asked for cannot be done
        ├── ExecutionAlreadyExists
        ├── ExecutionNotFound
        ├── ExecutionFinished
        ├── ExecutionFailed
        ├── WaitTimedOut
        └── UnknownTask

``error_codec`` tells how errors are written to Redis; the failures handed to ``on_failure`` are in
``outcomes``.
"""

from __future__ import annotations

from typing import Any


class ZartError(Exception):
    """Base of all errors here.

    The ``args`` of an error are its fields, in the order of its constructor. So it can be copied and pickled,
    and two errors of one type with equal fields are equal.
    """

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, ZartError)
        return len(self.args) == len(other.args) and all(map(_equal, self.args, other.args))

    def __hash__(self) -> int:
        return hash(type(self))  # the fields may hold errors that cannot be hashed


def _equal(one: Any, other: Any) -> bool:
    """Equality of fields. Exceptions, which mostly compare by identity, are equal when their args are."""
    if one == other:
        return True
    return isinstance(one, BaseException) and type(one) is type(other) and bool(one.args == other.args)


# Usage: the code or the settings are to be changed, trying again does not help.


class NoExecutionContext(ZartError):
    """A free function such as ``zart.sleep`` was called where no execution is running."""

    def __init__(
        self,
        message: str = "no execution is running here: durable calls belong in the body of a handler. "
        "To test a step alone, call its plain function, `my_step.fn(...)`",
    ) -> None:
        super().__init__(message)


class NestedStepError(ZartError):
    """A call that records something was made inside a step's body."""

    def __init__(
        self,
        message: str = "a step's body cannot make durable calls, for a step is recorded as a whole. "
        "Make them in the handler, before or after this step",
    ) -> None:
        super().__init__(message)


class DuplicateStepName(ZartError):
    """One name was used twice in one pass of a body."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"the name {self.name!r} is used twice in this body, and names are the keys of what is recorded. "
            f'Give each call its own: `my_step(...).named("{self.name}-2")`, or a name with a placeholder'
        )


class ReplayMismatch(ZartError):
    """On replay, a name is asked for by another call than the one that recorded it.

    ``recorded`` and ``requested`` describe the two calls, as in ``"a sleep"`` and ``"step 'charge'"``.
    """

    def __init__(self, name: str, recorded: str, requested: str) -> None:
        super().__init__(name, recorded, requested)
        self.name = name
        self.recorded = recorded
        self.requested = requested

    def __str__(self) -> str:
        return (
            f"{self.name!r} was recorded by {self.recorded} and is now asked for by {self.requested}. "
            "The handler has changed under a running execution: give the new call a new name"
        )


class SerializationError(ZartError):
    """A value cannot be recorded so that it comes back the same, or a record cannot be read."""


class UntrustedPayload(ZartError):
    """An ad-hoc callable is not signed by any secret known here, so it was not loaded."""


class ConfigurationError(ZartError):
    """The settings, or the server they lead to, cannot work."""


class RedisUnavailable(ZartError):
    """Redis did not answer, or refused to write, for as long as the caller would wait.

    What was asked for may or may not have been done; asking again with the same id is safe.
    """


class InvalidInput(ZartError, ValueError):
    """An id, name, duration or other argument was refused before anything was written."""


class PayloadTooLarge(InvalidInput):
    """An encoded value is larger than ``max_payload``."""


# What has crossed processes.


class RemoteError(ZartError):
    """An exception raised in another process, in plain form: its type was not declared in ``raises=``.

    ``type_name`` is the bare name of its class (``"CardDeclined"``). ``traceback`` is the text of the
    traceback where it was raised, and may be empty; Python shows it below this error's own.
    """

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        if traceback:
            self.add_note(f"Where it was raised:\n{traceback}")

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name

    def __repr__(self) -> str:
        """Without the traceback, which would bury the message of whatever quotes this."""
        return f"RemoteError({self.type_name!r}, {self.message!r})"


# A step has failed.


class StepError(ZartError):
    """A step has failed; ``step`` is its name."""

    def __init__(self, step: str, *fields: object) -> None:
        super().__init__(step, *fields)
        self.step = step

    @property
    def own_error(self) -> Exception:
        """The error that the step's code raised, or this error itself if the framework failed the step."""
        return self


class StepBusinessError(StepError):
    """A step raised ``error``, an error of its own."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(step, error)
        self.error = error
        self.__cause__ = error

    @property
    def own_error(self) -> Exception:
        return self.error

    def __str__(self) -> str:
        return f"step {self.step!r} raised {self.error!r}"


class ZartStepError(StepError):
    """A step was failed by the framework: its attempts or its time are spent."""


class RetryExhausted(ZartStepError):
    """All ``attempts`` that the step's retry policy allows have failed, the last one with ``last_error``."""

    def __init__(self, step: str, attempts: int, last_error: Exception) -> None:
        super().__init__(step, attempts, last_error)
        self.attempts = attempts
        self.last_error = last_error
        self.__cause__ = last_error

    @property
    def own_error(self) -> Exception:
        return self.last_error

    def __str__(self) -> str:
        return f"step {self.step!r} failed in all of its {self.attempts} attempts: {self.last_error!r}"


class TimedOut(ZartStepError):
    """A step took longer than its timeout, ``duration`` seconds. It is not tried again."""

    def __init__(self, step: str, duration: float) -> None:
        super().__init__(step, duration)
        self.duration = duration

    def __str__(self) -> str:
        return f"step {self.step!r} did not end within its timeout of {self.duration:g} s"


class DeadlineExceeded(ZartStepError):
    """The time to wait for an event has passed, or the execution's deadline came while a step was due."""

    def __str__(self) -> str:
        return f"the deadline of {self.step!r} has passed"


# An execution has failed.


class TaskError(ZartError):
    """An execution has failed."""


class StepFailed(TaskError):
    """A required step has failed.

    ``source`` is the ``StepError``, ``step`` the step's name, and ``__cause__`` the error that the step's
    code raised, or ``source`` where it was the framework that failed it.
    """

    def __init__(self, step: str, source: StepError) -> None:
        super().__init__(step, source)
        self.step = step
        self.source = source
        self.__cause__ = source.own_error

    def __str__(self) -> str:
        return str(self.source)


class MaxRetriesExhausted(TaskError):
    """All ``attempts`` that the handler's ``retry=`` allows have failed, the last one with ``last_error``."""

    def __init__(self, attempts: int, last_error: Exception) -> None:
        super().__init__(attempts, last_error)
        self.attempts = attempts
        self.last_error = last_error
        self.__cause__ = last_error

    def __str__(self) -> str:
        return f"the execution failed in all of its {self.attempts} attempts: {self.last_error!r}"


class ExecutionTimeout(TaskError):
    """The execution did not end within the ``timeout`` of its handler, counted from its start."""

    def __str__(self) -> str:
        return "the execution did not end within its timeout"


class Cancelled(TaskError):
    """The execution was cancelled."""

    def __str__(self) -> str:
        return "the execution was cancelled"


class HandlerCrashed(TaskError):
    """The body took its worker down with it ``deliveries`` times, so it is not given to another one."""

    def __init__(self, deliveries: int) -> None:
        super().__init__(deliveries)
        self.deliveries = deliveries

    def __str__(self) -> str:
        return (
            f"given up after {self.deliveries} deliveries: each time its worker died before the body ended. "
            "Look for what kills the process, such as memory or a crash in native code"
        )


# What a client asked for cannot be done.


class SchedulerError(ZartError):
    """What a client asked for cannot be done."""


class ExecutionAlreadyExists(SchedulerError):
    """An execution of this id is live; ``status`` tells how far it is."""

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
    """The execution had not ended when the time to wait was over. It goes on."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} has not ended within the time to wait; it goes on"


class UnknownTask(SchedulerError):
    """No handler of this name is known here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no task {self.name!r} is known here: is the module that defines its handler imported?"
