"""Testing your own handlers: `async with zart_redis.testing.Harness([checkout]) as h: ...`"""

from typing import TYPE_CHECKING

from zart_redis.lazy import lazy_exports

if TYPE_CHECKING:
    from zart_redis.testing.clock import ManualClock
    from zart_redis.testing.harness import Harness, StillRunning
    from zart_redis.testing.mistakes import ForgottenAwait, UnknownStep, UnknownVersion
    from zart_redis.testing.rehearsal import NotReplayable
    from zart_redis.testing.replaying import HistoryMismatch, replay

__all__ = [
    "ForgottenAwait",
    "Harness",
    "HistoryMismatch",
    "ManualClock",
    "NotReplayable",
    "StillRunning",
    "UnknownStep",
    "UnknownVersion",
    "replay",
]

if not TYPE_CHECKING:  # pytest imports this package with its plugin, in every project that has it installed
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clock": "ManualClock",
            "harness": "Harness StillRunning",
            "mistakes": "ForgottenAwait UnknownStep UnknownVersion",
            "rehearsal": "NotReplayable",
            "replaying": "HistoryMismatch replay",
        },
    )
