"""What the acts of the demo play on, and what they read of the records that steps have left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from zart_redis.client.scheduler import DurableScheduler
from zart_redis.engine.journal import decode_result, is_final_step
from zart_redis.model import from_ms
from zart_redis.store.store import Store
from zart_redis.worker.pool import Pool

STAMP_BYTES = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """All that an act needs."""

    console: Console
    folder: Path
    scheduler: DurableScheduler
    store: Store
    pool: Pool


@dataclass(frozen=True, slots=True)
class Recorded:
    """When something was recorded, by Redis's clock. Of a step also which worker did it, and in how many attempts."""

    at: datetime
    worker: str = ""
    attempts: int = 0


async def records(stage: Stage, execution_id: str, names: Sequence[str]) -> dict[str, Recorded]:
    """What is recorded under these names in the first run of an execution."""
    found = await stage.store.partition(execution_id).queries.records(execution_id, "1", names)
    return {name: _read(record) for name, record in found.items()}


def _read(record: bytes) -> Recorded:
    at = from_ms(int.from_bytes(record[-STAMP_BYTES:], "big"))
    if not is_final_step(record):
        return Recorded(at)
    result = decode_result(record)
    return Recorded(at, result.worker, result.attempts)
