"""`zart check-replay`: whether the handlers, as they are now, fit what is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from zart_redis import registry
from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import App, AsJson
from zart_redis.cli.running import Code
from zart_redis.client.run_history import RunHistory, from_builtins
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.errors import ExecutionNotFound, ReplayMismatch, SerializationError, ZartError
from zart_redis.model import ExecutionStatus
from zart_redis.registry import HandlerDefinition
from zart_redis.testing.replaying import replay_history
from zart_redis.worker.app import load

LIVE = (ExecutionStatus.WAITING, ExecutionStatus.RUNNING)
"""Those that have a history."""
PAGE = 100


@client_command
async def check_replay(
    client: DurableScheduler,
    task: Annotated[str, typer.Option(help="Name of the task.")],
    live: Annotated[bool, typer.Option("--live", help="Check only executions that have not finished.")] = False,
    sample: Annotated[int, typer.Option(min=1, help="Maximum number of executions to check, the newest first.")] = 100,
    app: App = None,
    as_json: AsJson = False,
) -> Code:
    """Replay recorded executions with the handlers as they are now. Exits with 1 if one does not fit.

    Executions of versions that no handler here runs are counted and not replayed: they need a worker for their version.
    """
    load(app or client.settings.app)
    registry.handler_named(task)
    declared = registry.handlers.versions_of(task)
    checked = 0
    other_versions: Counter[int] = Counter()
    mismatches: list[dict[str, Any]] = []
    async for history in _sample(client, task, live, sample):
        version = history.version or declared.newest.version
        handler = declared.find(version)
        if handler is None:
            other_versions[version] += 1
            continue
        checked += 1
        error = await _check(handler, history)
        if error is None:
            continue
        mismatches.append(_mismatch(history, error))
        if not as_json:
            output.echo_line(f"{history.execution_id}: {mismatches[-1]['message']}")
    found = {"task": task, "checked": checked, "mismatches": mismatches, "other_versions": other_versions}
    text = f"{checked} executions of task {task!r} checked, {len(mismatches)} do not fit"
    for version, count in sorted(other_versions.items()):
        text += f"; {count} need a worker for version {version}"
    output.echo_result(found, text, as_json)
    return Code.FAILED if mismatches else Code.DONE


async def _check(handler: HandlerDefinition, history: RunHistory) -> ZartError | None:
    try:
        await replay_history(handler, history)
    except (ReplayMismatch, SerializationError) as error:
        return error
    return None


def _mismatch(history: RunHistory, error: ZartError) -> dict[str, Any]:
    details = ("name", "recorded", "requested")
    return {
        "execution_id": history.execution_id,
        "run": history.run,
        **{name: getattr(error, name, None) for name in details},
        "message": " ".join(str(error).split()),
    }


async def _sample(client: DurableScheduler, task: str, live: bool, most: int) -> AsyncIterator[RunHistory]:
    """The histories of the newest executions that have begun."""
    found = 0
    for status in LIVE if live else (None,):
        cursor: str | None = None
        while found < most:
            page = await client.list_executions(status=status, task_name=task, limit=PAGE, cursor=cursor)
            for record in page:
                if record.started_at is None or found == most:
                    continue
                try:
                    history = from_builtins(await client.history(record.execution_id))
                except ExecutionNotFound:
                    continue  # purged meanwhile
                found += 1
                yield history
            cursor = page.cursor
            if cursor is None:
                break
