"""What the model keeps: an execution and its scheduled steps as plain objects, whose identity is their fence."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

LIVE = ("scheduled", "running", "waiting")


class Refused(Exception):
    """The claim is stale: its transition changes nothing."""


@dataclass(eq=False)
class Entry:
    """Work in a queue; of those that come back (`back`) each is read before any other."""

    work: Execution | Child
    back: bool
    reader: str = ""


@dataclass(eq=False)
class Claim:
    """A worker's hold on a body or on a scheduled step; it lasts until anything else moves that on."""

    worker: str


class Wait(NamedTuple):
    """What wakes a parked body: a sleep (s), an event (w), a retry (a), a delayed start (d), another worker (u) when
    due, or the end of a pause rule (p)."""

    letter: str
    due: int | None = None
    rule: str = ""

    def is_due(self, now: int) -> bool:
        return self.due is not None and self.due <= now


class Event(NamedTuple):
    payload: bytes
    delivered: bool
    at: int


@dataclass(frozen=True)
class Rule:
    """A pause rule; what is None matches all."""

    id: str
    execution: str | None = None
    task: str | None = None
    step: str | None = None
    extend: bool = False


@dataclass(eq=False)
class Child:
    """A scheduled step that has not ended."""

    parent: Execution
    name: str
    spec: bytes
    timeout: int | None
    entry: Entry | None = None
    claim: Claim | None = None
    attempts: int = 0
    crashes: int = 0
    deadline: int | None = None
    due: int | None = None
    """When its next attempt is queued."""
    held: str | None = None


@dataclass(eq=False)
class Execution:
    """One run. Records are kept by scope, of all runs; events by run."""

    id: str
    run: int
    task: str
    queue: str
    input: bytes
    created: int
    records: defaultdict[str, dict[str, bytes]]
    events: defaultdict[int, dict[str, Event]]
    past: dict[int, str]
    """The final status of each earlier run."""
    status: str = "scheduled"
    attempt: int = 1
    compensates: bool = False
    since: int | None = None
    """When it was last taken up again after it had failed."""
    entry: Entry | None = None
    claim: Claim | None = None
    records_at_claim: int = 0
    crashes: int = 0
    doom: str = ""
    deadline: int | None = None
    waits: dict[str, Wait] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    """Group -> the scheduled steps it still waits for."""
    children: dict[str, Child] = field(default_factory=dict)
    finishing: int | None = None
    """The retention of a body that has returned, and waits for scheduled steps to end."""
    held: str | None = None
    """The pause rule that keeps it from being claimed."""
    remaining: int | None = None
    """What was left of the deadline when a pause rule stopped its clock."""
    output: bytes | None = None
    error: bytes | None = None
    failure: bytes | None = None
    expires: int | None = None

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def scope(self) -> str:
        return f"{self.run}f" if self.compensates else str(self.run)

    @property
    def first_due(self) -> int | None:
        dues = [self.deadline, *(wait.due for wait in self.waits.values())]
        return min((due for due in dues if due is not None), default=None)

    def rules(self) -> set[str]:
        """The pause rules that hold it."""
        return {wait.rule for wait in self.waits.values() if wait.rule} | ({self.held} if self.held else set())
