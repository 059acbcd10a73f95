"""The clock of a harness, which only moves when a test moves it."""

from __future__ import annotations

import time
from datetime import datetime

from zart_redis.model import from_ms


class ManualClock:
    """Pass it to workers and clients as their `clock`. It starts at the current time, and never goes back."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms

    def move_to(self, ms: int) -> None:
        self.ms = max(self.ms, ms)

    @property
    def now(self) -> datetime:
        """The time that handlers see, in UTC."""
        return from_ms(self.ms)
