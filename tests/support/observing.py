"""An observer that keeps everything it is told."""

from typing import Any

from zart_redis.engine.observer import EVENTS, Observer


class Recorder(Observer):
    """The events in order, each with its arguments."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.told]

    def of(self, event: str) -> list[tuple[Any, ...]]:
        """The arguments of each such event."""
        return [arguments for told, arguments in self.told if told == event]


def _recording(event: str) -> Any:
    def method(self: Recorder, *arguments: Any) -> None:
        self.told.append((event, arguments))

    return method


for event in EVENTS:
    setattr(Recorder, event, _recording(event))
