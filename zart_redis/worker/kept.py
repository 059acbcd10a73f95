"""Parked bodies that a worker keeps in memory.

If it claims such a body next, and nobody has held it in between, the body resumes without a replay. They can be dropped
at any time without harm.
"""

from __future__ import annotations

from collections import OrderedDict

from zart_redis.engine.lifecycle import BodyRun
from zart_redis.model import BodyClaim


class KeptBodies:
    """The parked bodies of a worker, up to `limit`: the ones parked last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._runs: OrderedDict[tuple[str, str, str], tuple[str, BodyRun]] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether bodies are kept at all."""
        return self._limit > 0

    def put(self, prefix: str, claim: BodyClaim, run: BodyRun) -> None:
        """Keep a body that was parked under this claim, if it is to be kept."""
        key = prefix, claim.execution_id, claim.scope
        self._drop(key)
        self._runs[key] = _epoch(claim.fence), run
        while len(self._runs) > self._limit:
            self._drop(next(iter(self._runs)))

    def take(self, prefix: str, claim: BodyClaim) -> BodyRun | None:
        """The body of a claim, if it is kept as it was parked."""
        key = prefix, claim.execution_id, claim.scope
        epoch, run = self._runs.get(key, ("", None))
        if run is not None and claim.kept_at and epoch == _epoch(claim.kept_at):
            del self._runs[key]
            return run
        self._drop(key)
        return None

    def clear(self) -> None:
        for key in list(self._runs):
            self._drop(key)

    def _drop(self, key: tuple[str, str, str]) -> None:
        _, run = self._runs.pop(key, ("", None))
        if run is not None:
            run.close()


def _epoch(fence: str) -> str:
    return fence.partition("@")[0]
