"""The commands about one execution: start, status, wait, cancel, event."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from zart_redis.cli import output
from zart_redis.cli.options import AsJson, ExecutionId, Namespace, RedisUrl, read_json
from zart_redis.cli.running import Code, end, run, scheduler
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.model import EventDelivery, ExecutionRecord, ExecutionStatus


def start(
    task: Annotated[str, typer.Argument(help="The name of the task.")],
    id: Annotated[
        str | None, typer.Option(help="The execution's id, its idempotency key; else one is made up.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="The input, as JSON.")] = None,
    queue: Annotated[str | None, typer.Option(help="Where to queue it.")] = None,
    delay: Annotated[str | None, typer.Option(help="When to begin: 30s, 5m, 2h.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Start an execution of TASK."""
    execution_id = f"{task}-{secrets.token_hex(4)}" if id is None else id

    async def action() -> Code:
        payload = read_json(data, "--data")
        async with client:
            number = await client.start(execution_id, task, payload, queue=queue, delay=delay)
            if wait:
                return await _follow(client, execution_id, None, as_json)
        if as_json:
            output.print_json({"execution_id": execution_id, "task_name": task, "run": number})
        else:
            output.say(f"started {execution_id} (run {number}); follow it with: zart wait {execution_id}")
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def status(id: ExecutionId, redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show how an execution stands."""

    async def action() -> Code:
        async with client:
            output.print_record(await client.status(id), as_json)
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


def wait(
    id: ExecutionId,
    timeout: Annotated[
        str | None, typer.Option(help="How long to wait: 30s, 5m, 2h; else for as long as it takes.")
    ] = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Wait until an execution has ended. Exits with 1 if it failed or was cancelled, with 3 if it goes on."""

    async def action() -> Code:
        async with client:
            return await _follow(client, id, timeout, as_json)

    client = scheduler(redis_url, namespace)
    run(action())


def cancel(id: ExecutionId, redis_url: RedisUrl = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Cancel an execution. What sleeps or waits ends at once; a running step may finish, nothing after it starts."""

    async def action() -> Code:
        async with client:
            was_live = await client.cancel(id)
            record = await client.status(id)
        if as_json:
            output.print_json({"execution_id": id, "cancelled": was_live, "status": record.status})
        elif was_live:
            output.say(f"cancelled {id}")
        else:
            end(f"execution {id!r} had ended before ({record.status}); nothing was cancelled")
        return Code.DONE if was_live else Code.FAILED

    client = scheduler(redis_url, namespace)
    run(action())


def event(
    id: ExecutionId,
    name: Annotated[str, typer.Argument(help="The name of the event.")],
    payload: Annotated[str | None, typer.Option(help="What the waiting body gets, as JSON.")] = None,
    redis_url: RedisUrl = None,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Deliver an event to an execution. The first one of a name stands."""
    meanings = {
        EventDelivery.DELIVERED: "delivered: the execution waited for it and goes on",
        EventDelivery.BUFFERED: "buffered until the execution waits for it",
        EventDelivery.DUPLICATE: "duplicate: one of this name came before, and stands",
    }

    async def action() -> Code:
        content = read_json(payload, "--payload")
        async with client:
            delivery = await client.offer_event(id, name, content)
        if as_json:
            output.print_json({"execution_id": id, "event": name, "delivery": delivery})
        else:
            output.say(meanings[delivery])
        return Code.DONE

    client = scheduler(redis_url, namespace)
    run(action())


async def _follow(client: DurableScheduler, execution_id: str, timeout: str | None, as_json: bool) -> Code:
    with output.spinner(f"waiting for {execution_id}", quiet=as_json):
        record = await client.wait(execution_id, timeout)
    output.print_record(record, as_json)
    return _code_of(record)


def _code_of(record: ExecutionRecord) -> Code:
    return Code.DONE if record.status is ExecutionStatus.COMPLETED else Code.FAILED
