"""A step or an execution has failed."""

from __future__ import annotations

from zart_redis.errors.base import ZartError


class RemoteError(ZartError):
    """An exception whose type was not declared in ``raises=``, in plain form.

    ``type_name`` is the name of its class (``"CardDeclined"``). ``traceback`` is the text of the traceback where it was
    raised, and may be empty; Python shows it below the traceback of this error.
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
        """Without the traceback, which would hide the message of an error that quotes this one."""
        return f"RemoteError({self.type_name!r}, {self.message!r})"


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
    """The code of a step raised ``error``."""

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
    """The framework failed a step, because its attempts or its time are used up."""


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
    """A step took longer than its timeout of ``duration`` seconds. It is not retried."""

    def __init__(self, step: str, duration: float) -> None:
        super().__init__(step, duration)
        self.duration = duration

    def __str__(self) -> str:
        return f"step {self.step!r} did not end within its timeout of {self.duration:g} s"


class DeadlineExceeded(ZartStepError):
    """A wait for an event timed out, or the deadline of the execution passed before a step could run."""

    def __str__(self) -> str:
        return f"the deadline of {self.step!r} has passed"


class TaskError(ZartError):
    """An execution has failed."""


class StepFailed(TaskError):
    """A required step has failed.

    ``source`` is the ``StepError``, ``step`` the step's name, and ``__cause__`` the error that the step's
    code raised, or ``source`` if the framework failed it.
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
    """The body or the step killed its worker ``deliveries`` times, so no other worker gets it.

    ``deaths`` describes how and where, as far as it is known.
    """

    def __init__(self, deliveries: int, deaths: str = "") -> None:
        super().__init__(deliveries, *([deaths] if deaths else []))
        self.deliveries = deliveries
        self.deaths = deaths

    def __str__(self) -> str:
        how = f": {self.deaths}" if self.deaths else ""
        return (
            f"given up after {self.deliveries} deliveries: each time its worker died while it ran nothing else that "
            f"could be the cause{how}. Look for what kills the process, such as memory or a crash in native code"
        )
