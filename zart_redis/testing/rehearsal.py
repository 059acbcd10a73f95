"""Rehearsal: each step ends the pass that ran it, and every replay must call the same steps as the pass before it."""

from __future__ import annotations

from typing import Any

from zart_redis.engine.observer import BodyPass, Observer, StepAttempt
from zart_redis.errors import ReplayMismatch, ZartError
from zart_redis.model import ExecutionInfo
from zart_redis.registry import Call

RULE = (
    "A body must make the same calls in every replay: move random values, the current time, and anything read from "
    "outside into a step, `zart.capture` or `zart.now`"
)


class NotReplayable(ReplayMismatch):
    """A replay of a body did not do what an earlier pass of it did."""

    def __str__(self) -> str:
        return f"{self.recorded}; in a replay {self.requested}. {RULE}"


class Rehearsal(Observer):
    """Replays each body after every step and once more after it has returned, and compares the passes."""

    def __init__(self) -> None:
        self.mistakes: list[NotReplayable] = []
        self._calls: dict[tuple[str, str], tuple[str, bytes, str]] = {}
        self._outputs: dict[str, bytes] = {}

    def pass_begun(self, body: BodyPass) -> None:
        if _name(body.info) in self._outputs:
            body.replay_all()

    def step_called(self, body: BodyPass, call: Call[Any, Any]) -> None:
        name = _name(body.info)
        now = call.definition.name, _encoded(call), _description(call)
        first = self._calls.setdefault((name, call.name), now)
        if now[:2] != first[:2]:
            raise self._mistake(call.name, f"the body of {name} called {first[2]}", f"it called {now[2]}")

    def step_recorded(self, attempt: StepAttempt) -> None:
        if attempt.origin is not None:
            attempt.origin.replay()

    def captured(self, body: BodyPass, name: str) -> None:
        body.replay()

    def body_blocked(self, body: BodyPass) -> None:
        missing = sorted(set(body.recorded_names) - set(body.called_names))
        if missing:
            others = ", ".join(sorted(map(repr, set(body.called_names) - set(body.recorded_names)))) or "nothing more"
            recorded = f"the body of {_name(body.info)} recorded {', '.join(map(repr, missing))}"
            raise self._mistake(missing[0], recorded, f"it asked for {others} instead")

    def body_returned(self, body: BodyPass, output: bytes) -> None:
        self.body_blocked(body)
        name = _name(body.info)
        if name not in self._outputs:
            self._outputs[name] = output
            body.replay()
        elif self._outputs[name] != output:
            raise self._mistake("", f"the body of {name} returned one value", "it returned another")

    def _mistake(self, name: str, before: str, after: str) -> NotReplayable:
        mistake = NotReplayable(name, before, after)
        self.mistakes.append(mistake)
        return mistake


def _name(info: ExecutionInfo) -> str:
    """Names one attempt of one run of a body."""
    return f"{info.idempotency_key}, attempt {info.current_attempt}"


def _encoded(call: Call[Any, Any]) -> bytes:
    """The arguments in a form that can be compared."""
    if call.definition.child is not None:
        return call.definition.child.data
    try:
        return call.definition.parameters.encode(call.args, call.kwargs, "the arguments")
    except ZartError:
        return b""  # a step in place accepts values that cannot be encoded, such as a client of some service


def _description(call: Call[Any, Any]) -> str:
    arguments = [repr(value) for value in call.args]
    arguments += [f"{name}={value!r}" for name, value in call.kwargs.items()]
    return f"step {call.definition.name!r} as {call.name!r} with ({', '.join(arguments)})"
