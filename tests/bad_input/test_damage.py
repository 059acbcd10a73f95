"""Each field of each key of an execution is damaged in turn, in each state: only it suffers, and it is named."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.bad_input import damage
from tests.bad_input.damage import OUTPUTS, Damage, damages, do, ran
from tests.support.waiting import Gate, until
from tests.support.workers import running_worker

pytestmark = pytest.mark.anyio

HOWS = {"missing", "garbage", "cut", "SET", "added", "endless", "early", "twice"}
"""Enough for CI; ZART_ALL_DAMAGE=1 does the rest too."""
ALL = "ZART_ALL_DAMAGE" in os.environ
PATIENCE_SECONDS = 15.0


class Town:
    """Victims of every damage, and bystanders in the same states, between them in every queue and list."""

    def __init__(self, scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str) -> None:
        self.scheduler, self.raw, self.prefix = scheduler, raw, prefix
        self.victims: dict[str, Damage] = {}
        self.bystanders: list[str] = []

    async def begin(self, state: str, ids: list[str]) -> None:
        """Executions in one state; a worker runs, unless they are to be queued."""
        task = {"again": "parked", "delayed": "queued"}.get(state, state)
        delay = "1500ms" if state == "delayed" else None
        requests = [zart.StartRequest(i, f"damage-{task}", delay=delay) for i in ids]
        for _ in range(2 if state == "again" else 1):
            assert all(await self.scheduler.start_many(requests))
            if state == "again" and not self.raw.exists(f"{self.prefix}h:{ids[0]}"):
                await asyncio.gather(*(self.scheduler.cancel(i) for i in ids))
        if state in ("parked", "again"):
            await asyncio.gather(*(self.scheduler.offer_event(i, "early", 5) for i in ids))

    async def populate(self, states: list[str]) -> None:
        """First a sample of each state, to see what there is to damage; then one for each damage."""
        samples = {state: f"{state}-sample" for state in states}
        for state in states:
            await self.begin(state, [samples[state]])
        await self.settled(states)
        for state in states:
            wanted = [d for d in damages(self.raw, self.prefix, samples[state]) if ALL or d.how in HOWS]
            assert len(wanted) > 20, (state, wanted)
            victims = {f"{state}~{d.name}": d for d in wanted}
            bystanders = [f"{state}-{n}" for n in range(3)]
            await self.begin(state, [*bystanders[:1], *victims, *bystanders[1:]])
            self.victims.update(victims)
            self.bystanders += [*bystanders, samples[state]]
        await self.settled(states)

    async def settled(self, states: list[str]) -> None:
        """Until each stands in its state."""
        still = {"queued": "scheduled", "delayed": "scheduled", "done": "completed", "held": "running"}

        async def stands() -> bool:
            stats = await self.scheduler.stats()
            counts = {(task, str(status)): n for task, found in stats.by_task.items() for status, n in found.items()}
            for state in states:
                task = {"again": "parked", "delayed": "queued"}.get(state, state)
                expected = still.get(state, "waiting")
                wrong = [
                    s for (t, s), n in counts.items() if t == f"damage-{task}" and s not in (expected, "cancelled")
                ]
                if wrong:
                    return False
            return True

        await until(stands)

    def damage(self) -> None:
        for execution_id, wanted in self.victims.items():
            do(self.raw, self.prefix, execution_id, wanted)

    async def look(self) -> None:
        """Whatever a client asks about a victim, it gets an answer or an error of ours."""
        scheduler = self.scheduler
        for execution_id in self.victims:
            calls: list[Awaitable[Any]] = [
                scheduler.status(execution_id),
                scheduler.runs(execution_id),
                scheduler.detail(execution_id),
                scheduler.wait(execution_id, 0),
            ]
            for problem in await asyncio.gather(*calls, return_exceptions=True):
                assert not isinstance(problem, BaseException) or isinstance(problem, zart.ZartError), execution_id
        await scheduler.stats()
        for order in ("newest", "oldest"):
            seen = [record.execution_id for record in await self.everyone(order=order)]
            assert set(seen) >= set(self.bystanders)
        assert {record.execution_id for record in await self.everyone(id_prefix="parked-")} >= {
            name for name in self.bystanders if name.startswith("parked-")
        }

    async def everyone(self, **options: Any) -> list[zart.ExecutionRecord]:
        found: list[zart.ExecutionRecord] = []
        cursor = None
        while True:
            page = await self.scheduler.list_executions(limit=1000, cursor=cursor, **options)
            found += page
            cursor = page.cursor
            if cursor is None:
                return found

    async def wake(self) -> None:
        """Events for all; what is wrong with a victim is an error of ours."""
        ids = [*self.victims, *self.bystanders]
        answers = await asyncio.gather(*(self.scheduler.offer_event(i, "go", 5) for i in ids), return_exceptions=True)
        for execution_id, answer in zip(ids, answers, strict=True):
            assert not isinstance(answer, BaseException) or isinstance(answer, zart.ZartError), execution_id

    async def outcome(self, execution_id: str) -> zart.ExecutionRecord | zart.ZartError:
        try:
            return await self.scheduler.status(execution_id)
        except zart.ZartError as error:
            return error

    async def unaccounted(self, log: str) -> list[str]:
        """Victims that have neither ended nor been named, by the doctor, in the log, or to who asks for them."""
        named = {finding.subject for finding in await self.scheduler.doctor()}
        missing = []
        for execution_id, wanted in self.victims.items():
            found = await self.outcome(execution_id)
            if isinstance(found, zart.ExecutionRecord):
                fine = found.status.is_final or (_is_as_if_never(wanted) and found.status == "waiting")
            else:
                fine = isinstance(found, zart.ExecutionNotFound) or execution_id in str(found)
            if not (fine or execution_id in named or execution_id in log):
                missing.append(execution_id)
        return missing

    async def hindered(self, ids: list[str]) -> list[str]:
        """Those that have not completed as they should."""
        records = await asyncio.gather(*(self.scheduler.status(i) for i in ids))
        return [r.execution_id for r in records if r.output != OUTPUTS[r.execution_id.split("-")[0]]]


def _is_as_if_never(damage: Damage) -> bool:
    """An event of which nothing is left was never offered: the execution waits for it, and says so."""
    return damage.key[0] == "e" and damage.how == "missing"


def still_right(damage: Damage) -> bool:
    """Whether an execution that completes in spite of it must have the right output."""
    return damage.key[0] not in "rec" and damage.field not in (b"input", b"output", b"scope", b"run", b"task")


async def check(town: Town, worker: zart.Worker, caplog: pytest.LogCaptureFixture) -> None:
    await holds(lambda: town.hindered(town.bystanders), "bystanders that were hindered")
    await holds(lambda: town.unaccounted(caplog.text), "victims that were neither ended nor named")
    assert worker._background is not None
    assert not worker._background.done(), "the worker has died"
    assert "a service of the worker failed" not in caplog.text
    assert "Task exception was never retrieved" not in caplog.text
    assert {ran[name] for name in town.bystanders} <= {0, 1, 2}
    for execution_id, wanted in town.victims.items():
        found = await town.outcome(execution_id)
        if isinstance(found, zart.ExecutionRecord) and found.status == "completed" and still_right(wanted):
            assert found.output == OUTPUTS[execution_id.split("~")[0]], execution_id


async def holds(wrong: Callable[[], Awaitable[list[str]]], what: str) -> None:
    """Until nothing is wrong any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found := await wrong():
        assert time.monotonic() < deadline, f"{what}: {found}"
        await asyncio.sleep(0.1)


async def mend(town: Town) -> None:
    """Whatever an operator does to a victim, he gets an answer or an error of ours, and harms no bystander."""
    scheduler = town.scheduler
    await scheduler.doctor(repair=True)
    for execution_id in town.victims:
        for call in (
            scheduler.cancel(execution_id),
            scheduler.rerun_steps(execution_id),
            scheduler.restart(execution_id),
            scheduler.cancel(execution_id),
        ):
            try:
                await call
            except zart.ZartError:
                pass
    await scheduler.purge()
    findings = await scheduler.doctor(repair=True)
    assert not [finding for finding in findings if finding.subject in town.bystanders]


async def test_what_stands_still_is_damaged(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    ran.clear()
    town = Town(scheduler, raw, prefix)
    async with running_worker(scheduler):
        await town.populate(["parked", "failing", "again", "done"])
        await town.populate(["fanned", "retrying", "returned", "delayed"])
    await town.populate(["queued"])
    town.damage()
    await town.look()
    async with running_worker(scheduler, lease="3s") as worker:
        await town.wake()
        await check(town, worker, caplog)
        await mend(town)
        assert not worker._background.done()  # type: ignore[union-attr]
    print(f"{len(town.victims)} damages")


async def test_what_a_worker_holds_is_damaged(
    scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    ran.clear()
    damage.gate = Gate()
    town = Town(scheduler, raw, prefix)
    async with running_worker(scheduler, lease="3s", concurrency=500) as worker:
        await town.populate(["held"])
        await until(lambda: len(ran) == len(town.victims) + len(town.bystanders))
        town.damage()
        await town.look()
        damage.gate.opened.set()
        await check(town, worker, caplog)
        await mend(town)
