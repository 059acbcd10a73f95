"""Errors in the code, the settings or the server. Retrying helps only after `RedisUnavailable`."""

from __future__ import annotations

from zart_redis.errors.base import ZartError


class NoExecutionContext(ZartError):
    """A free function such as ``zart.sleep`` was called where no execution is running."""

    def __init__(
        self,
        message: str = "no execution is running here: durable calls belong in the body of a handler. "
        "To test a step alone, call its plain function, `my_step.fn(...)`",
    ) -> None:
        super().__init__(message)


class NestedStepError(ZartError):
    """A durable call was made inside a step."""

    def __init__(
        self,
        message: str = "a step cannot make durable calls, because it is recorded as a whole. "
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
            f"the name {self.name!r} is used twice in this body, and names are the keys of recorded results. "
            f'Give each call its own: `my_step(...).named("{self.name}-2")`, or a name with a placeholder'
        )


class ReplayMismatch(ZartError):
    """In a replay, a name is used by another call than the one that recorded it.

    ``recorded`` and ``requested`` describe the two calls, as in ``"a sleep"`` and ``"step 'charge'"``.
    """

    def __init__(self, name: str, recorded: str, requested: str) -> None:
        super().__init__(name, recorded, requested)
        self.name = name
        self.recorded = recorded
        self.requested = requested

    def __str__(self) -> str:
        return (
            f"{self.name!r} was recorded by {self.recorded} and is now used by {self.requested}. "
            "The handler has changed while the execution was running: give the new call a new name"
        )


class NotDurable(ZartError, RuntimeError):
    """A body used something that does not survive its worker, such as a socket, a thread or a subprocess. Make it a
    step."""


class HistoryTooLong(ZartError):
    """A run has reached the maximum of ``records`` records."""

    def __init__(self, records: int) -> None:
        super().__init__(records)
        self.records = records

    def __str__(self) -> str:
        return (
            f"this run has {self.records} records, the maximum, because a replay reads all of them. "
            "Continue in a new run before it gets there: await zart.continue_as_new(data)"
        )


class SerializationError(ZartError):
    """A value would not be the same after being recorded and read, or a record cannot be read."""


class UntrustedPayload(ZartError):
    """An ad-hoc callable is not signed with any secret of this process, so it was not loaded."""


class ConfigurationError(ZartError):
    """The settings are invalid, or the server that they name cannot be used."""


class RedisUnavailable(ZartError):
    """Redis was unreachable, or refused to write, for as long as the caller waits.

    The request may or may not have been carried out; repeating it with the same id is safe.
    """


class InvalidInput(ZartError, ValueError):
    """An id, name, duration or other argument is invalid. Nothing was written."""


class PayloadTooLarge(InvalidInput):
    """An encoded value is larger than ``max_payload``."""
