"""The script that ends a run and begins the next one: what moves on, what is gone, what a repeated command does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from tests.invariants import violations
from tests.snapshot import take_snapshot
from zart_redis.engine.journal import event_stamp
from zart_redis.layout import Key
from zart_redis.model import BodyClaim, Fenced
from zart_redis.store.commits import Commits
from zart_redis.store.connections import Connections
from zart_redis.store.replies import Held
from zart_redis.store.transitions import Transitions, heartbeat_command

pytestmark = pytest.mark.anyio

NOW = 1_000_000
ID, TASK, QUEUE = "it", "task", "default"


@pytest.fixture
async def zart(redis_url: str, prefix: str) -> AsyncIterator[Transitions]:
    connections = await Connections.open(redis_url)
    commits = Commits(connections, prefix, patience=5)
    await commits.submit(heartbeat_command(prefix, "w", 10_000_000, "1", b"{}"))
    yield Transitions(commits, prefix, lambda: NOW)
    await commits.close()
    await connections.close()


async def claim(zart: Transitions) -> tuple[BodyClaim, Held]:
    (body,) = await zart.claim("w", 1, [QUEUE])
    assert isinstance(body, BodyClaim)
    return body, Held(ID, body.fence, body.scope, "")


async def begin(zart: Transitions) -> Held:
    await zart.start(ID, TASK, QUEUE, b"\x01", None, 5000, "")
    return (await claim(zart))[1]


async def test_the_next_run_has_its_input_a_deadline_and_nothing_else(
    zart: Transitions, raw: redis.Redis, prefix: str
) -> None:
    held = await begin(zart)
    await zart.record(held, "step", b"v\xc0", ordered=True)
    await zart.park(held, 1, "1", [("s", "nap", "100"), ("w", "shipped", ""), ("t", "1.1", "@1000050")], [])
    assert raw.exists(Key.WAITS.of(prefix, ID))
    await zart.continue_as_new(held, b"\x02", 7000, [])
    assert violations(take_snapshot(raw, prefix)) == []
    x, waits, *_ = await zart.read_execution(ID) or ({}, {}, [])
    assert (x["run"], x["status"], x["input"], x["deadline"]) == (b"2", b"scheduled", b"\x02", b"1007000")
    assert (x["trigger"], x["task"], x["completions"]) == (b"continue_as_new", b"task", b"0")
    assert waits == {}
    body, _ = await claim(zart)
    assert (body.scope, body.records, body.events, body.completions) == ("2", {}, {}, 0)


async def test_the_events_of_the_next_run_are_numbered_from_1_in_their_order(
    zart: Transitions, raw: redis.Redis, prefix: str
) -> None:
    held = await begin(zart)
    names = [f"event-{number}" for number in (5, 3, 9, 1)]
    for name in names:
        await zart.deliver(ID, name, name.encode())
    await zart.continue_as_new(held, b"\x02", None, ["event-3"])
    assert violations(take_snapshot(raw, prefix)) == []
    body, _ = await claim(zart)
    stamps = {name: event_stamp(event) for name, event in body.events.items()}
    assert sorted(stamps, key=lambda name: stamps[name].number) == ["event-5", "event-9", "event-1"]
    assert sorted(stamp.number for stamp in stamps.values()) == [1, 2, 3]
    assert {stamp.at for stamp in stamps.values()} == {NOW}
    assert all(event.endswith(name.encode()) for name, event in body.events.items())
    assert body.completions == 3
    received: Any = raw.hkeys(Key.EVENTS.of(prefix, ID, 1))
    assert received == [b"event-3"]


async def test_a_stale_or_repeated_command_changes_nothing(zart: Transitions, raw: redis.Redis, prefix: str) -> None:
    held = await begin(zart)
    with pytest.raises(Fenced):
        await zart.continue_as_new(held._replace(fence="1@other"), b"\x02", None, [])
    await zart.continue_as_new(held, b"\x02", None, [])
    before = take_snapshot(raw, prefix).raw
    for data in (b"\x02", b"\x03"):
        with pytest.raises(Fenced):
            await zart.continue_as_new(held, data, None, [])
        with pytest.raises(Fenced):
            await zart.record(held, "late", b"v\xc0", ordered=False)
    assert take_snapshot(raw, prefix).raw == before


async def test_a_command_that_began_the_old_run_and_is_sent_again_finds_the_new_one(
    zart: Transitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonce = b"of start"
    monkeypatch.setattr("zart_redis.store.client_transitions.new_nonce", lambda: nonce)
    held = await begin(zart)
    await zart.continue_as_new(held, b"\x02", None, [])
    assert (await zart.start(ID, TASK, QUEUE, b"\x01", None, 5000, "")).run == 2
    nonce = b"of rerun"
    rerun = await zart.rerun(ID, None, "", [], [], False)
    assert rerun
    _, held = await claim(zart)
    await zart.continue_as_new(held, b"\x03", None, [])
    assert await zart.rerun(ID, None, "", [], [], False) == rerun


async def test_runs_are_read_however_high_their_numbers_are(zart: Transitions, raw: redis.Redis, prefix: str) -> None:
    held = await begin(zart)
    raw.hset(Key.EXECUTION.of(prefix, ID), "run", 1_000_000)
    raw.hset(Key.EXECUTION.of(prefix, ID), "scope", 1_000_000)
    await zart.continue_as_new(held._replace(scope="1000000"), b"\x02", None, [])
    sent = raw.info("stats")["total_commands_processed"]
    assert sorted(await zart.read_runs(ID)) == [1_000_000, 1_000_001]
    assert raw.info("stats")["total_commands_processed"] - sent < 50
