"""How a step ended, and why an execution failed: values to ``match`` on.

``zart.step`` and ``zart.wait`` return ``Ok``, ``BusinessErr``, ``ZartErr`` or ``Err``; ``on_failure`` receives a
``Failure``. The exceptions they hold are defined in ``errors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, NoReturn, TypeAlias

from typing_extensions import TypeVar

from zart_redis.errors import RemoteError, StepError, ZartStepError

T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", bound=Exception, covariant=True, default=Exception)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """The step returned ``value``.

    ::

        match await zart.step(charge(order)):
            case Ok(receipt): ...
            case BusinessErr(CardDeclined() as error): ...
            case ZartErr(error): ...
    """

    value: T_co

    def is_ok(self) -> bool:
        return True

    def unwrap(self) -> T_co:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class BusinessErr(Generic[E_co]):
    """The step's code raised ``error``."""

    error: E_co

    def is_ok(self) -> bool:
        return False

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


@dataclass(frozen=True, slots=True)
class ZartErr:
    """The framework failed the step: its attempts or its time are spent."""

    error: ZartStepError

    def is_ok(self) -> bool:
        return False

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


@dataclass(frozen=True, slots=True)
class Err:
    """A scheduled step failed: ``error`` is a ``StepBusinessError`` or a ``ZartStepError``."""

    error: StepError

    def is_ok(self) -> bool:
        return False

    def unwrap(self) -> NoReturn:
        """Raise the error."""
        raise self.error


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A required step failed and the body let it pass.

    ``error`` is what the step's code raised, else the ``StepError``; ``raw`` is the same in plain form.
    """

    step: str
    error: Exception
    raw: RemoteError


@dataclass(frozen=True, slots=True)
class ExecutionDeadlineExceeded:
    """The execution did not end within its timeout."""


@dataclass(frozen=True, slots=True)
class RetriesExhausted:
    """The handler's own retries are spent, after ``attempts`` attempts."""

    attempts: int


@dataclass(frozen=True, slots=True)
class ExecutionCancelled:
    """The execution was cancelled with ``compensate=True``."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class HandlerError:
    """The body itself raised ``error``, outside any step."""

    error: Exception


Failure: TypeAlias = StepFailure | ExecutionDeadlineExceeded | ExecutionCancelled | RetriesExhausted | HandlerError
