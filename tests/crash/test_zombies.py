"""A thousand zombies: bodies and steps of a worker that was frozen past its lease, each about to make a transition when
its work has long moved on without it. Each is let go on, each is refused, and nothing in Redis changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self

import pytest
import redis

import zart_redis as zart
from tests.invariants import violations
from tests.snapshot import take_snapshot
from tests.support.waiting import until
from tests.support.workers import running_worker
from zart_redis import zart_durable, zart_step
from zart_redis.store.store import Store
from zart_redis.testing.process import Process, install
from zart_redis.testing.wire import Wire, WiredWorker
from zart_redis.worker.adapters import BodyAdapter, StepAdapter
from zart_redis.worker.execute import Executor, Slots
from zart_redis.worker.recovery import reclaim

pytestmark = pytest.mark.anyio

EACH = 18
"""So many of each of the fourteen kinds, for each of the four fates."""
KINDS = {
    "record": "record",
    "capture": "record",
    "attempt": "attempt",
    "sleep": "park",
    "event": "park",
    "timer": "park",
    "race": "park",
    "schedule": "schedule",
    "return": "finish",
    "raise": "fail",
    "retry": "retry",
    "compensate": "begin_on_failure",
    "settle": "complete_step",
    "postpone": "postpone",
}
"""What the zombie is about to do, and the transition that it then tries first."""
HELD_METHODS = {
    "sleep": "park",
    "event": "park",
    "timer": "park",
    "race": "park",
    "schedule": "schedule",
    "return": "finish",
    "raise": "fail",
    "retry": "retry",
    "compensate": "compensate",
}
"""The methods of `BodyAdapter` at which zombies that are in no step are held: a body cannot wait for the test."""


class Crossing:
    """The first to come here waits until all are let go; whoever comes later for the same execution passes."""

    def __init__(self) -> None:
        self.arrived: set[str] = set()
        self.let_go = asyncio.Event()
        self.results: Counter[str] = Counter()
        """Results that were sent since then, by the script that carries many of them."""

    async def __call__(self, execution_id: str | None = None) -> None:
        here = execution_id or zart.context().execution_id
        if here not in self.arrived:
            self.arrived.add(here)
            await self.let_go.wait()


crossing = Crossing()


@pytest.fixture(autouse=True)
async def _new_crossing() -> None:
    """On the loop of the test."""
    global crossing
    crossing = Crossing()


@pytest.fixture(autouse=True)
def _transitions_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in set(HELD_METHODS.values()):
        monkeypatch.setattr(BodyAdapter, method, _crossing(method, getattr(BodyAdapter, method)))
    monkeypatch.setattr(BodyAdapter, "record", _counting("record", BodyAdapter.record))
    monkeypatch.setattr(StepAdapter, "settle", _counting("complete_step", StepAdapter.settle))


def _counting(script: str, send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def counted(self: BodyAdapter | StepAdapter, *arguments: Any, **options: Any) -> Any:
        try:
            return await send(self, *arguments, **options)
        finally:
            crossing.results[script] += crossing.let_go.is_set()

    return counted


def _crossing(method: str, transition: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def held(self: BodyAdapter, *arguments: Any) -> Any:
        execution_id = self._held.execution_id
        if HELD_METHODS.get(execution_id.rpartition("-")[0]) == method:
            await crossing(execution_id)
        return await transition(self, *arguments)

    return held


@zart_step("zombie-step", retry="fixed(1, 1ms)")
async def crossed(fails: bool = False) -> str:
    await crossing()
    if fails and zart.context().current_attempt == 0:
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
    match kind:
        case "sleep":
            await zart.sleep("nap", "1ms")
        case "event":
            await zart.wait_for_event("never", "1ms")
        case "timer":
            await asyncio.sleep(0.001)
        case "race":
            racing = [asyncio.ensure_future(each) for each in (zart.sleep("nap", "1ms"), asyncio.sleep(0.001))]
            await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
        case "schedule":
            zart.schedule(plain())
        case "raise":
            raise RuntimeError("for good")
    return "done"


@zart_durable("zombie-retried", retry="fixed(1, 1ms)")
async def retried(kind: str) -> str:
    if zart.context().current_attempt == 0:
        raise RuntimeError("once")
    return "done"


@zart_durable("zombie-undone", on_failure=undo)
async def undone(kind: str) -> str:
    raise RuntimeError("undo it")


HANDLERS = {"retry": "zombie-retried", "compensate": "zombie-undone"}


class Zombies:
    """A worker that holds an execution, or a scheduled step of one, in each of its slots, and is frozen."""

    def __init__(self, scheduler: zart.DurableScheduler, number: int) -> None:
        self.tried: Counter[str] = Counter()
        """The transitions that it made, or tried to, since it was woken."""
        self._wire = Wire(Process("zombies"), self._watch)
        settings: dict[str, Any] = {"concurrency": number, "lease": "2s", "grace": "100ms"}
        url, namespace = scheduler.settings.redis_url, scheduler.settings.namespace
        self.worker = WiredWorker(self._wire, url, namespace=namespace, **settings)
        self._number = number

    def _watch(self, _: int, command: str, done: bool) -> None:
        self.tried[command] += done and crossing.let_go.is_set()

    async def __aenter__(self) -> Self:
        self._undo = install(asyncio.get_running_loop())
        await self.worker.start()
        await until(lambda: len(crossing.arrived) == self._number)
        self._wire.process.freeze()
        return self

    async def wake(self, expected: Counter[str]) -> None:
        """Let them go on until they have tried as many transitions, before their lease thread can speak."""
        with self._wire.process.gate:
            self._wire.process.thaw()
            crossing.let_go.set()
            results = Counter({script: expected.pop(script) for script in ("record", "complete_step")})
            await until(lambda: self.tried >= expected and crossing.results >= results)

    async def __aexit__(self, *_: object) -> None:
        self._wire.process.thaw()
        crossing.let_go.set()
        await self.worker.finish()
        self._undo()


Fate = Callable[[zart.DurableScheduler, Zombies, Iterable[str]], Awaitable[object]]


async def ended(scheduler: zart.DurableScheduler, zombies: Zombies, ids: Iterable[str]) -> None:
    """Another worker notices that the lease is over, and ends it all."""
    async with running_worker(scheduler):
        await asyncio.gather(*(scheduler.wait(id, "60s") for id in ids))


async def queued_again(scheduler: zart.DurableScheduler, zombies: Zombies, ids: Iterable[str]) -> None:
    settings = scheduler.settings
    async with Store(settings, patience=None) as store:
        for partition in store.partitions:
            await partition.transitions.leave(zombies.worker.id)
            await reclaim(partition, zombies.worker.id, settings)


async def cancelled(scheduler: zart.DurableScheduler, zombies: Zombies, ids: Iterable[str]) -> None:
    await asyncio.gather(*(scheduler.cancel(id) for id in ids))


async def restarted(scheduler: zart.DurableScheduler, zombies: Zombies, ids: Iterable[str]) -> None:
    await asyncio.gather(*(scheduler.restart(id) for id in ids))


def of_executions(raw: redis.Redis, prefix: str) -> dict[str, Any]:
    """All keys but those that say which workers there are."""
    of_workers = ("workers", "worker_info", "heartbeats", "rejoined")
    return {key: value for key, value in take_snapshot(raw, prefix).raw.items() if key not in of_workers}


@pytest.mark.parametrize("fate", [ended, queued_again, cancelled, restarted])
async def test_none_of_a_thousand_changes_anything(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {f"{kind}-{number}": kind for number in range(EACH) for kind in KINDS}
    await scheduler.start_many([(id, HANDLERS.get(kind, "zombie"), kind) for id, kind in ids.items()])
    async with Zombies(scheduler, len(ids)) as zombies:
        await fate(scheduler, zombies, ids)
        monkeypatch.setattr(Executor, "revoke", lambda *_: None)
        monkeypatch.setattr(Slots, "give", lambda *_: None)
        before = of_executions(raw, prefix)
        await zombies.wake(Counter(KINDS[kind] for kind in ids.values()))
        assert of_executions(raw, prefix) == before
    assert of_executions(raw, prefix) == before
    assert not violations(take_snapshot(raw, prefix))
    assert not await scheduler.doctor()
