"""What both parts of the demo use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from zart_redis.client.history import StepDetail
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.worker.pool import Pool


@dataclass(frozen=True, slots=True)
class Stage:
    """What a part of the demo needs."""

    console: Console
    folder: Path
    scheduler: DurableScheduler
    pool: Pool


async def recorded_steps(stage: Stage, execution_id: str) -> dict[str, StepDetail]:
    """The recorded steps of an execution, by name."""
    return {step.name: step for step in (await stage.scheduler.detail(execution_id)).steps}
