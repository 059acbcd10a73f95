"""The identity of a worker, and the limits of everything that runs in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zart_redis.engine.threads import StepThreads
from zart_redis.registry import Call, StepDefinition


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Identity and limits of a worker."""

    worker: str
    code: str
    """Identifies the code that the worker runs."""
    namespace: str
    max_payload: int
    """Maximum size of an encoded value in bytes."""
    max_deliveries: int
    """Number of counted deaths that fail a body or a scheduled step."""
    secrets: tuple[str, ...]
    """Keys that sign ad-hoc steps."""
    threads: StepThreads
    fakes: Mapping[str, StepDefinition] = field(default_factory=dict)
    """Fakes that a test runs in place of declared steps, by name."""
    max_stream: int = 10_000
    """How many items of a stream are kept."""
    max_mailbox: int = 10_000
    """How many messages may wait for an execution."""
    retention_ms: int = 0
    """How long a finished execution is kept, unless its handler says otherwise."""

    def resolve(self, call: Call[Any, Any]) -> Call[Any, Any]:
        """The call, with the fake of its step if there is one."""
        fake = self.fakes.get(call.definition.name)
        if fake is None or call.definition.is_adhoc:
            return call
        return Call(fake, call.name, call.args, call.kwargs, call.origin)
