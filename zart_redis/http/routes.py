"""The table of all routes. Routing, scopes, validation and the OpenAPI document follow it."""

from __future__ import annotations

from typing import Any

from zart_redis.client.admin import RerunReport
from zart_redis.client.doctor import Finding
from zart_redis.client.history import RunDetail, RunSummary
from zart_redis.client.limits import LimitRecord
from zart_redis.client.lists import Stats
from zart_redis.client.queues import QueueRecord
from zart_redis.client.recurring import RecurringRecord
from zart_redis.client.tokens import Scope
from zart_redis.errors import (
    ExecutionAlreadyExists,
    ExecutionFinished,
    ExecutionNotFound,
    MailboxFull,
    PayloadTooLarge,
    RecurringNotFound,
    SerializationError,
)
from zart_redis.http import admin, batches, executions, openapi, operations, sessions, streams
from zart_redis.http.routing import Call, NoQuery, Reply, Route
from zart_redis.model import ExecutionRecord, PauseRule

READ, START, OPERATE = Scope.READ, Scope.START, Scope.OPERATE
V1, ADMIN = "/api/v1", "/admin/v1"
PAUSES, RECURRING, LIMIT = f"{ADMIN}/pause-rules", f"{ADMIN}/recurring/{{id}}", f"{ADMIN}/limits/{{name}}"
BATCH = f"{ADMIN}/batches/{{id}}"
ONE = f"{V1}/executions/{{id}}"


async def describe(call: Call[NoQuery, None]) -> Reply:
    return Reply(openapi.document(ROUTES, call.base))


ROUTES: tuple[Route, ...] = (
    Route(
        "POST", f"{V1}/executions", START, executions.start, "Start an execution",
        query=executions.StartQuery, body=executions.StartBody,
        replies={200: executions.StartedExecution, 201: executions.StartedExecution},
        errors=(ExecutionAlreadyExists, SerializationError, PayloadTooLarge),
    ),
    Route(
        "GET", f"{V1}/executions", READ, executions.list_executions, "List executions, without payloads",
        query=executions.ListQuery, replies={200: executions.Page},
    ),
    Route(
        "GET", ONE, READ, executions.status, "The state of an execution",
        replies={200: ExecutionRecord}, errors=(ExecutionNotFound,),
    ),
    Route(
        "GET", f"{ONE}/detail", READ, executions.detail, "A run with its steps and attempts, a page at a time",
        query=executions.DetailQuery, replies={200: RunDetail}, errors=(ExecutionNotFound,),
    ),
    Route(
        "GET", f"{ONE}/values", READ, executions.values, "The values that an execution has set",
        replies={200: dict[str, Any]}, errors=(ExecutionNotFound,),
    ),
    Route(
        "GET", f"{ONE}/wait", READ, executions.wait, "Wait for the end of an execution, by long poll",
        query=executions.WaitQuery, replies={200: ExecutionRecord, 202: ExecutionRecord}, errors=(ExecutionNotFound,),
    ),
    Route(
        "POST", f"{ONE}/cancel", OPERATE, executions.cancel, "Cancel an execution",
        body=executions.CancelBody, needs_body=False, replies={200: executions.CancelledReply},
        errors=(ExecutionNotFound,),
    ),
    Route(
        "POST", f"{V1}/events/{{id}}/{{name}}", START, executions.offer_event,
        "Deliver an event, whose payload is the body",
        body=Any, needs_body=False, replies={200: executions.DeliveredEvent},
        errors=(ExecutionNotFound, ExecutionFinished, SerializationError, PayloadTooLarge),
    ),
    Route(
        "POST", f"{V1}/messages/{{id}}/{{channel}}", START, executions.send,
        "Send a message, whose payload is the body",
        query=executions.MessageQuery, body=Any, needs_body=False, replies={200: executions.SentMessage},
        errors=(ExecutionNotFound, ExecutionFinished, MailboxFull, SerializationError, PayloadTooLarge),
    ),
    Route("GET", f"{V1}/stats", READ, operations.stats, "Counts by status and task", replies={200: Stats}),
    Route("GET", f"{V1}/queues", READ, operations.queues, "The queues", replies={200: list[QueueRecord]}),
    Route("GET", f"{V1}/workers", READ, operations.workers, "The live workers", replies={200: operations.Workers}),
    Route(
        "GET", f"{ONE}/stream/{{name}}", READ, streams.stream, "Follow a stream by server-sent events",
        replies={200: str, 204: None}, errors=(ExecutionNotFound,), media_type="text/event-stream",
    ),
    Route(
        "POST", "/login", None, sessions.login, "Begin a session of the page",
        body=sessions.LoginBody, replies={200: sessions.LoggedIn},
    ),
    Route("POST", "/logout", None, sessions.logout, "End the session", replies={204: None}),
    Route(
        "GET", f"{ADMIN}/executions/{{id}}/runs", READ, admin.runs, "The runs of an execution, the oldest first",
        replies={200: list[RunSummary]}, errors=(ExecutionNotFound,),
    ),
    Route(
        "POST", f"{ADMIN}/executions/{{id}}/retry-step", OPERATE, admin.retry_step, "Resume from a failed step",
        body=admin.RetryStepBody, replies={200: admin.Retried},
        errors=(ExecutionNotFound, ExecutionAlreadyExists, ExecutionFinished),
    ),
    Route(
        "POST", f"{ADMIN}/executions/{{id}}/restart", OPERATE, admin.restart, "Begin a new run from scratch",
        body=admin.RestartBody, needs_body=False, replies={200: admin.Restarted},
        errors=(ExecutionNotFound, SerializationError, PayloadTooLarge),
    ),
    Route(
        "POST", f"{ADMIN}/executions/{{id}}/rerun", OPERATE, admin.rerun, "Begin a run that keeps recorded results",
        body=admin.RerunBody, needs_body=False, replies={200: RerunReport}, errors=(ExecutionNotFound,),
    ),
    Route("GET", PAUSES, READ, admin.pause_rules, "The pause rules", replies={200: list[PauseRule]}),
    Route(
        "POST", PAUSES, OPERATE, admin.pause, "Hold what matches before its next step",
        body=admin.PauseBody, replies={200: PauseRule},
    ),
    Route(
        "DELETE", PAUSES, OPERATE, admin.resume, "Remove the rule with exactly these conditions",
        query=admin.PauseQuery, replies={200: admin.Resumed},
    ),
    Route(
        "GET", f"{ADMIN}/recurring", READ, admin.list_recurring, "The recurring executions",
        replies={200: list[RecurringRecord]},
    ),
    Route(
        "GET", RECURRING, READ, admin.one_recurring, "A recurring execution",
        replies={200: RecurringRecord}, errors=(RecurringNotFound,),
    ),
    Route(
        "PUT", RECURRING, OPERATE, admin.start_recurring, "Start executions again and again, or replace the schedule",
        body=admin.RecurringBody, replies={200: RecurringRecord}, errors=(SerializationError, PayloadTooLarge),
    ),
    Route(
        "DELETE", RECURRING, OPERATE, admin.stop_recurring, "Forget a recurring execution",
        replies={204: None}, errors=(RecurringNotFound,),
    ),
    Route(
        "POST", f"{RECURRING}/pause", OPERATE, admin.pause_recurring, "Start no occurrences until it is resumed",
        replies={200: RecurringRecord}, errors=(RecurringNotFound,),
    ),
    Route(
        "POST", f"{RECURRING}/resume", OPERATE, admin.resume_recurring, "Continue with the next tick",
        replies={200: RecurringRecord}, errors=(RecurringNotFound,),
    ),
    Route(
        "POST", f"{RECURRING}/trigger", OPERATE, admin.trigger_recurring, "Start an occurrence now",
        replies={200: admin.Triggered}, errors=(RecurringNotFound,),
    ),
    Route("GET", f"{ADMIN}/limits", READ, admin.limits, "The limits", replies={200: list[LimitRecord]}),
    Route(
        "PUT", LIMIT, OPERATE, admin.set_limit, "Override the numbers of a limit",
        body=admin.LimitBody, replies={200: admin.LimitName},
    ),
    Route(
        "DELETE", LIMIT, OPERATE, admin.reset_limit, "Return a limit to its declared numbers",
        query=admin.LimitQuery, replies={200: admin.LimitReset},
    ),
    Route(
        "POST", f"{ADMIN}/batches", OPERATE, batches.start, "Cancel, restart or retry all that a filter selects",
        body=batches.BatchBody, replies={200: batches.BatchCount, 202: batches.BatchReport},
    ),
    Route(
        "GET", BATCH, READ, batches.report, "How far a batch has come",
        replies={200: batches.BatchReport}, errors=(ExecutionNotFound,),
    ),
    Route(
        "POST", f"{BATCH}/stop", OPERATE, batches.stop, "Stop a batch; what it has done stays done",
        replies={200: batches.BatchStopped}, errors=(ExecutionNotFound,),
    ),
    Route(
        "GET", f"{ADMIN}/doctor", READ, admin.doctor, "Check for lost or damaged work",
        replies={200: list[Finding]},
    ),
    Route(
        "POST", f"{ADMIN}/doctor", OPERATE, admin.repair, "Check, and repair what can be repaired",
        body=admin.DoctorBody, replies={200: list[Finding]},
    ),
    Route("GET", "/healthz", None, operations.healthz, "Whether the process runs", replies={200: operations.Health}),
    Route("GET", "/readyz", None, operations.readyz, "Whether Redis can be used", replies={200: operations.Health}),
    Route("GET", "/openapi.json", None, describe, "This document"),
)  # fmt: skip
