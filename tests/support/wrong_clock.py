"""A process whose wall clock is wrong: `time.time()` and `datetime.now()` are shifted, the monotonic clock is not."""

from __future__ import annotations

import datetime
import sys
import time


def shift_clock(seconds: float) -> None:
    """Shift the clock of this process, also for the modules of zart_redis that are loaded already."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(time.time(), tz)

    for name, module in list(sys.modules.items()):
        if name.startswith("zart_redis") and getattr(module, "datetime", None) is datetime.datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
