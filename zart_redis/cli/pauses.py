"""The commands about pause rules: pause, resume, pause-list."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.options import AsJson, Namespace, RedisUrl
from zart_redis.cli.repair import Yes, confirm
from zart_redis.cli.running import Code, run, scheduler

Execution = Annotated[str | None, typer.Option("--id", help="Only this execution.")]
Task = Annotated[str | None, typer.Option(help="Only executions of this task.")]
Step = Annotated[str | None, typer.Option(help="Only at these steps: a name or a pattern, such as 'charge-*'.")]


def pause(
    id: Execution = None,
    task: Task = None,
    step: Step = None,
    extend_deadlines: Annotated[bool, typer.Option(help="Stop the clock of deadlines meanwhile.")] = False,
    yes: Yes = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Hold what matches where its next step would begin. Running steps may finish; nothing is lost."""

    async def action() -> Code:
        if (id, task, step) == (None, None, None):
            confirm("Pause everything?", yes)
        async with client:
            rule = await client.pause(
                execution_id=id, task_name=task, step_pattern=step, extend_deadlines=extend_deadlines
            )
        output.tell(rule, f"paused by rule {rule.rule_id}; resume with the same options", as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def resume(
    id: Execution = None,
    task: Task = None,
    step: Step = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Remove the pause rule of just these conditions; what it held goes on at once."""

    async def action() -> Code:
        async with client:
            found = await client.resume(execution_id=id, task_name=task, step_pattern=step)
        text = "resumed" if found else "there is no such rule; zart pause-list shows them"
        output.tell({"resumed": found}, text, as_json)
        return Code.DONE if found else Code.FAILED

    client = scheduler(redis_url, namespace)
    run(action())


def pause_list(redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show the pause rules in force."""

    async def action() -> Code:
        async with client:
            output.print_rules(await client.list_pause_rules(), as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())
