"""The garbage collector of a worker process."""

from __future__ import annotations

import gc

THRESHOLDS = 10_000, 50, 100
"""Bodies in progress are many objects that live for long. With Python's own 700, 10, 10 the collector looks through
them so often that it takes a quarter of the CPU time of a busy worker."""


def collect_less_often() -> None:
    """Call it once, when all is imported: what exists by then is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
