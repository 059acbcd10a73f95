"""The commands for all executions that a filter selects: bulk cancel, bulk restart, bulk retry."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, Tags, read_tags
from zart_redis.cli.repair import Yes, confirm
from zart_redis.cli.running import Code
from zart_redis.client.bulk import BulkResult, ExecutionFilter, Progress
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.errors import InvalidInput
from zart_redis.model import ExecutionStatus

MAX_FAILURES_SHOWN = 20

Action = Literal["cancel", "restart", "retry"]


@client_command
async def bulk(
    client: DurableScheduler,
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="cancel, restart, or retry what has failed.")],
    status: Annotated[ExecutionStatus | None, typer.Option(help="Only executions with this status.")] = None,
    task: Annotated[str | None, typer.Option(help="Only executions of this task.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only executions of this queue.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only ids with this prefix.")] = None,
    tag: Tags = None,
    reason: Annotated[str | None, typer.Option(help="Why they are cancelled.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what the filter selects.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> Code:
    """Cancel, restart or retry all executions that a filter selects. Exits with 1 if some could not be changed."""
    selected: ExecutionFilter = {
        "status": ExecutionStatus.FAILED if action == "retry" else status,
        "task_name": task,
        "queue": queue,
        "id_prefix": prefix,
        "tags": read_tags(tag),
    }
    if reason is not None and action != "cancel":
        raise InvalidInput("--reason is for cancel")
    if action == "cancel" and status is not None and status.is_final:
        raise InvalidInput(f"executions with status {status} have ended: there is nothing to cancel")
    count = await client.count_executions(**selected)
    if dry_run:
        output.echo_result({"count": count}, f"{count} executions selected", as_json)
        return Code.DONE
    confirm(f"{action.capitalize()} {count} executions?", yes)
    with output.counter(action, count, quiet=as_json) as advance:
        result = await _run(client, action, selected, reason, lambda done: advance(done.done + len(done.failed)))
    failed = {execution_id: str(error) for execution_id, error in result.failed.items()}
    lines = [f"{execution_id}: {why}" for execution_id, why in list(failed.items())[:MAX_FAILURES_SHOWN]]
    lines.append(f"{result.done} done, {len(failed)} failed")
    output.echo_result({"done": result.done, "failed": failed}, lines, as_json)
    return Code.FAILED if failed else Code.DONE


async def _run(
    client: DurableScheduler, action: Action, selected: ExecutionFilter, reason: str | None, on_progress: Progress
) -> BulkResult:
    if action == "cancel":
        return await client.cancel_many(reason=reason, on_progress=on_progress, **selected)
    if action == "restart":
        return await client.restart_many(on_progress=on_progress, **selected)
    return await client.retry_failed(on_progress=on_progress, **selected)
