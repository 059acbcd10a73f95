"""Mistakes of a test, or of the handlers that it tests, that would otherwise go unnoticed."""

from __future__ import annotations

from zart_redis.calls import unused_listeners
from zart_redis.engine.observer import Claim, Observer, Release, ReleaseReason
from zart_redis.engine.scope import Scope
from zart_redis.errors import UnknownTask, ZartError
from zart_redis.model import ExecutionInfo


class ForgottenAwait(ZartError):
    """A step was called, and the call was never awaited, scheduled or passed on.

    Attributes:
        step: the name of the call.
        place: "<file>:<line>" of the call.
    """

    def __init__(self, step: str, place: str) -> None:
        super().__init__(step, place)
        self.step = step
        self.place = place

    def __str__(self) -> str:
        return f"the call of step {self.step!r} at {self.place} was never awaited: did you forget await?"


class UnknownStep(ZartError):
    """A scheduled step is not declared in this process."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        return f"scheduled step {self.step!r} cannot run here: {self.reason}"


class UnknownVersion(ZartError):
    """A run is bound to a version that no handler of the harness runs."""

    def __init__(self, task: str, version: int) -> None:
        super().__init__(task, version)
        self.task = task
        self.version = version

    def __str__(self) -> str:
        return f"no handler here runs version {self.version} of task {self.task!r}: see version and compatible_from"


class Mistakes(Observer):
    """Collects the mistakes of one harness. As a context manager it also listens for calls that were never used."""

    def __init__(self, namespace: str) -> None:
        self._found: list[ZartError] = []
        self._unserved: set[tuple[str, int]] = set()
        self._is_ours = f"{namespace}:"

    def __enter__(self) -> Mistakes:
        unused_listeners.append(self._call_unused)
        return self

    def __exit__(self, *_: object) -> None:
        unused_listeners.remove(self._call_unused)

    def add(self, mistake: ZartError) -> None:
        self._found.append(mistake)

    def unserved(self, kinds: set[tuple[str, int]]) -> None:
        """Tasks and versions that the harness has no handler for, and that work waits for at present; 0 is any version.
        Each is a mistake once, for as long as work waits for it."""
        for task, version in kinds - self._unserved:
            self.add(UnknownVersion(task, version) if version else UnknownTask(task))
        self._unserved = kinds

    def raise_first(self) -> None:
        """Raise the first mistake that was found, and forget all of them."""
        if self._found:
            first, self._found = self._found[0], []
            raise first

    def released(self, claim: Claim, release: Release) -> None:
        """Held work waits for other code, which will not arrive in a test."""
        if release.reason is ReleaseReason.UNKNOWN_TASK:
            self.add(UnknownTask(claim.task))
        elif release.reason is ReleaseReason.UNKNOWN_STEP:
            self.add(UnknownStep(getattr(claim, "name", ""), release.detail))
        elif release.reason is ReleaseReason.CODE_MISMATCH and isinstance(release.error, ZartError):
            self.add(release.error)

    def _call_unused(self, step: str, file: str, line: int, scope: Scope | None) -> bool:
        if scope is None:
            return False
        info = scope if isinstance(scope, ExecutionInfo) else scope.info
        is_ours = info.idempotency_key.startswith(self._is_ours)
        if is_ours:
            self.add(ForgottenAwait(step, f"{file}:{line}"))
        return is_ours
