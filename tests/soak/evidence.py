"""What a run leaves to judge by: its history, its traces, and all keys of Redis when everything has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tests.snapshot import Snapshot
from tests.soak.app import Receipt, fulfil
from tests.soak.history import Acknowledged, Trace
from tests.soak.orders import Order
from zart_redis.error_codec import recorded_summary
from zart_redis.handlers import definition_of

_HANDLER = definition_of(fulfil)


@dataclass(frozen=True, slots=True)
class Final:
    """An execution as it ended. Each has one run."""

    status: str
    finished: int
    """In ms."""
    error: str
    order: Order
    receipt: Receipt | None
    records: Mapping[str, bytes]
    event: bytes | None
    """As the store keeps it."""


@dataclass(frozen=True)
class Evidence:
    acknowledged: Sequence[Acknowledged]
    traces: Sequence[Trace]
    snapshot: Snapshot
    redis_deaths: Sequence[int]
    """In ms."""
    were_frozen: set[int]
    """Process ids: such a worker may, when it comes back, run what it was about to, though others have done it."""
    excused: set[int] = field(default_factory=set)
    """Process ids: what these have begun may be begun again by others."""

    @cached_property
    def executions(self) -> dict[str, Final]:
        hashes = self.snapshot.hashes
        return {key[2:]: _final(key[2:], hashes) for key in hashes if key.startswith("x:")}


def _final(id: str, hashes: Mapping[str, Mapping[str, bytes]]) -> Final:
    x, output = hashes[f"x:{id}"], hashes[f"x:{id}"].get("output")
    return Final(
        x["status"].decode(),
        int(x.get("finished", b"0")),
        repr(recorded_summary(x["error"])) if "error" in x else "",
        _HANDLER.input.decode(x["input"], "the input"),
        None if output is None else _HANDLER.output.decode(output, "the output"),
        hashes.get(f"r:{id}:1", {}),
        hashes.get(f"e:{id}:1", {}).get("go"),
    )
