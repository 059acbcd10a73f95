"""Connections that break in the middle of a reply: the command is sent again, and the answer is the first one's."""

import asyncio
import random

import pytest

import zart_redis as zart
from tests.faults.app import chain, job, parked
from tests.faults.network import Network
from tests.support.waiting import SOON, happens, reaches
from tests.support.workers import running_worker

pytestmark = pytest.mark.anyio

KEPT = pytest.mark.parametrize("kept", [0, 2])
"""Nothing of the reply, or a part of it."""


@KEPT
async def test_a_start_whose_reply_is_lost_has_started_once(
    far_scheduler: zart.DurableScheduler, network: Network, kept: int
) -> None:
    await far_scheduler.start_for(parked, "warm-up")
    network.lose_reply("start", kept)
    before = network.times_sent("start")
    assert await far_scheduler.start_for(parked, "p") == 1
    assert network.lost.is_set()
    assert network.times_sent("start") == before + 2
    with pytest.raises(zart.ExecutionAlreadyExists):
        await far_scheduler.start_for(parked, "p")


async def test_a_start_whose_reply_is_lost_has_started_though_it_was_cancelled_meanwhile(
    far_scheduler: zart.DurableScheduler, own_scheduler: zart.DurableScheduler, network: Network
) -> None:
    network.lose_reply("start", 0)
    starting = asyncio.create_task(far_scheduler.start_for(parked, "p"))
    await happens(network.lost)
    network.may_connect.clear()
    assert await own_scheduler.cancel("p") is True
    network.may_connect.set()
    assert await starting == 1
    record = await own_scheduler.status("p")
    assert (record.status, record.run) == ("cancelled", 1)


@KEPT
async def test_a_cancel_whose_reply_is_lost_has_cancelled(
    far_scheduler: zart.DurableScheduler, network: Network, kept: int
) -> None:
    await far_scheduler.start_for(parked, "p")
    network.lose_reply("cancel", kept)
    assert await far_scheduler.cancel("p") is True
    assert network.times_sent("cancel") >= 2
    assert await far_scheduler.cancel("p") is False


@KEPT
async def test_an_event_whose_reply_is_lost_was_offered_once(
    far_scheduler: zart.DurableScheduler, network: Network, kept: int
) -> None:
    await far_scheduler.start_for(parked, "p")
    network.lose_reply("deliver", kept)
    assert await far_scheduler.offer_event("p", "go", 1) is zart.EventDelivery.BUFFERED
    assert network.times_sent("deliver") >= 2
    assert await far_scheduler.offer_event("p", "go", 2) is zart.EventDelivery.DUPLICATE


async def test_an_event_whose_reply_is_lost_was_delivered_though_it_ended_the_execution(
    far_scheduler: zart.DurableScheduler, own_scheduler: zart.DurableScheduler, network: Network
) -> None:
    async with running_worker(own_scheduler):
        await own_scheduler.start_for(parked, "p")
        await reaches(own_scheduler, "p", "waiting", "event go")
        network.lose_reply("deliver", 0)
        offering = asyncio.create_task(far_scheduler.offer_event("p", "go", 1))
        await happens(network.lost)
        network.may_connect.clear()
        assert await own_scheduler.wait_for(parked, "p", SOON) == "1"
        network.may_connect.set()
        assert await offering is zart.EventDelivery.DELIVERED


async def test_a_repair_whose_reply_is_lost_is_made_once(
    far_scheduler: zart.DurableScheduler, network: Network
) -> None:
    await far_scheduler.start_for(parked, "p")
    network.lose_reply("restart", 0)
    assert await far_scheduler.restart("p") == 2
    network.lose_reply("rerun", 0)
    assert (await far_scheduler.rerun_steps("p")).run == 3
    assert [run.run for run in await far_scheduler.runs("p")] == [1, 2, 3]


@pytest.mark.parametrize("script", ["claim", "record", "park", "due", "schedule", "join", "complete_step", "finish"])
async def test_a_worker_that_loses_a_reply_goes_on(
    far_scheduler: zart.DurableScheduler, own_scheduler: zart.DurableScheduler, network: Network, script: str
) -> None:
    async with running_worker(far_scheduler, lease="5s"):
        await own_scheduler.start_for(job, "before", 0)
        await own_scheduler.offer_event("before", "bonus", 1)
        await own_scheduler.wait("before", SOON)
        network.lose_reply(script, 3)
        await own_scheduler.start_for(job, "j", 0)
        await own_scheduler.offer_event("j", "bonus", 1)
        assert await own_scheduler.wait_for(job, "j", SOON) == 17
        await happens(network.lost)
    assert await own_scheduler.doctor() == []


async def test_all_connections_are_cut_again_and_again(
    far_scheduler: zart.DurableScheduler, own_scheduler: zart.DurableScheduler, network: Network
) -> None:
    async def cut() -> None:
        for _ in range(12):
            await asyncio.sleep(random.uniform(0.01, 0.12))
            network.reset()

    async def run(number: int) -> int:
        assert await far_scheduler.start_for(job, f"j{number}", number) == 1
        assert await far_scheduler.offer_event(f"j{number}", "bonus", number) is not zart.EventDelivery.DUPLICATE
        return await far_scheduler.wait_for(job, f"j{number}", "30s")

    async with running_worker(far_scheduler, lease="3s"):
        cutting = asyncio.create_task(cut())
        assert await asyncio.gather(*(run(n) for n in range(30))) == [16 + n for n in range(30)]
        await cutting
    assert await own_scheduler.doctor() == []


async def test_a_cancelled_call_leaves_the_answers_of_its_neighbours_alone(
    far_scheduler: zart.DurableScheduler, own_scheduler: zart.DurableScheduler, network: Network
) -> None:
    """All of them share pipelines, and are cancelled while theirs is on its way there or back."""
    network.delay = 0.01
    await far_scheduler.start_many([(f"p{n}", "faults-parked", None) for n in range(20)])

    async def ask(number: int) -> str:
        if number % 3:
            return (await far_scheduler.status(f"p{number % 20}")).execution_id
        return str(await far_scheduler.start_for(chain, f"c{number}", 1))

    tasks = []
    for number in range(300):
        tasks.append(asyncio.create_task(ask(number)))
        if number % 7 == 0:
            await asyncio.sleep(random.uniform(0, 0.004))
        random.choice(tasks).cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    kept = [(number, answer) for number, answer in enumerate(answers) if not isinstance(answer, BaseException)]
    assert len(kept) > 50
    assert all(answer == (f"p{number % 20}" if number % 3 else "1") for number, answer in kept)
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == []
    network.delay = 0
    assert (await far_scheduler.status("p1")).execution_id == "p1"
    assert await own_scheduler.doctor() == []


async def test_200_ms_of_latency_change_no_result(
    far_scheduler: zart.DurableScheduler, own_scheduler: zart.DurableScheduler, network: Network
) -> None:
    async with running_worker(far_scheduler, lease="1s") as worker:
        network.delay = 0.2
        await far_scheduler.start_many([(f"j{n}", "faults-job", n) for n in range(20)])
        await asyncio.gather(*(far_scheduler.offer_event(f"j{n}", "bonus", n) for n in range(20)))
        assert await asyncio.gather(*(own_scheduler.wait_for(job, f"j{n}", SOON) for n in range(20))) == [
            16 + n for n in range(20)
        ]
        runs = [await own_scheduler.detail(f"j{n}") for n in range(20)]
        network.delay = 0
    workers = {attempt.worker for run in runs for step in run.steps for attempt in step.attempts}
    assert workers == {worker.id}
    assert {step.attempt_count for run in runs for step in run.steps if step.kind == "step"} == {1}
