"""What a workload measures: figures, each with one value a round and, where there is one, a goal."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.scene import Scene

Round: TypeAlias = dict[str, float]
"""The values of one round, by the names of the figures."""


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def is_met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True, slots=True)
class Workload:
    """A program: `measure` sets its scene up once, and answers one `Round` for each round that the scene wants."""

    name: str
    about: str
    figures: Sequence[Figure]
    measure: Callable[[Scene], Awaitable[list[Round]]]


def ratio(name: str, *, at_least: float | None = None, at_most: float | None = None) -> Figure:
    return Figure(name, "x", at_least, at_most)


def median(rounds: Sequence[Round], name: str) -> float:
    return statistics.median(each[name] for each in rounds)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
