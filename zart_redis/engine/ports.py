"""What the engine requires of a store: the transitions of a claimed body, and of a claimed step.

A transition raises `Fenced` when the claim is lost; the engine then drops the work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from zart_redis.engine.emitting import EmitPort
from zart_redis.layout import StartOption
from zart_redis.registry import ChildStart


class WaitRequest(NamedTuple):
    """A wait that the store ends: a kind of `journal`, its name, and when.

    `argument` is "<ms>" from now, "@<ms>" of the clock, "" for no limit of time; of a pause the id of the rule.
    """

    kind: str
    name: str
    argument: str


class Completion(NamedTuple):
    """A completion that the store has recorded; `record` carries its stamp."""

    kind: str
    name: str
    record: bytes


class News(NamedTuple):
    """What others have completed, in order: all up to the number `seen`."""

    seen: int
    completions: Sequence[Completion]


class ScheduleRequest(NamedTuple):
    """A step to schedule."""

    name: str
    spec: bytes
    timeout_ms: int | None
    queue: str
    """"" for that of the execution."""


class ChildRequest(NamedTuple):
    """A child to start."""

    name: str
    execution_id: str
    start: ChildStart
    number: str
    """Names this start among all."""


class StartArguments(NamedTuple):
    """What begins an execution, checked and encoded."""

    execution_id: str
    task: str
    queue: str
    data: bytes
    delay_ms: int | None
    timeout_ms: int | None
    triggered_by: str
    limits: str
    options: dict[StartOption, str | int | bytes]


class BodyPort(EmitPort, Protocol):
    """The transitions of a claimed body."""

    def now(self) -> int:
        """The store's time in ms, estimated since its last reply."""
        ...

    async def record(self, name: str, record: bytes, *, ordered: bool) -> bytes:
        """Record a completion, unless there is one already. Returns the one that is kept, stamped.

        Without `ordered` it gets no number: nothing else that the body awaits could complete before it.
        """
        ...

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        """Record the number of failed attempts of a step; `note` describes the last one. Returns the step's record."""
        ...

    async def schedule(self, children: Sequence[ScheduleRequest]) -> None:
        """Register steps for any worker. Steps that are registered already are left alone."""

    async def start_children(self, children: Sequence[ChildRequest]) -> Mapping[str, str]:
        """Start executions in the place of scheduled steps. Those that are started already are left alone.

        Returns the status of those whose id is used by another execution, by the name of the call.
        """
        ...

    async def end_steps(self, records: dict[str, bytes]) -> None:
        """Take back scheduled steps and children, which get these records unless they have ended."""

    async def join(self, group: str, names: Collection[str]) -> None:
        """Wake the body when the last of these scheduled steps has ended."""

    async def park(
        self, new: Sequence[WaitRequest], gone: Sequence[tuple[str, str]], hold: bool, seen: int
    ) -> News | None:
        """Register waits and forget others; park the body unless `hold` is set or something has completed.

        Returns None if the body is parked, else what others have completed after the number `seen`.
        """

    async def limit(self, timeout_ms: int) -> None:
        """Set the execution's deadline, counted from its start, unless it has one."""

    async def gate(self, limits: str) -> bool:
        """Ask for a slot of each limit of the run. Returns False if it has to wait: then this worker holds it no
        more."""
        ...

    async def send(self, execution_id: str, channel: str, payload: bytes, key: str) -> None:
        """Send a message, which `key` identifies, to any execution.

        Raises:
            ExecutionNotFound, ExecutionFinished, MailboxFull: it cannot be sent.
        """

    async def start(self, arguments: StartArguments, nonce: bytes) -> None:
        """Start any execution. The same nonce starts the same run.

        Raises:
            ExecutionAlreadyExists: the id is used.
        """

    async def finish(self, output: bytes, retention_ms: int | None) -> None:
        """Complete the execution."""

    async def continue_as_new(
        self, data: bytes, timeout_ms: int | None, received: Collection[str], limits: str
    ) -> None:
        """End the run, and begin the next one with this input and an empty history.

        Args:
            timeout_ms: the time that the next run has.
            limits: those of the next run.
            received: names of the events that the body has received. The others become events of the next run.
        """

    async def fail(self, error: bytes, retention_ms: int | None) -> None:
        """Fail the execution."""

    async def compensate(self, failure: bytes) -> tuple[int, int]:
        """Begin the on_failure body: from now on this port reads and writes the records of that body.

        Returns the time of its clock at the beginning, in ms, and the number of the newest completion.
        """
        ...

    async def retry(self, delay_ms: int, note: bytes) -> None:
        """Schedule the next attempt of the execution, in which failed steps run again."""

    async def release(self, delay_ms: int | None) -> None:
        """Return the body to its queue, at once or after a delay."""

    async def hold(self, delay_ms: int, reason: str) -> None:
        """Leave the body to other code: it is tried again after a delay, and when a worker with such code starts."""


class StepPort(EmitPort, Protocol):
    """The transitions of a claimed step."""

    async def settle(self, record: bytes) -> None:
        """Record the step's final result."""

    async def postpone(self, failed: int, delay_ms: int | None, note: bytes = b"", queued_ms: int = 0) -> None:
        """Return the step to its queue, at once or after a delay.

        Args:
            failed: how many of its attempts have failed.
            note: describes the last attempt, if it has just failed.
            queued_ms: moves the deadline that its attempts share.
        """

    async def hold(self, failed: int, delay_ms: int, reason: str) -> None:
        """Leave the step to a worker with other code; `failed` of its attempts have failed."""
