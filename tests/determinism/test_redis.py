"""A replay is the first run again, on Redis: generated bodies under workers that come and go, by real time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import zart_redis as zart
from tests.determinism.programs import EVENTS, WORLDS, Program, World, programs, run_program
from tests.support.waiting import SOON
from tests.support.workers import running_worker
from zart_redis import zart_durable

pytestmark = pytest.mark.anyio

PROGRAMS = 100
WORKERS = 8
"""Workers that take the bodies up one after the other; each is stopped in the middle of its work but for the last."""


@zart_durable("determinism-generated")
async def generated(program: list[Any]) -> None:
    await run_program(program, WORLDS[zart.context().execution_id])


def drawn(count: int) -> list[Program]:
    """Generated programs, the same in each test run."""
    found: list[Program] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(programs(), st.none())
    def draw(program: Program, _: None) -> None:
        found.append(program)

    draw()
    return found


async def offer(scheduler: zart.DurableScheduler, offers: Iterable[tuple[str, str]]) -> None:
    for execution_id, event in offers:
        try:
            await scheduler.offer_event(execution_id, event, event)
        except zart.ExecutionFinished:
            pass


@pytest.mark.parametrize("warm", [0, 200])
async def test_every_pass_sees_what_the_first_one_saw(
    scheduler: zart.DurableScheduler, warm: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(warm)
    ids = {f"generated-{uuid4().hex[:8]}": program for program in drawn(PROGRAMS)}
    WORLDS.update({execution_id: World() for execution_id in ids})
    await scheduler.start_many([(id, "determinism-generated", list(program)) for id, program in ids.items()])
    offers = [(execution_id, event) for execution_id in ids for event in EVENTS]
    rng.shuffle(offers)
    share = len(offers) // WORKERS
    for number in range(WORKERS - 1):
        async with running_worker(scheduler, warm=warm, grace="1ms"):
            await offer(scheduler, offers[number * share : (number + 1) * share])
            await asyncio.sleep(rng.random() / 20)
    async with running_worker(scheduler, warm=warm):
        await offer(scheduler, offers[(WORKERS - 1) * share :])
        records = [await scheduler.wait(execution_id, SOON) for execution_id in ids]
    assert {(record.status, record.error) for record in records} == {("completed", None)}
    problems = [f"{ids[id]}: {problem}" for id in ids for problem in WORLDS[id].problems()]
    assert not problems, "\n".join(problems)
    assert "unexpected error" not in caplog.text
    passes = [len(WORLDS[id].logs) for id in ids]
    assert warm or sum(passes) > PROGRAMS
