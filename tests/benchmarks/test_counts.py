"""What is sent to Redis, counted: this depends on no clock. A lease of an hour keeps heartbeats out of the counts."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from benchmarks.handlers import chain, fan_out, no_op, replay
from benchmarks.scene import Scene, Stage
from zart_redis.model import ExecutionStatus

pytestmark = pytest.mark.anyio

Count = Callable[[Awaitable[Any]], Awaitable[Counter[str]]]


@pytest.fixture
async def stage(scene: Scene) -> AsyncIterator[Stage]:
    async with scene.stage(lease="1h") as stage:
        await stage.run(no_op, 0)
        yield stage


@pytest.fixture
def count(scene: Scene) -> Count:
    """The commands that Redis carries out while something is awaited."""

    async def counted(work: Awaitable[Any]) -> Counter[str]:
        before = scene.server.calls()
        await work
        return scene.server.calls() - before

    return counted


async def test_a_recorded_step_costs_one_script_of_five_commands(stage: Stage, count: Count) -> None:
    short, long = await count(stage.run(chain, 50)), await count(stage.run(chain, 150))
    difference = long - short
    assert difference["hsetnx"] == 100
    # A claim or a look at the status more or less is a matter of moments.
    commands = {name: round(calls, -1) for name, calls in difference.items() if calls > 10}
    assert commands == {"evalsha": 100, "hget": 100, "hmget": 100, "hsetnx": 100, "time": 100}


async def test_an_execution_of_ten_steps_costs_ten_scripts_and_a_few(stage: Stage, count: Count) -> None:
    """start, claim, record (10), finish, and a claim or two that find nothing more; the client describes it twice."""
    calls = await count(stage.run(chain, 10))
    assert calls["evalsha"] <= 18


async def test_executions_that_run_together_share_their_claims(stage: Stage, count: Count) -> None:
    calls = await count(stage.run_all(chain, [10] * 100))
    start_record_finish = 100 * (1 + 10 + 1)
    assert calls["evalsha"] <= start_record_finish * 1.1


async def test_a_replayed_step_costs_no_round_trip(stage: Stage, count: Count) -> None:
    async def resumed(length: int) -> Counter[str]:
        execution_id = stage.new_id()
        await stage.scheduler.start_for(replay, execution_id, length)
        await stage.reach(replay, ExecutionStatus.WAITING, 1)

        async def resume() -> None:
            await stage.scheduler.offer_event(execution_id, "go", length)
            assert await stage.scheduler.wait_for(replay, execution_id, "30s") == length

        return await count(resume())

    few, many = await resumed(10), await resumed(500)
    assert few["evalsha"] <= 8
    assert many["evalsha"] <= 8


async def test_a_scheduled_step_costs_one_script_and_shares_the_others(stage: Stage, count: Count) -> None:
    narrow, wide = await count(stage.run(fan_out, 200)), await count(stage.run(fan_out, 1200))
    assert wide["evalsha"] - narrow["evalsha"] <= 1000 * 1.2
