"""The names of the durable calls of a pass, each of which is a key, and the end of a pass whose names do not fit."""

from __future__ import annotations

from typing import NoReturn

from zart_redis.engine import journal
from zart_redis.engine.holds import MISMATCHES
from zart_redis.engine.observer import CodeMismatch, PassEnd
from zart_redis.engine.passes import Pass
from zart_redis.engine.unwinding import BodyClosed
from zart_redis.errors import DuplicateStepName, HistoryTooLong, ReplayMismatch, ZartError
from zart_redis.names import check_name
from zart_redis.registry import StepDefinition


class NamedCalls(Pass):
    """A pass that checks the names of its calls."""

    definitions: dict[str, StepDefinition]
    """The steps of this pass, by the names of their calls."""

    async def _use_for(self, name: str, kind: str) -> None:
        """Use a name for a call of this kind."""
        self._use(name)
        if (mismatch := self._mismatch(name, kind)) is not None:
            await self._stop(CodeMismatch(mismatch))

    def _mismatch(self, name: str, kind: str) -> ZartError | None:
        """Why a call of this kind cannot have this name: another kind of call has recorded it."""
        record = self.history.records.get(name)
        try:
            if record is not None:
                journal.expect(name, record, kind)
            elif name in self.history.scheduled:
                raise ReplayMismatch(name, "scheduled step", kind)
        except MISMATCHES as error:
            return error
        return None

    def _halt(self, end: PassEnd) -> None:
        """End the pass: the present callback is the last code of the body that runs."""
        if not self.loop.is_closed():
            self.loop.halt()
            self._end(end)

    async def _stop(self, end: PassEnd) -> NoReturn:
        """End the pass here."""
        if not self.loop.is_closed():
            self._halt(end)
            await self.loop.create_future()
        raise BodyClosed

    def _use(self, name: str, definition: StepDefinition | None = None) -> str:
        """Names are keys: each may be used once in a pass."""
        if self.loop.is_closed():
            return name  # the call awaits only its end
        if name in self._names:
            raise DuplicateStepName(name)
        check_name(name, "the name of a step")
        if self._is_full:
            raise HistoryTooLong(self._records)
        self._names.add(name)
        self.replayed.asked(name)
        self._count_record(is_new=not self.history.has_name(name))
        if definition is not None:
            self.definitions[name] = definition
        return name
