"""The order in which a body learns of completions: by their numbers, one at a time, the same at each replay.

The store numbers each completion of a run when it records it. Recorded completions that the body
awaits are delivered in the order of their numbers. A number is used only when all lower ones are known, because others
(timers, events, scheduled steps) record completions too, of which this worker may not have heard yet.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Completions(Generic[K]):
    """Completions by the call that they end.

    Invariants:
        Every completion numbered up to `seen` is known.
        A key is in the heap if it is awaited and known.
    """

    def __init__(self, seen: int = 0) -> None:
        self.seen = seen
        """All completions up to this number are known."""
        self._ahead: set[int] = set()
        """Numbers that are known above a gap."""
        self._known: dict[K, int] = {}
        self._awaited: set[K] = set()
        self._heap: list[tuple[int, int, K]] = []
        self._sequence = itertools.count()

    @property
    def has_gap(self) -> bool:
        """Whether others have recorded completions that are not known here."""
        return bool(self._ahead) or self.next_number > self.seen

    @property
    def next_number(self) -> int:
        """The lowest number of what is awaited and known; 0 if there is none."""
        return self._heap[0][0] if self._heap else 0

    def add(self, key: K, number: int) -> None:
        """A completion is known. Of two for one key, such as an event and its timeout, the lower number counts."""
        first = self._known.get(key)
        if first is None or number < first:
            self._known[key] = number
            if key in self._awaited:
                self._push(number, key)

    def see(self, number: int) -> None:
        """A number is known, for any completion; 0 marks a completion that needs no number."""
        if number > self.seen:
            self._ahead.add(number)
            while self.seen + 1 in self._ahead:
                self.seen += 1
                self._ahead.discard(self.seen)

    def see_all(self, number: int) -> None:
        """All up to a number are known."""
        if number > self.seen:
            self.seen = number
            self._ahead = {ahead for ahead in self._ahead if ahead > number}
            self.see(number + 1 if number + 1 in self._ahead else 0)

    def expect(self, key: K) -> None:
        """The body waits for this."""
        self._awaited.add(key)
        number = self._known.get(key)
        if number is not None:
            self._push(number, key)

    def forget(self, key: K) -> None:
        """The body does not wait for this any more."""
        self._awaited.discard(key)

    def next(self) -> K | None:
        """The key of the completion to deliver now, which is taken out; None if there is none, or a gap before it."""
        while self._heap:
            number, _, key = self._heap[0]
            if key not in self._awaited:
                heapq.heappop(self._heap)
                continue
            if number > self.seen:
                return None
            heapq.heappop(self._heap)
            self._awaited.discard(key)
            return key
        return None

    def _push(self, number: int, key: K) -> None:
        heapq.heappush(self._heap, (number, next(self._sequence), key))
