"""What the workers of the benchmarks run: handlers and steps that do next to nothing."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime

import redis.asyncio as redis

import zart_redis as zart
from zart_redis import zart_durable, zart_step

TEXT = "x" * 40
"""A result of 40 bytes."""


@zart_step("step-{index}")
async def add_one(index: int) -> int:
    return index + 1


@zart_durable("chain")
async def chain(length: int) -> int:
    """A chain of trivial steps: the last one's result."""
    result = 0
    for index in range(length):
        result = await add_one(index)
    return result


@zart_durable("timed-chain")
async def timed_chain(length: int) -> float:
    """The seconds that a chain of steps takes, without the start and the end of the execution."""
    began = time.perf_counter()
    for index in range(length):
        await add_one(index)
    return time.perf_counter() - began


@zart_durable("no-op")
async def no_op(number: int) -> int:
    return number


@zart_durable("fan-out")
async def fan_out(width: int) -> int:
    """The sum of as many scheduled steps."""
    results = await zart.wait([zart.schedule(add_one(index)) for index in range(width)])
    return sum(result.unwrap() for result in results)


@zart_durable("replay")
async def replay(length: int) -> int:
    """A chain, then an event, after which the chain is replayed."""
    for index in range(length):
        await add_one(index)
    return await zart.wait_for_event("go", type=int)


@zart_durable("event")
async def event() -> int:
    return await zart.wait_for_event("go", type=int)


@zart_durable("timer")
async def timer(due: datetime) -> float:
    """How many seconds late the body resumes."""
    await zart.sleep_until("due", due)
    return time.time() - due.timestamp()


@zart_durable("sleeper")
async def sleeper(duration: str) -> None:
    await zart.sleep("long", duration)


@zart_durable("napper")
async def napper(times: int) -> float:
    """Parks again and again; the seconds since the moment that a first pass recorded."""
    began = await zart.capture("began", time.time)
    for index in range(times):
        await zart.sleep(f"nap-{index}", "1ms")
    return time.time() - began


@zart_step("text-{index}")
async def text(index: int) -> str:
    return TEXT


@zart_durable("texts")
async def texts(length: int) -> int:
    for index in range(length):
        await text(index)
    return length


def report_key(execution_id: str) -> str:
    """Where `hold` says that it has begun."""
    return f"bench-report:{execution_id}"


def release_key(execution_id: str) -> str:
    """What `hold` waits for."""
    return f"bench-release:{execution_id}"


@zart_step
async def hold() -> int:
    """Says which process runs it, and occupies it until it is released."""
    execution_id = zart.context().execution_id
    async with redis.Redis.from_url(os.environ["ZART_REDIS_URL"], socket_timeout=None) as client:
        await client.rpush(report_key(execution_id), os.getpid())
        await client.blpop([release_key(execution_id)], timeout=60)
    return os.getpid()


@zart_durable("held")
async def held() -> int:
    """A step that is recorded, and one that holds: the process which ended it."""
    await add_one(0)
    return await hold()


@zart_step
async def idle_away(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@zart_durable("lingerer")
async def lingerer(seconds: float) -> float:
    """A body that is held all the while: its step runs in place."""
    return await idle_away(seconds)


@zart_durable("gathered")
async def gathered(width: int) -> int:
    """Trivial steps that run in place at the same time: the sum of their results."""
    return sum(await asyncio.gather(*(add_one(index) for index in range(width))))


@zart_durable("sleeps")
async def sleeps(width: int) -> int:
    """Sleeps of 1 ms at the same time."""
    await asyncio.gather(*(zart.sleep(f"sleep-{index}", "1ms") for index in range(width)))
    return width


@zart_durable("events")
async def events(width: int) -> int:
    """The sum of the payloads of events, all waited for at the same time."""
    return sum(await asyncio.gather(*(zart.wait_for_event(f"event-{index}", type=int) for index in range(width))))


@zart_durable("parked-by-gather")
async def parked_by_gather() -> None:
    await asyncio.gather(zart.wait_for_event("first"), zart.wait_for_event("second"))


@zart_durable("parked-by-tasks")
async def parked_by_tasks() -> None:
    first = asyncio.ensure_future(zart.wait_for_event("first"))
    await zart.wait_for_event("second")
    await first


@zart_durable("wakes")
async def wakes(steps: int) -> int:
    """A chain, then event after event."""
    for index in range(steps):
        await add_one(index)
    for number in range(WAKES):
        await zart.wait_for_event(f"wake-{number}")
    return steps


WAKES = 20


WIDE, NARROW = zart.Limit("bench-wide", concurrency=1_000_000), zart.Limit("bench-narrow", concurrency=20)


@zart_durable("limited", limits=[WIDE])
async def limited(number: int) -> int:
    """A no-op under a limit that never holds it back."""
    return number


async def work_for_20_ms() -> None:
    await zart.run("work", lambda: asyncio.sleep(0.02))


@zart_durable("unlimited-work")
async def unlimited_work() -> None:
    await work_for_20_ms()


@zart_durable("limited-work", limits=[NARROW])
async def limited_work() -> None:
    await work_for_20_ms()
