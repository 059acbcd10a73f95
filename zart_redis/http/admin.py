"""Endpoints for operators: repair, pause rules, recurring executions, limits, the doctor."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec

from zart_redis.client.recurring import RecurringRecord
from zart_redis.errors import RecurringNotFound
from zart_redis.http.executions import Moment, Span
from zart_redis.http.redaction import bare_summary
from zart_redis.http.routing import Call, NoQuery, Reply
from zart_redis.recurring import CatchUp, Overlap

Many = Annotated[int, msgspec.Meta(ge=0)]


class RetryStepBody(msgspec.Struct, forbid_unknown_fields=True):
    step: str


class Retried(msgspec.Struct):
    execution_id: str
    step: str


class RestartBody(msgspec.Struct, forbid_unknown_fields=True):
    data: Any = None
    """New input; without it the previous one."""


class Restarted(msgspec.Struct):
    execution_id: str
    run: int


class RerunBody(msgspec.Struct, forbid_unknown_fields=True):
    """Names and patterns of steps, as `rerun_steps` takes them."""

    rerun: list[str] = []
    preserve: list[str] = []


class PauseConditions(msgspec.Struct, forbid_unknown_fields=True):
    """A condition that is not given matches all."""

    execution_id: str | None = None
    task_name: str | None = None
    step_pattern: str | None = None
    queue: str | None = None


class PauseBody(PauseConditions):
    extend_deadlines: bool = False


class PauseQuery(PauseConditions):
    """Those of the rule."""


class Resumed(msgspec.Struct):
    resumed: bool


class RecurringBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The arguments of `start_recurring`."""

    handler: str
    id_template: str
    every: Span | None = None
    cron: str | None = None
    timezone: str = "UTC"
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    data: Any = None
    queue: str | None = None
    tags: dict[str, str] | None = None
    jitter: Span | None = None
    start_at: Moment | None = None
    end_at: Moment | None = None


class Triggered(msgspec.Struct):
    """`execution_id` is null if the occurrence was skipped."""

    recurring_id: str
    execution_id: str | None


class LimitBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is not given stays as it is."""

    key: str | None = None
    concurrency: Many | None = None
    rate: str | None = None
    burst: int | None = None


class LimitQuery(msgspec.Struct, forbid_unknown_fields=True):
    key: str | None = None


class LimitName(msgspec.Struct):
    name: str
    key: str | None


class LimitReset(msgspec.Struct):
    reset: bool


class DoctorBody(msgspec.Struct, forbid_unknown_fields=True):
    repair: bool


async def runs(call: Call[NoQuery, None]) -> Reply:
    found = await call.scheduler.runs(call.path["id"])
    return Reply(found if call.sees_payloads else list(map(bare_summary, found)))


async def retry_step(call: Call[NoQuery, RetryStepBody]) -> Reply:
    execution_id, step = call.path["id"], call.body.step
    await call.scheduler.retry_step(execution_id, step, triggered_by=call.caller.name)
    return Reply(Retried(execution_id, step))


async def restart(call: Call[NoQuery, RestartBody | None]) -> Reply:
    data = call.body.data if call.body else None
    run = await call.scheduler.restart(call.path["id"], data, triggered_by=call.caller.name)
    return Reply(Restarted(call.path["id"], run))


async def rerun(call: Call[NoQuery, RerunBody | None]) -> Reply:
    body = call.body or RerunBody()
    steps = {"rerun": body.rerun, "preserve": body.preserve}
    return Reply(await call.scheduler.rerun_steps(call.path["id"], **steps, triggered_by=call.caller.name))


async def pause_rules(call: Call[NoQuery, None]) -> Reply:
    return Reply(await call.scheduler.list_pause_rules())


async def pause(call: Call[NoQuery, PauseBody]) -> Reply:
    return Reply(await call.scheduler.pause(**msgspec.structs.asdict(call.body)))


async def resume(call: Call[PauseQuery, None]) -> Reply:
    return Reply(Resumed(await call.scheduler.resume(**msgspec.structs.asdict(call.query))))


async def list_recurring(call: Call[NoQuery, None]) -> Reply:
    return Reply(await _recurring(call))


async def one_recurring(call: Call[NoQuery, None]) -> Reply:
    return Reply(await _recurring_of_path(call))


async def start_recurring(call: Call[NoQuery, RecurringBody]) -> Reply:
    options = msgspec.structs.asdict(call.body)
    await call.scheduler.start_recurring(call.path["id"], options.pop("handler"), options.pop("id_template"), **options)
    return Reply(await _recurring_of_path(call))


async def stop_recurring(call: Call[NoQuery, None]) -> Reply:
    await call.scheduler.stop_recurring(call.path["id"])
    return Reply(status=204)


async def pause_recurring(call: Call[NoQuery, None]) -> Reply:
    await call.scheduler.pause_recurring(call.path["id"])
    return Reply(await _recurring_of_path(call))


async def resume_recurring(call: Call[NoQuery, None]) -> Reply:
    await call.scheduler.resume_recurring(call.path["id"])
    return Reply(await _recurring_of_path(call))


async def trigger_recurring(call: Call[NoQuery, None]) -> Reply:
    recurring_id = call.path["id"]
    return Reply(Triggered(recurring_id, await call.scheduler.trigger_recurring(recurring_id)))


async def _recurring(call: Call[NoQuery, Any]) -> list[RecurringRecord]:
    records = await call.scheduler.list_recurring()
    return records if call.sees_payloads else [replace(record, data=None) for record in records]


async def _recurring_of_path(call: Call[NoQuery, Any]) -> RecurringRecord:
    recurring_id = call.path["id"]
    for record in await _recurring(call):
        if record.recurring_id == recurring_id:
            return record
    raise RecurringNotFound(recurring_id)


async def limits(call: Call[NoQuery, None]) -> Reply:
    return Reply(await call.scheduler.limits())


async def set_limit(call: Call[NoQuery, LimitBody]) -> Reply:
    name, body = call.path["name"], call.body
    await call.scheduler.set_limit(name, key=body.key, concurrency=body.concurrency, rate=body.rate, burst=body.burst)
    return Reply(LimitName(name, body.key))


async def reset_limit(call: Call[LimitQuery, None]) -> Reply:
    return Reply(LimitReset(await call.scheduler.reset_limit(call.path["name"], key=call.query.key)))


async def doctor(call: Call[NoQuery, None]) -> Reply:
    return Reply(await call.scheduler.doctor())


async def repair(call: Call[NoQuery, DoctorBody]) -> Reply:
    return Reply(await call.scheduler.doctor(repair=call.body.repair))
