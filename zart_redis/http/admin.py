"""Endpoints for operators: the history of runs."""

from __future__ import annotations

from zart_redis.http.redaction import bare_summary
from zart_redis.http.routing import Call, NoQuery, Reply


async def runs(call: Call[NoQuery, None]) -> Reply:
    found = await call.scheduler.runs(call.path["id"])
    return Reply(found if call.sees_payloads else list(map(bare_summary, found)))
