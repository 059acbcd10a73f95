"""A thousand zombies: bodies and steps of a worker that was frozen past its lease, each about to make a transition when
others have long ended its work. Each is let go on, each is refused, and nothing in Redis changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.crash.places.laws import Snapshot, broken_laws, take_snapshot
from tests.fundamentals.conftest import scheduler as scheduler
from tests.fundamentals.helpers import a_worker, until
from tests.integration.conftest import prefix as prefix
from tests.integration.conftest import raw as raw
from zart_redis import zart_durable, zart_step
from zart_redis.testing.process import Process, install
from zart_redis.testing.wire import Wire, WiredWorker

pytestmark = pytest.mark.anyio

EACH = 85
"""So many of each of the twelve kinds."""
KINDS = {
    "record": "record",
    "capture": "record",
    "attempt": "attempt",
    "sleep": "park",
    "event": "park",
    "schedule": "schedule",
    "return": "finish",
    "raise": "fail",
    "retry": "retry",
    "compensate": "compensate",
    "settle": "settle",
    "postpone": "postpone",
}
"""What the zombie's code is about to do, and the transition that it then tries first."""


class Crossing:
    """The first to come here waits until all are let go; whoever comes later for the same execution passes."""

    def __init__(self) -> None:
        self.arrived: set[str] = set()
        self.let_go = asyncio.Event()

    async def __call__(self) -> None:
        here = zart.context().execution_id
        if here not in self.arrived:
            self.arrived.add(here)
            await self.let_go.wait()


crossing = Crossing()


@pytest.fixture(autouse=True)
async def _new_crossing() -> None:
    """On the loop of the test."""
    global crossing
    crossing = Crossing()


@zart_step("zombie-step", retry="fixed(1, 1ms)")
async def crossed(fails: bool = False) -> str:
    await crossing()
    if fails and zart.context().current_attempt == 1:
        raise RuntimeError("once")
    return "done"


@zart_step("zombie-plain")
async def plain() -> str:
    return "done"


async def undo(kind: str, failure: zart.Failure) -> str:
    return "undone"


async def _captured() -> str:
    await crossing()
    return "done"


@zart_durable("zombie")
async def zombie(kind: str) -> str:
    if kind in ("record", "attempt"):
        return await crossed(kind == "attempt")
    if kind in ("settle", "postpone"):
        (result,) = await zart.wait([zart.schedule(crossed(kind == "postpone"))])
        return result.unwrap()
    if kind == "capture":
        return await zart.capture("captured", _captured)
    await crossing()
    match kind:
        case "sleep":
            await zart.sleep("nap", "1ms")
        case "event":
            await zart.wait_for_event("go")
        case "schedule":
            zart.schedule(plain())
        case "raise":
            raise RuntimeError("for good")
    return "done"


@zart_durable("zombie-retried", retry="fixed(1, 1ms)")
async def retried(kind: str) -> str:
    await crossing()
    if zart.context().current_attempt == 1:
        raise RuntimeError("once")
    return "done"


@zart_durable("zombie-undone", on_failure=undo)
async def undone(kind: str) -> str:
    await crossing()
    raise RuntimeError("undo it")


HANDLERS = {"retry": "zombie-retried", "compensate": "zombie-undone"}


@asynccontextmanager
async def frozen_past_its_lease(
    scheduler: zart.DurableScheduler, tried: Counter[str], number: int
) -> AsyncIterator[Callable[[Counter[str]], Awaitable[None]]]:
    """A worker that holds so many executions, and is frozen. Within the block it can be woken: it then goes on until it
    has tried as many transitions, before its lease thread learns that it was given up."""

    def watch(_: int, command: str, done: bool) -> None:
        tried[command] += done and crossing.let_go.is_set()

    undo_install = install(asyncio.get_running_loop())
    wire = Wire(Process("zombie"), watch)
    settings: dict[str, Any] = {"concurrency": 2 * number, "lease": "2s", "grace": "100ms"}
    worker = WiredWorker(wire, scheduler.settings.redis_url, namespace=scheduler.settings.namespace, **settings)
    await worker.start()

    async def wake(expected: Counter[str]) -> None:
        with wire.process.gate:  # its lease thread cannot speak meanwhile
            wire.process.thaw()
            crossing.let_go.set()
            await until(lambda: tried >= expected)

    try:
        await until(lambda: len(crossing.arrived) == number)
        wire.process.freeze()
        yield wake
    finally:
        wire.process.thaw()
        crossing.let_go.set()
        await worker.finish()
        undo_install()


def of_executions(snapshot: Snapshot) -> dict[str, Any]:
    """All keys but those that say which workers there are."""
    return {key: value for key, value in snapshot.raw.items() if key not in ("workers", "about")}


async def test_none_of_a_thousand_changes_anything(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    ids = {f"{kind}-{number}": kind for number in range(EACH) for kind in KINDS}
    await scheduler.start_many([(id, HANDLERS.get(kind, "zombie"), kind) for id, kind in ids.items()])
    for id, kind in ids.items():
        if kind == "event":
            await scheduler.offer_event(id, "go", "first")
    tried: Counter[str] = Counter()
    async with frozen_past_its_lease(scheduler, tried, len(ids)) as wake, a_worker(scheduler):
        await asyncio.gather(*(scheduler.wait(id, "60s") for id in ids))
        await until(lambda: not raw.xlen(f"{prefix}b:default"))
        before = take_snapshot(raw, prefix)
        assert not broken_laws(before, at_rest=True)
        await wake(Counter(KINDS[kind] for kind in ids.values()))
        assert of_executions(take_snapshot(raw, prefix)) == of_executions(before)
    assert of_executions(take_snapshot(raw, prefix)) == of_executions(before)
    assert not await scheduler.doctor()
