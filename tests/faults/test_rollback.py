"""Redis comes back without the newest of what it has acknowledged, as after a power cut: what a worker has built upon
that is refused, and the body begins again from what is there."""

import asyncio
import os

import pytest

import zart_redis as zart
from tests.faults.app import (
    chain_of_tokens,
    gates,
    scheduled_token,
    token_beside_a_fan_out,
    tokens_after_a_fan_out,
    tokens_at_second_tries,
)
from tests.support.servers import RedisProcess
from tests.support.waiting import SOON, Gate, happens
from tests.support.workers import running_worker
from zart_redis.model import BodyClaim
from zart_redis.store.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def new_gates() -> None:
    gates.update(one=Gate(), two=Gate(), three=Gate())
    gates["three"].opened.set()


async def roll_back(server: RedisProcess, length: int) -> None:
    """Kill it, and let it start again without what it has written since its AOF had this length."""
    await asyncio.to_thread(server.kill9)
    aof = server.aof()
    assert aof is not None
    os.truncate(aof, length)
    await asyncio.to_thread(server.start)


def length_of_aof(server: RedisProcess) -> int:
    aof = server.aof()
    assert aof is not None
    return aof.stat().st_size


@pytest.mark.parametrize(
    "handler",
    [chain_of_tokens, tokens_at_second_tries, scheduled_token, token_beside_a_fan_out, tokens_after_a_fan_out],
    ids=lambda handler: handler.name,
)
async def test_what_was_acknowledged_and_lost_is_not_built_upon(
    own_server: RedisProcess,
    own_scheduler: zart.DurableScheduler,
    handler: zart.DurableHandler[None, list[str]],
) -> None:
    async with running_worker(own_scheduler, lease="2s"):
        await own_scheduler.start_for(handler, "x")
        await happens(gates["one"].begun)
        length = length_of_aof(own_server)
        gates["one"].opened.set()
        await happens(gates["two"].begun)
        await roll_back(own_server, length)
        gates["two"].opened.set()
        output = await own_scheduler.wait_for(handler, "x", SOON)
    recorded = {step.name: step.result for step in (await own_scheduler.detail("x")).steps}
    names = [f"faults-token-{gate}" for gate in ("one", "two", "three")]
    assert output == [recorded[name] for name in names[: len(output)]]
    assert output[1].endswith(output[0])
    assert await own_scheduler.doctor() == []


async def test_a_claim_that_is_made_again_has_another_fence_than_the_one_that_was_lost(
    own_server: RedisProcess, own_scheduler: zart.DurableScheduler
) -> None:
    """Else what was sent under the lost one, and is sent again, would be taken for the new one's."""
    await own_scheduler.start("x", "nobody-runs-it")
    length = length_of_aof(own_server)
    fences = []
    async with Store(own_scheduler.settings, patience=None) as store:
        for _ in range(2):
            (claim,) = await store.partition("x").transitions.claim("w", 1, ["default"])
            assert isinstance(claim, BodyClaim)
            fences.append(claim.fence)
            await roll_back(own_server, length)
    assert fences[0] != fences[1]


async def test_a_lost_claim_is_made_again_though_the_old_one_still_runs(
    own_server: RedisProcess, own_scheduler: zart.DurableScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    await own_scheduler.start_for(chain_of_tokens, "x")
    length = length_of_aof(own_server)
    async with running_worker(own_scheduler, lease="8s", concurrency=2):
        await happens(gates["one"].begun)
        gates["one"].begun.clear()
        await roll_back(own_server, length)
        await happens(gates["one"].begun)
        for gate in gates.values():
            gate.opened.set()
        await own_scheduler.wait_for(chain_of_tokens, "x", SOON)
        await own_scheduler.start_many([(f"x{n}", chain_of_tokens.name, None) for n in range(4)])
        for number in range(4):
            await own_scheduler.wait_for(chain_of_tokens, f"x{number}", SOON)
    assert "Exception in callback" not in caplog.text
