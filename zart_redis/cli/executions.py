"""The commands for one execution: start, status, wait, cancel, event, send."""

from __future__ import annotations

import secrets
import shlex
from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.command import client_command
from zart_redis.cli.options import AsJson, ExecutionId, read_json, read_tags
from zart_redis.cli.running import Code, end
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.model import EventDelivery, ExecutionStatus
from zart_redis.starting import IfFinished, IfLive

DELIVERY_TEXTS = {
    EventDelivery.DELIVERED: "delivered: the execution was waiting for it and resumes",
    EventDelivery.BUFFERED: "buffered until the execution waits for it",
    EventDelivery.DUPLICATE: "duplicate: an event of this name was delivered before; the first one counts",
}


@client_command
async def start(
    client: DurableScheduler,
    task: Annotated[str, typer.Argument(help="Name of the task.")],
    id: Annotated[str | None, typer.Option(help="Execution id, the idempotency key. [default: generated]")] = None,
    data: Annotated[str | None, typer.Option(help="Input, as JSON.")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue to start it on.")] = None,
    delay: Annotated[str | None, typer.Option(help="Delay the start: 30s, 5m, 2h.")] = None,
    if_live: Annotated[
        IfLive, typer.Option(help="If the id is live: raise, return its run, or replace a run that has not begun.")
    ] = "raise",
    if_finished: Annotated[
        IfFinished, typer.Option(help="If the id has finished: restart it, raise, or return its run.")
    ] = "restart",
    expires: Annotated[str | None, typer.Option(help="Cancel it unless it begins within this time: 5m, 2h.")] = None,
    max_delay: Annotated[
        str | None, typer.Option(help="With --delay and --if-live replace: longest delay from the first start.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag, as NAME=VALUE; repeatable.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has finished.")] = False,
    as_json: AsJson = False,
) -> Code | None:
    """Start an execution of TASK."""
    execution_id = f"{task}-{secrets.token_hex(4)}" if id is None else id
    payload = read_json(data, "--data")
    run = await client.start(
        execution_id,
        task,
        payload,
        queue=queue,
        delay=delay,
        if_live=if_live,
        if_finished=if_finished,
        expires=expires,
        max_delay=max_delay,
        tags=read_tags(tag),
    )
    if wait:
        return await _follow(client, execution_id, None, as_json)
    begun = f"started {execution_id} (run {run})" if run.started else f"run {run} of {execution_id} was there"
    output.echo_result(
        {"execution_id": execution_id, "task_name": task, "run": int(run), "started": run.started},
        f"{begun}; follow it with: zart wait {shlex.quote(execution_id)}",
        as_json,
    )
    return None


@client_command
async def status(client: DurableScheduler, id: ExecutionId, as_json: AsJson = False) -> None:
    """Show the state of an execution."""
    output.print_record(await client.status(id), as_json)


@client_command
async def wait(
    client: DurableScheduler,
    id: ExecutionId,
    timeout: Annotated[str | None, typer.Option(help="Give up after this time: 30s, 5m, 2h. [default: never]")] = None,
    as_json: AsJson = False,
) -> Code:
    """Wait until an execution has finished. Exits with 1 if it failed or was cancelled, with 3 on timeout."""
    return await _follow(client, id, timeout, as_json)


@client_command
async def cancel(
    client: DurableScheduler,
    id: ExecutionId,
    reason: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    compensate: Annotated[bool, typer.Option("--compensate", help="Run its on_failure before it ends.")] = False,
    as_json: AsJson = False,
) -> Code:
    """Cancel an execution. Sleeps and waits end at once; a running step may finish, and no other step starts."""
    was_live = await client.cancel(id, reason=reason, compensate=compensate)
    status = (await client.status(id)).status
    if not (was_live or as_json):
        end(f"execution {id!r} had ended before ({status}); nothing was cancelled", Code.REFUSED, "execution_finished")
    output.echo_result({"execution_id": id, "cancelled": was_live, "status": status}, f"cancelled {id}", as_json)
    return Code.DONE if was_live else Code.REFUSED


@client_command
async def event(
    client: DurableScheduler,
    id: ExecutionId,
    name: Annotated[str, typer.Argument(help="Name of the event.")],
    payload: Annotated[str | None, typer.Option(help="Value that the waiting body receives, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver an event to an execution. The first event of a name counts; later ones are ignored."""
    delivery = await client.offer_event(id, name, read_json(payload, "--payload"))
    output.echo_result({"execution_id": id, "event": name, "delivery": delivery}, DELIVERY_TEXTS[delivery], as_json)


@client_command
async def send(
    client: DurableScheduler,
    id: ExecutionId,
    channel: Annotated[str, typer.Argument(help="Name of the channel.")],
    payload: Annotated[str | None, typer.Option(help="The message, as JSON.")] = None,
    message_id: Annotated[
        str | None, typer.Option(help="Identifies the message: one that was sent before is not sent again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a message to an execution. It waits until the execution receives it."""
    await client.send(id, channel, read_json(payload, "--payload"), message_id=message_id)
    output.echo_result({"execution_id": id, "channel": channel, "sent": True}, f"sent to {id}", as_json)


async def _follow(client: DurableScheduler, execution_id: str, timeout: str | None, as_json: bool) -> Code:
    with output.spinner(f"waiting for {execution_id}", quiet=as_json):
        record = await client.wait(execution_id, timeout)
    output.print_record(record, as_json)
    return Code.DONE if record.status is ExecutionStatus.COMPLETED else Code.FAILED
