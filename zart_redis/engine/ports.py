"""What the engine asks of the store: the transitions of one claimed execution, and facts about its surroundings.

Any of the transitions raises `Fenced` when the claim has been lost; the engine then drops the work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from anyio import CapacityLimiter

from zart_redis.model import ExecutionInfo
from zart_redis.registry import Call


class WaitRequest(NamedTuple):
    """Something a body is blocked on: a kind of `journal`, its name, and how long ("" for no end)."""

    kind: str
    name: str
    argument: str


class Ready(NamedTuple):
    """A wait that has ended, and the record that ended it."""

    kind: str
    name: str
    record: bytes


class ChildRequest(NamedTuple):
    """A step to schedule."""

    name: str
    spec: bytes
    timeout_ms: int | None


class Port(Protocol):
    def now(self) -> int:
        """The store's time in ms, estimated since its last answer."""
        ...

    async def record(self, name: str, record: bytes) -> bytes | None:
        """Record a result. Answers the record that stood there first, if one did."""

    async def attempt(self, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes) -> bytes:
        """Record that a step has failed attempts; `note` is on the last one. Answers what now stands there."""
        ...

    async def schedule(self, children: Sequence[ChildRequest]) -> None:
        """Register steps for any worker; those known already are left alone."""

    async def join(self, group: str, names: Collection[str]) -> None:
        """Let the last of these scheduled steps to end wake the body."""

    async def load(self, names: Sequence[str]) -> dict[str, bytes]:
        """Read records that scheduled steps have left."""
        ...

    async def park(self, waits: Sequence[WaitRequest], hold: bool) -> list[Ready] | None:
        """Register waits. Answers those that have ended; else [] if the body is held on to, None if it is parked."""

    async def limit(self, timeout_ms: int) -> None:
        """Set the execution's deadline if it has none, counted from its start."""

    async def finish(self, output: bytes, retention_ms: int | None) -> None: ...

    async def fail(self, error: bytes, retention_ms: int | None) -> None: ...

    async def compensate(self, failure: bytes) -> None:
        """Begin the on_failure body: from now on this port reads and writes its records, none yet."""

    async def retry(self, delay_ms: int, note: bytes) -> None:
        """Put the execution off for its next attempt, in which failed steps run again."""

    async def release(self, delay_ms: int | None) -> None:
        """Hand the body back, to be claimed again at once or after a delay."""


class Rehearsal(Protocol):
    """A test's: every body is thrown away after each step it records, and its replays are compared. `body` names the
    body of one attempt of one run."""

    def asks(self, body: str, call: Call[Any, Any]) -> None:
        """A pass asks for a step. Raises ReplayMismatch if an earlier one asked for it otherwise."""

    def skipped(self, body: str, records: Collection[str], asked: Collection[str]) -> Exception | None:
        """A pass is over: what is wrong if it has not asked for all that an earlier one recorded."""

    def returns(self, body: str, output: bytes) -> bool:
        """Whether to see in one more replay that it returns the same. Raises ReplayMismatch if it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker gives to everything that runs in it."""

    worker: str
    namespace: str
    max_payload: int
    max_deliveries: int
    secrets: tuple[str, ...]
    threads: CapacityLimiter
    now: Callable[[], datetime]
    pause_rule: Callable[[ExecutionInfo, str], str | None]
    """The pause rule that holds an execution at a step, if one does."""
    rehearsal: Rehearsal | None = None
    """What a test watches replays with."""
