"""Rehearsing: bodies are thrown away after each step, and every replay must ask for the same as the pass before it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from zart_redis.errors import ReplayMismatch, ZartError
from zart_redis.registry import Call

RULE = (
    "A body must do the same at every replay: put what is random, what depends on the time, and what is read from "
    "outside into a step, `zart.capture` or `zart.now`"
)


class NotReplayable(ReplayMismatch):
    """A replay of a body did not do what an earlier pass of it did."""

    def __str__(self) -> str:
        return f"{self.recorded}; in a replay {self.requested}. {RULE}"


class Rehearsal:
    """See `engine.ports.Rehearsal`."""

    def __init__(self) -> None:
        self.mistakes: list[NotReplayable] = []
        self._calls: dict[tuple[str, str], tuple[str, bytes, str]] = {}
        self._outputs: dict[str, bytes] = {}

    def asks(self, body: str, call: Call[Any, Any]) -> None:
        now = call.definition.name, _encoded(call), _description(call)
        first = self._calls.setdefault((body, call.name), now)
        if now[:2] != first[:2]:
            raise self._mistake(call.name, f"the body of {body} called {first[2]}", f"it called {now[2]}")

    def skipped(self, body: str, records: Collection[str], asked: Collection[str]) -> Exception | None:
        missing = sorted(set(records) - set(asked))
        if not missing:
            return None
        others = ", ".join(sorted(map(repr, set(asked) - set(records)))) or "nothing more"
        recorded = f"the body of {body} recorded {', '.join(map(repr, missing))}"
        return self._mistake(missing[0], recorded, f"it asked for {others} instead")

    def returns(self, body: str, output: bytes) -> bool:
        first = self._outputs.setdefault(body, output)
        if first is output:
            return True
        if first != output:
            raise self._mistake("", f"the body of {body} returned one value", "it returned another")
        return False

    def _mistake(self, name: str, before: str, after: str) -> NotReplayable:
        mistake = NotReplayable(name, before, after)
        self.mistakes.append(mistake)
        return mistake


def _encoded(call: Call[Any, Any]) -> bytes:
    """What of the arguments can be compared."""
    try:
        return call.definition.parameters.encode(call.args, call.kwargs, "the arguments")
    except ZartError:
        return b""  # a step that runs in place may be given anything, such as a client of some service


def _description(call: Call[Any, Any]) -> str:
    arguments = [repr(value) for value in call.args]
    arguments += [f"{name}={value!r}" for name, value in call.kwargs.items()]
    return f"step {call.definition.name!r} as {call.name!r} with ({', '.join(arguments)})"
