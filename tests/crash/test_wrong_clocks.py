"""Redis keeps the time: workers whose clocks are a day off fire nothing early or late and give nobody up for dead."""

import asyncio
import time
from datetime import timedelta

import pytest

import zart_redis as zart
from tests.crash import app
from tests.crash.conftest import Start, Traces
from tests.support.waiting import SOON, until

pytestmark = pytest.mark.anyio

DAY = 86_400.0


@pytest.mark.parametrize("shift", [DAY, -DAY], ids=["a day ahead", "a day behind"])
async def test_waits_and_deadlines_end_by_the_clock_of_redis(
    process: Start, scheduler: zart.DurableScheduler, traces: Traces, shift: float
) -> None:
    process(clock_shift=shift)
    began = time.time()
    await scheduler.start_for(app.timed, "timed", traces.folder)
    await scheduler.start_for(app.timed, "later", traces.folder, delay="300ms")
    await scheduler.start("overdue", "overdue", traces.folder)
    for execution_id, waits in (("timed", 4), ("later", 5)):
        record = await scheduler.wait(execution_id, "60s")
        assert timedelta(milliseconds=300 * waits) <= duration(record) < timedelta(hours=1)
        assert abs(record.output - began - shift) < DAY / 2, "its clock was not wrong"
    record = await scheduler.wait("overdue", "60s")
    assert record.error is not None
    assert record.error.type_name == "ExecutionTimeout"
    assert timedelta(milliseconds=300) <= duration(record) < timedelta(hours=1)


def duration(record: zart.ExecutionRecord) -> timedelta:
    """From its creation to its end, both stamped by Redis."""
    assert record.finished_at is not None
    return record.finished_at - record.created_at


@pytest.mark.parametrize("shift", [DAY, -DAY], ids=["a day ahead", "a day behind"])
async def test_a_lease_ends_by_the_clock_of_redis(
    process: Start, scheduler: zart.DurableScheduler, traces: Traces, shift: float
) -> None:
    holder = process(lease="2s")
    await scheduler.start_for(app.in_place, "x", traces.folder)
    await until(lambda: "hold-begun" in traces.words())
    process(lease="2s", clock_shift=shift)
    await scheduler.start_for(app.timed, "timed", traces.folder)
    await scheduler.wait("timed", "60s")  # the other worker is there, and has looked for dead ones
    await asyncio.sleep(2)
    assert traces.words().count("hold-begun") == 1, "a live worker was given up"
    holder.kill9()
    await until(lambda: traces.words().count("hold-begun") == 2, 60)
    traces.open_gate()
    assert (await scheduler.wait("x", SOON)).status == "completed"
