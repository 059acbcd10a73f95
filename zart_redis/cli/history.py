"""The commands that show what has happened: runs, detail, watch."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.live import Live

from zart_redis.cli import output, timeline
from zart_redis.cli.options import AsJson, ExecutionId, Namespace, RedisUrl
from zart_redis.cli.running import Code, run, scheduler
from zart_redis.client.history import RunDetail, StepStatus
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.model import ExecutionRecord

REFRESH_SECONDS = 0.5
MOST_NAMED = 5
"""Of steps that are all in the same state."""
OTHER_LINES = 12
"""What stands above and below the steps of a watched timeline; a line that does not fit the terminal is not seen."""


def runs(id: ExecutionId, redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show every run of an execution, and who began it."""

    async def action() -> Code:
        async with client:
            found = await client.runs(id)
        if as_json:
            output.print_json(found)
        else:
            output.show(timeline.of_runs(found))
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def detail(
    id: ExecutionId,
    number: Annotated[int | None, typer.Option("--run", help="Which run; else the newest.")] = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show a run as a timeline of its steps and attempts, with errors and times."""

    async def action() -> Code:
        async with client:
            found = await client.detail(id, number)
            if as_json:
                output.print_json(found)
            else:
                output.show(timeline.of_detail(found, await _reasons(client, await client.status(id), found)))
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def watch(
    id: ExecutionId,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON whenever something changes.")] = False,
) -> None:
    """Follow an execution live, until it has ended. Exits with 1 if it failed or was cancelled."""

    async def action() -> Code:
        async with client:
            with nullcontext() if as_json else Live(auto_refresh=False) as live:
                shown = ""
                while True:
                    record, found = await client.status(id), await client.detail(id)
                    if live is not None:
                        most = max(live.console.height - OTHER_LINES, 1)
                        picture = timeline.of_detail(found, await _reasons(client, record, found), most)
                        live.update(picture, refresh=True)
                    elif (line := output.to_json(found)) != shown:
                        print(line, flush=True)
                        shown = line
                    if record.status.is_final:
                        return Code.DONE if record.status == "completed" else Code.FAILED
                    await asyncio.sleep(REFRESH_SECONDS)

    client = scheduler(redis_url, namespace)
    run(action())


async def _reasons(client: DurableScheduler, record: ExecutionRecord, found: RunDetail) -> list[str]:
    """Why a live run is no further: what it waits for, who runs what of it, what is paused, or that nobody takes its
    work."""
    if record.status.is_final or record.run != found.summary.run:
        return []
    reasons = _cut([f"waits for {wait}" for wait in record.waiting_for])
    scheduled = {f"{record.execution_id} {s.name}": s.name for s in found.steps if s.status is StepStatus.SCHEDULED}
    workers = await client.workers()
    for worker in workers:
        works = ["it"] if record.execution_id in worker.running else []
        works += [f"step {scheduled.pop(name)}" for name in worker.running if name in scheduled]
        if works:
            who = f"worker {worker.worker_id} (pid {worker.pid} on {worker.host})"
            reasons.append(f"{who} runs {', '.join(_cut(works))}")
    for rule in await client.list_pause_rules() if scheduled else ():
        held = [name for name in scheduled.values() if rule.matches(record.execution_id, record.task_name, name)]
        if held:
            reasons.append(f"pause rule {rule.rule_id} holds step {', '.join(_cut(held))}")
    put_off: dict[str, list[str]] = {}
    for step in found.steps:
        if step.put_off:
            put_off.setdefault(step.put_off, []).append(step.name)
    reasons += [f"a worker has put off step {', '.join(_cut(names))}: {why}" for why, names in put_off.items()]
    is_queued = bool(scheduled) or not record.waiting_for
    if is_queued and not any(record.queue in worker.queues for worker in workers):
        reasons.append(f"no worker takes work from queue {record.queue!r}")
    return reasons


def _cut(names: list[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(names) - MOST_NAMED
    return names if more <= 0 else [*names[:MOST_NAMED], f"and {more} more"]
