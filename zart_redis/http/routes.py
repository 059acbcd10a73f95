"""The table of all routes. Routing, scopes, validation and the OpenAPI document follow it."""

from __future__ import annotations

from typing import Any

from zart_redis.client.history import RunDetail, RunSummary
from zart_redis.client.lists import Stats
from zart_redis.client.queues import QueueRecord
from zart_redis.client.tokens import Scope
from zart_redis.errors import (
    ExecutionAlreadyExists,
    ExecutionFinished,
    ExecutionNotFound,
    MailboxFull,
    PayloadTooLarge,
    SerializationError,
)
from zart_redis.http import admin, executions, openapi, operations
from zart_redis.http.routing import Call, NoQuery, Reply, Route
from zart_redis.model import ExecutionRecord

READ, START, OPERATE = Scope.READ, Scope.START, Scope.OPERATE
V1, ADMIN = "/api/v1", "/admin/v1"
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
        "GET", f"{ADMIN}/executions/{{id}}/runs", READ, admin.runs, "The runs of an execution, the oldest first",
        replies={200: list[RunSummary]}, errors=(ExecutionNotFound,),
    ),
    Route("GET", "/healthz", None, operations.healthz, "Whether the process runs", replies={200: operations.Health}),
    Route("GET", "/readyz", None, operations.readyz, "Whether Redis can be used", replies={200: operations.Health}),
    Route("GET", "/openapi.json", None, describe, "This document"),
)  # fmt: skip
