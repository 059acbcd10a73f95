"""Endpoints for the whole namespace: counts, queues, workers, health, and the description of the API."""

from __future__ import annotations

import asyncio

import msgspec

from zart_redis.errors import RedisUnavailable
from zart_redis.http.routing import Call, NoQuery, Reply
from zart_redis.model import WorkerInfo

READY_SECONDS = 2.0


class Workers(msgspec.Struct):
    workers: list[WorkerInfo]


class Health(msgspec.Struct):
    status: str


async def stats(call: Call[NoQuery, None]) -> Reply:
    return Reply(await call.scheduler.stats())


async def queues(call: Call[NoQuery, None]) -> Reply:
    return Reply(await call.scheduler.queues())


async def workers(call: Call[NoQuery, None]) -> Reply:
    return Reply(Workers(await call.scheduler.workers()))


async def healthz(call: Call[NoQuery, None]) -> Reply:
    """The process runs."""
    return Reply(Health("ok"))


async def readyz(call: Call[NoQuery, None]) -> Reply:
    """Redis can be used."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await call.scheduler.workers()
    except TimeoutError:
        raise RedisUnavailable(f"it has not responded within {READY_SECONDS:g} s") from None
    return Reply(Health("ok"))
