"""Testing your own handlers: `async with zart_redis.testing.Harness([checkout]) as h: ...`"""

from zart_redis.testing.clock import ManualClock
from zart_redis.testing.harness import Harness, StillRunning
from zart_redis.testing.rehearsal import NotReplayable

__all__ = ["Harness", "ManualClock", "NotReplayable", "StillRunning"]
