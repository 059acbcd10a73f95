"""Messages: a mailbox for each id, received in order, each once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import zart_redis as zart
from zart_redis import zart_durable, zart_step

pytestmark = pytest.mark.anyio
OPTIONS = [{}, {"replay": True}]


@dataclass
class Order:
    account: str
    cents: int


@zart_durable("messages-collecting")
async def collecting(count: int) -> list[Any]:
    return [await zart.receive(f"item-{n}", channel="items") for n in range(count)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_messages_are_received_in_order_whether_the_execution_waits_or_not(
    zart_harness: Any, options: Any
) -> None:
    async with zart_harness(collecting, **options) as h:
        await h.scheduler.start_for(collecting, "c", 4)
        await h.scheduler.send("c", "items", 0)
        await h.scheduler.send("c", "other", "never received")
        await h.advance("1s")
        status = await h.scheduler.status("c")
        assert status.waiting_for == ("message item-1",)
        for n in range(1, 4):
            await h.scheduler.send("c", "items", n)
        assert await h.scheduler.wait_for(collecting, "c", "10s") == [0, 1, 2, 3]


@zart_durable("messages-typed")
async def typed(_: None = None) -> Order | str:
    try:
        return await zart.receive("order", type=Order)
    except zart.SerializationError:
        return await zart.receive("another", channel="order", type=str)


async def test_a_message_that_does_not_fit_is_consumed(zart_harness: Any) -> None:
    async with zart_harness(typed) as h:
        await h.scheduler.start_for(typed, "fits")
        await h.scheduler.send("fits", "order", Order("acme", 5))
        assert await h.scheduler.wait_for(typed, "fits", "10s") == Order("acme", 5)
        await h.scheduler.start_for(typed, "unfit")
        await h.scheduler.send("unfit", "order", {"account": 1})
        await h.scheduler.send("unfit", "order", "text")
        assert await h.scheduler.wait_for(typed, "unfit", "10s") == "text"


@zart_durable("messages-patient")
async def patient(_: None = None) -> str:
    try:
        return str(await zart.receive("first", channel="mail", timeout="1h"))
    except zart.DeadlineExceeded as error:
        late = await zart.receive("second", channel="mail")
        return f"{error.step} {late}"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_receive_that_times_out_takes_no_message(zart_harness: Any, options: Any) -> None:
    async with zart_harness(patient, **options) as h:
        await h.scheduler.start_for(patient, "p")
        await h.advance("2h")
        await h.scheduler.send("p", "mail", "late")
        assert await h.scheduler.wait_for(patient, "p", "10s") == "first late"


async def test_a_repeated_message_id_changes_nothing(zart_harness: Any) -> None:
    async with zart_harness(collecting) as h:
        await h.scheduler.start_for(collecting, "c", 2)
        for _ in range(3):
            await h.scheduler.send("c", "items", "once", message_id="m-1")
        await h.advance("1s")
        await h.scheduler.send("c", "items", "once", message_id="m-1")  # after it has been received
        await h.scheduler.send("c", "items", "twice", message_id="m-2")
        assert await h.scheduler.wait_for(collecting, "c", "10s") == ["once", "twice"]


@zart_durable("messages-cancelling")
async def cancelling(_: None = None) -> list[Any]:
    """Cancels a call that has been given a message before the body learns of it."""
    receiving = asyncio.ensure_future(zart.receive("lost", channel="mail"))
    await zart.wait_for_event("go")
    receiving.cancel()
    return [await zart.receive(f"got-{n}", channel="mail") for n in range(2)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_cancelled_receive_gives_its_message_back_in_front(zart_harness: Any, options: Any) -> None:
    async with zart_harness(cancelling, **options) as h:
        await h.scheduler.start_for(cancelling, "c")
        await h.advance("1s")
        async with h.outage():  # both come while nobody holds the body, the event first
            await h.scheduler.offer_event("c", "go")
            await h.scheduler.send("c", "mail", 1)
            await h.scheduler.send("c", "mail", 2)
        assert await h.scheduler.wait_for(cancelling, "c", "10s") == [1, 2]


@zart_durable("messages-turning")
async def turning(seen: list[int]) -> list[int]:
    """Receives one message a run, and returns while another call still waits for one."""
    waiting = asyncio.ensure_future(zart.receive("never", channel="numbers", timeout="10h"))
    await zart.wait_for_event("next")
    waiting.cancel()
    seen = [*seen, await zart.receive("number", channel="numbers", type=int)]
    if len(seen) < 3:
        await zart.continue_as_new(seen)
    return seen


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_messages_survive_new_runs(zart_harness: Any, options: Any) -> None:
    async with zart_harness(turning, **options) as h:
        await h.scheduler.start_for(turning, "t", [])
        for n in range(3):
            await h.advance("1s")
            async with h.outage():
                await h.scheduler.offer_event("t", "next")
                await h.scheduler.send("t", "numbers", n, message_id=f"n-{n}")
        assert await h.scheduler.wait_for(turning, "t", "10s") == [0, 1, 2]
        assert (await h.scheduler.status("t")).run == 3


@zart_durable("messages-leaving")
async def leaving(_: None = None) -> str:
    waiting = asyncio.ensure_future(zart.receive("unseen", channel="mail"))
    await zart.wait_for_event("go")
    return "still waiting" if waiting.done() else "left"


async def test_a_body_that_ends_returns_what_it_has_not_received(zart_harness: Any) -> None:
    async with zart_harness(leaving, collecting) as h:
        await h.scheduler.start_for(leaving, "l")
        await h.advance("1s")
        async with h.outage():
            await h.scheduler.offer_event("l", "go")
            await h.scheduler.send("l", "items", "kept")
            await h.scheduler.send("l", "mail", "also kept")
        assert await h.scheduler.wait_for(leaving, "l", "10s") == "left"
        await h.scheduler.start_for(collecting, "l", 1)
        assert await h.scheduler.wait_for(collecting, "l", "10s") == ["kept"]


async def test_a_message_survives_a_restart_unless_it_was_received(zart_harness: Any) -> None:
    async with zart_harness(collecting) as h:
        await h.scheduler.start_for(collecting, "c", 2)
        await h.scheduler.send("c", "items", "received")
        await h.advance("1s")
        async with h.outage():
            await h.scheduler.send("c", "items", "given to a parked body")
            await h.scheduler.send("c", "items", "in the mailbox")
            await h.scheduler.restart("c", 2)
        assert await h.scheduler.wait_for(collecting, "c", "10s") == ["given to a parked body", "in the mailbox"]


@zart_durable("messages-gathering")
async def gathering(count: int) -> list[Any]:
    return list(await asyncio.gather(*(zart.receive(f"r-{n}", channel="line") for n in range(count))))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_receivers_are_served_in_the_order_of_their_calls(zart_harness: Any, options: Any) -> None:
    async with zart_harness(gathering, **options) as h:
        await h.scheduler.start_for(gathering, "g", 12)
        await h.advance("1s")
        for n in range(12):
            await h.scheduler.send("g", "line", n)
        assert await h.scheduler.wait_for(gathering, "g", "10s") == list(range(12))


async def test_a_message_may_start_the_execution(zart_harness: Any) -> None:
    async with zart_harness(collecting) as h:
        for n in range(2):
            await h.scheduler.send("c", "items", n, start=(collecting, 2))
        assert await h.scheduler.wait_for(collecting, "c", "10s") == [0, 1]
        await h.scheduler.send("c", "items", 2, start=(collecting, 1))  # a new run
        assert await h.scheduler.wait_for(collecting, "c", "10s") == [2]
        assert (await h.scheduler.status("c")).run == 2


async def test_what_cannot_be_sent_is_refused(zart_harness: Any) -> None:
    async with zart_harness(collecting, max_mailbox=2) as h:
        with pytest.raises(zart.ExecutionNotFound):
            await h.scheduler.send("nobody", "items", 1)
        await h.scheduler.start_for(collecting, "c", 0)
        await h.scheduler.wait("c", "10s")
        with pytest.raises(zart.ExecutionFinished):
            await h.scheduler.send("c", "items", 1)
        await h.scheduler.start_for(collecting, "full", 5, delay="1h")
        for n in range(2):
            await h.scheduler.send("full", "items", n)
        with pytest.raises(zart.MailboxFull, match="'full'"):
            await h.scheduler.send("full", "items", 3)
        for bad in ("", "a\nb", "x" * 513):
            with pytest.raises(zart.InvalidInput):
                await h.scheduler.send("full", bad, 1)
            with pytest.raises(zart.InvalidInput):
                await h.scheduler.send("full", "items", 1, message_id=bad)


@zart_step("messages-prepare")
async def prepare(n: int) -> int:
    return n * n


@zart_durable("messages-sending")
async def sending(target: str) -> str:
    for n in range(3):
        await zart.send(f"send-{n}", target, "items", await prepare(n).named(f"prepare-{n}"))
    try:
        await zart.send("to-nobody", "nobody", "items", 1)
    except zart.ExecutionNotFound as error:
        return error.execution_id
    return ""


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_body_sends_each_message_once(zart_harness: Any, options: Any, partitions: int) -> None:
    async with zart_harness(sending, collecting, partitions=partitions, **options) as h:
        await h.scheduler.start_for(collecting, "c", 3)
        assert await h.run(sending, "s", "c") == "nobody"
        assert await h.scheduler.wait_for(collecting, "c", "10s") == [0, 1, 4]


@zart_durable("messages-launching")
async def launching(_: None = None) -> str:
    for _n in range(2):
        await zart.start(collecting, "other", 0, if_live="return")
    await zart.start(collecting, "late", 1, delay="1h", tags={"by": "launching"})
    try:
        await zart.start(collecting, "late", 1)
    except zart.ExecutionAlreadyExists as error:
        return error.status
    return ""


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_a_body_starts_another_execution_once(zart_harness: Any, options: Any, partitions: int) -> None:
    async with zart_harness(launching, collecting, partitions=partitions, **options) as h:
        assert await h.run(launching, "l") == "scheduled"
        assert (await h.scheduler.status("late")).tags == {"by": "launching"}
        await h.scheduler.wait("other", "10s")
        assert (await h.scheduler.status("other")).run <= 2


async def test_a_message_shows_in_the_detail_and_in_the_history(zart_harness: Any, tmp_path: Path) -> None:
    async with zart_harness(collecting) as h:
        await h.scheduler.start_for(collecting, "c", 2)
        await h.scheduler.send("c", "items", {"shoes": 2})
        await h.advance("1s")
        received, waiting = (await h.scheduler.detail("c")).steps
        assert (received.name, received.kind, received.status, received.result) == (
            "item-0", "message", "completed", {"shoes": 2},
        )  # fmt: skip
        assert (waiting.name, waiting.kind, waiting.status) == ("item-1", "message", "waiting")
        await h.scheduler.send("c", "items", 2)
        await h.scheduler.wait("c", "10s")
        path = tmp_path / "c.json"
        path.write_text(json.dumps(await h.scheduler.history("c")))
        zart.testing.replay(collecting, path)
