"""The code, the settings or the server are to be changed; trying again does not help, except `RedisUnavailable`."""

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


class NotDurable(ZartError, RuntimeError):
    """A body used what cannot outlive its worker, such as a socket, a thread or a subprocess: make it a step."""


class HistoryTooLong(ZartError):
    """A run has ``records`` records, which is the most that it may have."""

    def __init__(self, records: int) -> None:
        super().__init__(records)
        self.records = records

    def __str__(self) -> str:
        return (
            f"this run has {self.records} records, the most that a run may have, since a replay reads all of them. "
            "Continue in a new run before that: await zart.continue_as_new(data)"
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
