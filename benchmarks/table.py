"""A workload's figures as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.figures import Round, Workload, median
from benchmarks.scene import Scene


def as_table(workload: Workload, rounds: Sequence[Round], scene: Scene) -> Table:
    """A row a figure: the median of the rounds, the least and the most, and the goal."""
    conditions = [scene.server.version, f"{len(rounds)} rounds"]
    conditions += [f"{short:,} instead of {full:,}" for full, short in scene.reduced.items()]
    table = Table(title=f"{workload.name}: {workload.about} ({', '.join(conditions)})", title_justify="left")
    table.add_column("figure")
    for heading in ("median", "least", "most"):
        table.add_column(heading, justify="right")
    table.add_column("", justify="left")
    table.add_column("goal", justify="right")
    for figure in workload.figures:
        values = [each[figure.name] for each in rounds]
        middle = median(rounds, figure.name)
        goal = figure.goal and f"[{'green' if figure.is_met(middle) else 'red'}]{figure.goal}[/]"
        spread = [readable(value) for value in (middle, min(values), max(values))]
        table.add_row(figure.name, *spread, figure.unit, goal)
    return table


def as_json(workload: Workload, rounds: Sequence[Round]) -> dict[str, Any]:
    return {
        figure.name: {
            "unit": figure.unit,
            "median": median(rounds, figure.name),
            "rounds": [each[figure.name] for each in rounds],
            "goal": figure.goal,
        }
        for figure in workload.figures
    }


def readable(value: float) -> str:
    """Three digits that count, and no more."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
