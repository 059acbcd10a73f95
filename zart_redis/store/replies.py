"""What a worker shows at a transition, and what the transitions return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from zart_redis.layout import Cause, MailField
from zart_redis.model import Unreadable


class Held(NamedTuple):
    """What a worker shows at each transition of a body that it holds."""

    execution_id: str
    fence: str
    scope: str
    ack: str
    """What was last acknowledged to it since its claim; see `scripts/lib/fence.lua`."""


class HeldStep(NamedTuple):
    """What a worker shows at each transition of a scheduled step that it holds."""

    execution_id: str
    fence: str
    scope: str
    queue: str
    entry: str
    name: str


class HeldWork(NamedTuple):
    """A body or a scheduled step that needs other code: its execution, since when in ms, and why."""

    execution_id: str
    since: int
    reason: str


class Started(NamedTuple):
    run: int | None
    """None if the id is used, and the options refuse that."""
    is_new: bool
    """False if it is the run that was there."""
    status: str


class Cancelled(NamedTuple):
    was_live: bool
    status: str | None
    """Its final status if it had already ended; None if there is no such execution."""


class Described(NamedTuple):
    """An execution and what it waits for."""

    fields: dict[str, bytes]
    waits: dict[tuple[str, str], int | None]
    """The registered waits, and when they are due in ms."""
    awaited: dict[str, str]
    """Some of the scheduled steps that it waits for: why the last worker could not run each, or ""."""
    counter: str
    """The counter of a limit in whose line it is, or ""."""
    place: int | None
    """Its place there, from 1."""


class Rerun(NamedTuple):
    """The new run, and the recorded names that run again, are preserved, and are preserved although they were recorded
    after one that runs again."""

    run: int
    rerun: list[str]
    preserved: list[str]
    stale: list[str]


class CounterRow(NamedTuple):
    """A counter of a limit, with the numbers that count for it."""

    counter: str
    held: int
    waiting: int
    concurrency: int | None
    rate: str
    """As it is stored; "" for none."""


class Mail(NamedTuple):
    """What must reach another execution."""

    number: int
    parts: Mapping[str, bytes]
    """By the names of `MailField`."""

    def part(self, field: MailField) -> bytes:
        return self.parts.get(field, b"")

    @property
    def child(self) -> str:
        return self.part(MailField.CHILD).decode()

    @property
    def parent(self) -> bytes:
        """As `Field.PARENT` of the child."""
        return self.part(MailField.PARENT)


class Due(NamedTuple):
    """How many timers were fired, when more is due (None if nothing is), and Redis's time in ms."""

    fired: int
    next_timer: int | None
    next_expiry: int | None
    now: int
    recurring: list[str]
    """Recurring executions whose tick is to be handled."""
    mails: list[Mail]
    """To be delivered."""
    unreadable: list[Unreadable]


class Heartbeat(NamedTuple):
    alive: bool
    next_end: int | None
    """ms until the next lease of another worker, or this one's, ends."""
    dead: list[str]


class Death(NamedTuple):
    """How a worker was lost, and that in words."""

    cause: Cause
    what: str


class Parked(NamedTuple):
    """What became of a body, Redis's time in ms, and what others have completed: (letter of `News`, name, record), and
    the number up to which that is all."""

    state: Literal["parked", "held", "ready"]
    now: int
    seen: int
    completions: list[tuple[str, str, bytes]]


class OnFailure(NamedTuple):
    """The beginning of an on_failure body."""

    scope: str
    clock_base: int
    completions: int


class Upgraded(NamedTuple):
    cursor: str
    """Where to resume in a large key; "0" at its end."""
    large_keys: list[str]
    """Still to be upgraded, in separate calls."""


class StreamPage(NamedTuple):
    """Items of a stream: the cursor and the fields of each, see `layout.ItemField`."""

    status: str
    """That of the execution."""
    has_more: bool
    items: list[tuple[str, dict[str, bytes]]]


class RunRows(NamedTuple):
    """What is stored of one body of a run."""

    records: dict[str, bytes]
    steps: dict[str, tuple[int, bytes, bytes]]
    """Scheduled steps that have not ended: the failed attempts, and why the last worker could not run it, and the id of
    its child, or b""."""
    log: list[bytes]
