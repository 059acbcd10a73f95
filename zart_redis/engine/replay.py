"""How far a pass is beyond what earlier passes of the same body have done: until then it replays.

A body that was parked has done all that follows from the completions that were numbered by then. After a crash only the
records show: anything else may be done, and logged, again.
"""

from __future__ import annotations

from zart_redis.engine import journal
from zart_redis.engine.history import History


class Replay:
    """Follows one pass. Cheap for a body without a history."""

    def __init__(self, history: History) -> None:
        self._parked_at = history.parked_at
        self._is_over = history.parked_at is None and not (history.records or history.scheduled)
        self._is_beyond = history.parked_at is None
        """Nothing is left of what the body had received when it was parked."""
        self._undelivered = 0
        """Recorded results of calls in place that the body awaits."""
        self._unasked = set[str]()
        """Names without a completion."""
        self._completed: list[tuple[int, str]] = []
        """Names by the time of their completion, the last one at the end."""
        self._asked = set[str]()
        self.never_ends = False
        """An observer has had the pass replayed to its very end."""
        if not self._is_over:
            self._read(history)

    def _read(self, history: History) -> None:
        self._unasked |= history.scheduled
        for name, record in history.records.items():
            if journal.is_timer_name(name):
                continue
            if journal.is_completion(record):
                self._completed.append((journal.stamp_of(record).at, name))
            else:
                self._unasked.add(name)
        self._completed.sort()

    def asked(self, name: str) -> None:
        """The body has used a name."""
        if not self._is_over:
            self._asked.add(name)
            self._unasked.discard(name)

    def awaited(self) -> None:
        """The body awaits a call in place that is recorded."""
        self._undelivered += 1

    def abandoned(self) -> None:
        self._undelivered -= 1

    def delivered(self, number: int, *, in_place: bool) -> None:
        """A recorded completion is delivered; 0 is the number of one that needs none."""
        self._undelivered -= in_place
        if self._parked_at is not None and number > self._parked_at:
            self._is_beyond = True

    def rested(self) -> None:
        """The body waits for what is not recorded."""
        self._is_over = True
        self._unasked, self._asked, self._completed = set(), set(), []

    @property
    def is_behind(self) -> bool:
        """Whether the body has not asked for all that is recorded, whatever its clock says."""
        while self._completed and self._completed[-1][1] in self._asked:
            self._completed.pop()
        return not self._is_over and (bool(self._completed) or self._undelivered > 0)

    def is_active(self, now: int) -> bool:
        """Whether an earlier pass has done what the body does now, at the time of its last completion."""
        if self._is_over or not self._is_beyond:
            return self.never_ends or not self._is_over
        while self._completed and self._completed[-1][1] in self._asked:
            self._completed.pop()
        # What completed before, and was not asked for, the body no longer asks for.
        is_ahead = bool(self._completed) and self._completed[-1][0] >= now
        return self.never_ends or bool(self._unasked) or self._undelivered > 0 or is_ahead
