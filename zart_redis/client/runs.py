"""Reading the runs of an execution: all of them in short, or one with every step and attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zart_redis import names
from zart_redis.client.connection import Client, decoding_errors_for
from zart_redis.client.history import RunDetail, RunSummary
from zart_redis.client.run_history import export_run, to_builtins
from zart_redis.client.views import run_detail, run_summary
from zart_redis.errors import ExecutionNotFound, InvalidInput
from zart_redis.layout import Field
from zart_redis.store.store import Partition


class Runs(Client):
    async def runs(self, execution_id: str) -> list[RunSummary]:
        """The runs of an execution, the oldest first.

        Raises:
            ExecutionNotFound: there is no such execution.
        """
        _, runs = await self._read_runs(execution_id)
        with decoding_errors_for(execution_id):
            return [run_summary(x) for _, x in sorted(runs.items())]

    async def detail(
        self,
        execution_id: str,
        run: int | None = None,
        *,
        payloads: bool = True,
        steps_after: str | None = None,
        limit: int | None = None,
    ) -> RunDetail:
        """One run, the newest by default: each step and each attempt with its error and times.

        Args:
            run: its number.
            payloads: if False, the input, the output, the results and the payloads of events are left out.
            steps_after: the name of the last step of a page, to get the next page.
            limit: the most steps to return.

        Raises:
            ExecutionNotFound: there is no such execution.
            InvalidInput: it has no such run, or no such step.
        """
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidInput(f"limit is a whole number from 1, not {limit!r:.100}")
        partition, x = await self._read_run(execution_id, run)
        events, body, on_failure = await partition.transitions.read_run(execution_id, int(x[Field.RUN]))
        with decoding_errors_for(execution_id):
            found = run_detail(execution_id, x, events, body, on_failure, payloads=payloads)
        return _page(found, steps_after, limit)

    async def history(self, execution_id: str, run: int | None = None, *, payloads: bool = True) -> dict[str, Any]:
        """All that is recorded of a run, the newest by default, to be written as JSON and replayed by
        `zart_redis.testing.replay`. Without `payloads` it can be looked at, and not replayed.

        Raises:
            ExecutionNotFound: there is no such execution.
            InvalidInput: it has no such run.
        """
        partition, x = await self._read_run(execution_id, run)
        rows = await partition.transitions.read_run(execution_id, int(x[Field.RUN]))
        with decoding_errors_for(execution_id):
            return to_builtins(export_run(execution_id, self.settings.namespace, x, rows, payloads=payloads))

    async def _read_run(self, execution_id: str, run: int | None) -> tuple[Partition, dict[str, bytes]]:
        """The fields of a run, the newest by default."""
        partition, runs = await self._read_runs(execution_id)
        number = max(runs) if run is None else run
        if type(number) is not int:
            raise InvalidInput(f"a run is a whole number, not {number!r:.100}")
        if number not in runs:
            raise InvalidInput(
                f"execution {execution_id!r} has no run {number}; it has {', '.join(map(str, sorted(runs)))}"
            )
        return partition, runs[number]

    async def _read_runs(self, execution_id: str) -> tuple[Partition, dict[int, dict[str, bytes]]]:
        names.check_name(execution_id, "an execution id")
        partition = (await self._open()).partition(execution_id)
        runs = await partition.transitions.read_runs(execution_id)
        if not runs:
            raise ExecutionNotFound(execution_id)
        return partition, runs


def _page(run: RunDetail, steps_after: str | None, limit: int | None) -> RunDetail:
    names = [step.name for step in run.steps]
    if steps_after is not None and steps_after not in names:
        raise InvalidInput(f"run {run.summary.run} of execution {run.execution_id!r} has no step {steps_after!r}")
    begin = 0 if steps_after is None else len(names) - names[::-1].index(steps_after)
    end = len(names) if limit is None else begin + limit
    return replace(run, steps=run.steps[begin:end], has_more=end < len(names))
