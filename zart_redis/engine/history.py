"""The records of a body: loaded when a pass begins, extended by completions while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zart_redis.engine import journal
from zart_redis.engine.journal import Stamp
from zart_redis.engine.ports import Completion
from zart_redis.engine.waits import Key
from zart_redis.layout import News, Record


@dataclass(slots=True)
class History:
    """The records of one body."""

    records: dict[str, bytes]
    """Records of timers, by `journal.timer_name`."""
    events: dict[str, bytes]
    scheduled: set[str]
    """Scheduled steps that have not ended."""
    registered: dict[Key, int | None]
    """Waits that the store ends, and when they are due in ms."""
    seen: int
    """The number of the newest completion."""
    clock_base: int
    """The time of the body's clock at its beginning, in ms."""
    parked_at: int | None = None
    """The number of the newest completion when the body was last parked; None if it was not, or if the body starts
    again."""
    emitted: int = 0
    """How many emissions of the body are stored."""

    def add(self, completion: Completion) -> Stamp:
        """Others have recorded a completion."""
        kind, name, record = completion
        if journal.letter_of(record) == Record.EVENT:
            self.events[name] = record[1:]
            return journal.event_stamp(record[1:])
        self.records[_recorded_name(kind, name)] = record
        return journal.stamp_of(record)

    def stamp_of(self, kind: str, name: str) -> Stamp | None:
        """When a call completed; of an event and its timeout the one that came first."""
        record = self.records.get(_recorded_name(kind, name))
        stamp = journal.stamp_of(record) if record is not None and journal.is_completion(record) else None
        if kind == journal.EVENT and name in self.events:
            delivered = journal.event_stamp(self.events[name])
            return delivered if stamp is None else min(stamp, delivered)
        return stamp

    def newest(self, steps: Iterable[str]) -> Stamp:
        """When the last of some steps completed."""
        return max(journal.stamp_of(self.records[name]) for name in steps)

    def has_name(self, name: str) -> bool:
        """Whether an earlier pass has used a name."""
        return name in self.records or name in self.events or name in self.scheduled

    def has_ended(self, step: str) -> bool:
        record = self.records.get(step)
        return record is not None and journal.is_final_step(record)

    def event_in_time(self, name: str) -> bytes | None:
        """An event, unless the wait for it timed out before."""
        event, record = self.events.get(name), self.records.get(name)
        if event is None or record is None or not journal.is_completion(record):
            return event
        return event if journal.event_stamp(event) < journal.stamp_of(record) else None


_KINDS = {
    News.STEP: journal.STEP,
    News.SLEEP: journal.SLEEP,
    News.EVENT: journal.EVENT,
    News.TIMER: journal.TIMER,
    News.MESSAGE: journal.MESSAGE,
}


def read_news(news: Iterable[tuple[str, str, bytes]]) -> list[Completion]:
    """Completions from their letters, names and records."""
    return [Completion(_KINDS[News(letter)], name, record) for letter, name, record in news]


def _recorded_name(kind: str, name: str) -> str:
    return journal.timer_name(name) if kind == journal.TIMER else name
