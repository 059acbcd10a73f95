"""What is registered with the store, to be ended by it, and what is still to be registered."""

from __future__ import annotations

from zart_redis.engine import journal
from zart_redis.engine.ports import WaitRequest
from zart_redis.engine.waits import Key


class Registrations:
    """The waits that the store ends for a body: sleeps, events, timers, groups, delays, pauses.

    Args:
        inherited: what an earlier pass has registered, and when it is due in ms.
    """

    def __init__(self, inherited: dict[Key, int | None]) -> None:
        self._inherited = inherited
        """Registered, but not asked for in this pass yet."""
        self._registered: set[Key] = set()
        self._new: dict[Key, WaitRequest] = {}
        self._gone: set[Key] = set()

    def __bool__(self) -> bool:
        """Whether there is something to register."""
        return bool(self._new or self._gone)

    def require(self, kind: str, name: str, argument: str = "") -> None:
        """The store is to end this."""
        key = kind, name
        if key in self._registered:
            return
        self._gone.discard(key)
        due = self._inherited.pop(key, _NOTHING)
        if due is _NOTHING or (kind == journal.TIMER and argument != f"@{due}"):
            self._new[key] = WaitRequest(kind, name, argument)
        else:
            self._registered.add(key)

    def withdraw(self, key: Key) -> None:
        """Nothing waits for this any more."""
        self._new.pop(key, None)
        if key in self._registered:
            self._registered.discard(key)
            if key[0] != journal.GROUP:  # the last of its steps wakes the body for nothing
                self._gone.add(key)

    def take_back(self, key: Key) -> None:
        """The store has ended this, which the body has not seen, and does not wait for any more."""
        self._gone.add(key)

    def ended(self, key: Key) -> None:
        """The store has ended this, or forgotten it."""
        self._new.pop(key, None)
        self._registered.discard(key)

    def ended_kind(self, kind: str) -> None:
        """The store may have ended all of a kind."""
        self._registered = {key for key in self._registered if key[0] != kind}

    def take(self, *, all_asked: bool) -> tuple[list[WaitRequest], list[Key]]:
        """What to register and what to forget. Once the body has asked for all that it waits for, what an earlier pass
        has registered besides is forgotten."""
        if all_asked:
            self._gone |= self._inherited.keys()
            self._inherited = {}
        new, gone = list(self._new.values()), sorted(self._gone)
        self._registered |= self._new.keys()
        self._new, self._gone = {}, set()
        return new, gone


_NOTHING = object()
