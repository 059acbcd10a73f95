"""What the model keeps: an execution and its scheduled steps as plain objects, whose identity is their fence."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from zart_redis.layout import StartOption
from zart_redis.store.decoding import write_tags

LIVE = ("scheduled", "running", "waiting")


ABSENT = object()


class Loaded(NamedTuple):
    """What a worker reads of a body."""

    records: dict[str, bytes]
    events: dict[str, Event]
    steps: set[str]
    waits: dict[str, int | None]
    completions: int


@dataclass
class Hold:
    """How often in a row, and since when, work has been held for want of other code, and by which."""

    times: int
    since: int
    code: str
    reason: str


class StartOptions(NamedTuple):
    """Durations in ms."""

    if_live: str = ""
    if_finished: str = ""
    max_delay: int | None = None
    expires: int | None = None
    retention: int = 0
    tag: str = ""
    """Its value. The model knows of no tags: the invariants compare index and executions."""

    @property
    def stored(self) -> dict[StartOption, str | int | bytes]:
        """As the transition takes them."""
        found: dict[StartOption, str | int | bytes | None] = {
            StartOption.IF_LIVE: self.if_live or None,
            StartOption.IF_FINISHED: self.if_finished or None,
            StartOption.MAX_DELAY: self.max_delay,
            StartOption.EXPIRES: None if self.expires is None else f"{self.expires},{self.retention}",
            StartOption.TAGS: write_tags({"tag": self.tag, "other": "x"}) if self.tag else None,
        }
        return {option: value for option, value in found.items() if value is not None}


class Refused(Exception):
    """The claim is stale: its transition changes nothing."""


@dataclass(eq=False)
class Entry:
    """Work in a lane of a queue: "!" came back and is read before "", new work; "?" are suspects."""

    work: Execution | Child
    lane: str
    reader: str = ""


@dataclass
class Blame:
    """What a body or a step is blamed for; of each death its worker and whether it counts."""

    suspect: bool = False
    counted: int = 0
    convicted: bool = False
    records: int = 0
    together: list[str] = field(default_factory=list)
    deaths: list[tuple[str, bool]] = field(default_factory=list)


@dataclass(eq=False)
class Claim:
    """A worker's hold on a body or on a scheduled step; it lasts until anything else moves that on."""

    worker: str
    has_begun: bool = False
    before: Hold | None = None
    """How it was held before this claim."""
    is_kept: bool = False
    """The worker still has the body in memory, and is told only what is new."""


class Event(NamedTuple):
    payload: bytes
    delivered: bool
    number: int
    at: int


@dataclass
class Mailbox:
    """The messages of an id, over all runs."""

    number: int = 0
    """How many messages, and waits for one, have been numbered."""
    messages: set[tuple[str, int, bytes]] = field(default_factory=set)
    """Channel, number, payload."""
    keys: set[str] = field(default_factory=set)

    def next(self) -> int:
        self.number += 1
        return self.number


class News(NamedTuple):
    """A completion that the worker of a body has not recorded itself."""

    number: int
    kind: str
    name: str


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
    own_queue: str
    entry: Entry | None = None
    claim: Claim | None = None
    attempts: int = 0
    blame: Blame | None = None
    deadline: int | None = None
    due: int | None = None
    """When its next attempt is queued."""
    paused_by: str | None = None
    hold: Hold | None = None
    """The last one, since when no attempt of it has been made."""
    unrunnable: bool = False
    """No worker has claimed it since it was held."""

    @property
    def queue(self) -> str:
        return self.own_queue or self.parent.queue


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
    blame: Blame | None = None
    fail_reason: str = ""
    deadline: int | None = None
    waits: dict[str, int | None] = field(default_factory=dict)
    """What will end by itself of what the body waits for, and when: the letter of a sleep (s), an event (w), a message
    (m), a timer of asyncio (t), a retry (a) or a pause rule (p) with a name, a delayed start (d), another worker (u),
    other code (h), the end of a run that has not begun (e)."""
    completions: int | None = None
    """How many completions have been numbered."""
    news: list[News] = field(default_factory=list)
    clock_base: int | None = None
    """When the clock of the body began, if not at the first claim."""
    started: int | None = None
    parked_at: int | None = None
    """The number of the newest completion when the body was last parked."""
    hold: Hold | None = None
    kept_by: str = ""
    """The worker that keeps the parked body in memory."""
    receivers: set[tuple[str, int, str]] = field(default_factory=set)
    """Who waits for a message: channel, number, name."""
    groups: dict[str, set[str]] = field(default_factory=dict)
    """Group -> the scheduled steps it still waits for."""
    children: dict[str, Child] = field(default_factory=dict)
    pending_retention: int | None = None
    """The retention of a body that has returned, and waits for scheduled steps to end."""
    paused_by: str | None = None
    """The pause rule that keeps it from being claimed."""
    paused_deadline_ms: int | None = None
    """What was left of the deadline when a pause rule stopped its clock."""
    output: bytes | None = None
    error: bytes | None = None
    failure: bytes | None = None
    expires: int | None = None
    lapses: tuple[int, int] | None = None
    """When it is cancelled unless it has begun, and its retention then."""
    reason: str = ""
    counters: tuple[str, ...] = ()
    """The counters of limits that it begins under."""
    held: int = 0
    """Of how many of them it holds a slot."""
    asked: int = 0
    """One more than that while it is in a line."""
    has_unknown_counters: bool = False
    """The worker that has claimed it is to find out its counters."""

    @property
    def limits(self) -> str:
        """As it is stored."""
        if not self.counters:
            return "0/0/0/" if self.has_unknown_counters else ""
        counters = "".join(f"{counter}\n" for counter in self.counters)
        return f"{self.held}/{self.asked}/{len(self.counters)}/{counters}"

    @property
    def expiry(self) -> str:
        """As it is stored."""
        return "{},{}".format(*self.lapses) if self.lapses else ""

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def scope(self) -> str:
        return f"{self.run}f" if self.compensates else str(self.run)

    @property
    def first_due(self) -> int | None:
        dues = [self.deadline, *self.waits.values()]
        return min((due for due in dues if due is not None), default=None)

    def rules(self) -> set[str]:
        """The pause rules that hold it."""
        waited = {wait[1:] for wait in self.waits if wait.startswith("p")}
        return waited | {self.paused_by} if self.paused_by else waited
