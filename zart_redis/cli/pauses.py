"""The commands for pause rules: pause, resume, pause-list."""

from __future__ import annotations

from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson
from zart_redis.cli.repair import Yes, confirm
from zart_redis.cli.running import Code
from zart_redis.client.scheduler import DurableScheduler

Execution = Annotated[str | None, typer.Option("--id", help="Match only this execution.")]
Task = Annotated[str | None, typer.Option(help="Match only executions of this task.")]
Step = Annotated[str | None, typer.Option(help="Match only these steps: a name, or a pattern such as 'charge-*'.")]


Queue = Annotated[str | None, typer.Option(help="Match only executions of this queue.")]


@client_command
async def pause(
    client: DurableScheduler,
    id: Execution = None,
    task: Task = None,
    step: Step = None,
    queue: Queue = None,
    extend_deadlines: Annotated[bool, typer.Option(help="Stop the clock of deadlines during the pause.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Hold matching executions before their next step. Running steps may finish; nothing is lost."""
    if (id, task, step, queue) == (None, None, None, None):
        confirm("Pause everything?", yes)
    rule = await client.pause(
        execution_id=id, task_name=task, step_pattern=step, queue=queue, extend_deadlines=extend_deadlines
    )
    output.echo_result(rule, f"paused by rule {rule.rule_id}; resume with the same options", as_json)


@client_command
async def resume(
    client: DurableScheduler,
    id: Execution = None,
    task: Task = None,
    step: Step = None,
    queue: Queue = None,
    as_json: AsJson = False,
) -> Code:
    """Remove the pause rule with exactly these conditions. The work that it held resumes at once."""
    found = await client.resume(execution_id=id, task_name=task, step_pattern=step, queue=queue)
    text = "resumed" if found else "no such rule; list the rules with: zart pause-list"
    output.echo_result({"resumed": found}, text, as_json)
    return Code.DONE if found else Code.NOT_FOUND


@client_command
async def pause_list(client: DurableScheduler, as_json: AsJson = False) -> None:
    """List the pause rules in force."""
    output.print_rules(await client.list_pause_rules(), as_json)
