"""Plays a workflow once for each place where its worker, or its client, can die or be cut off from Redis, and says what
went wrong."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.crash.places.laws import Snapshot, broken_laws, leftovers
from tests.crash.places.stage import FATES, RETENTION, Place, Stage, Victim
from tests.crash.places.workflows import EFFECTS, HANDLERS, Workflow
from zart_redis.store.lua import SCRIPTS

PLAY_SECONDS = 60.0
_RECORDED = ("v", "b", "z", "c", "S", "T")


@dataclass
class Play:
    """What came of one run."""

    place: Place | None
    met_at: str = ""
    """The command at which the fate was met."""
    problems: list[str] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=dict)
    effects: Counter[tuple[str, int]] = field(default_factory=Counter)
    before: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The effects until then."""
    then: Snapshot | None = None
    """All keys as they stood then."""
    sent: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    racy: bool = False


@dataclass
class Row:
    """A line of the table."""

    workflow: str
    victim: Victim
    places: int = 0
    survived: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def prepare(url: str) -> None:
    """Every script is loaded: sending it is one command, always."""
    with redis.Redis(unix_socket_path=url.removeprefix("unix://")) as client:
        for script in SCRIPTS.values():
            client.script_load(script.source)


async def play(workflow: Workflow, url: str, place: Place | None) -> Play:
    with redis.Redis(unix_socket_path=url.removeprefix("unix://")) as client:
        client.flushdb()
    EFFECTS.clear()
    result = Play(place)

    def on_fate(command: str, snapshot: Snapshot) -> None:
        result.met_at = command
        result.then = snapshot
        result.before = Counter(EFFECTS)
        result.problems += [f"at once: {problem}" for problem in broken_laws(snapshot)]

    async with asyncio.timeout(PLAY_SECONDS), Stage(HANDLERS, url, place, on_fate) as stage:
        await _act(workflow, stage)
        await stage.settle()
        result.sent, result.names, result.racy = stage.sent, stage.names, stage.racy
        result.effects = Counter(EFFECTS)
        result.problems += await _ended_well(stage, result)
    return result


async def _act(workflow: Workflow, stage: Stage) -> None:
    """The client acts; if it dies, another does the same from the top."""
    client = stage.client()
    acting = client.wire.process.run(workflow.act(client, stage))
    died = asyncio.ensure_future(stage.client_died.wait())
    await asyncio.wait([acting, died], return_when=asyncio.FIRST_COMPLETED)
    died.cancel()
    clients = [client]
    if not acting.done():
        clients.append(stage.client())
        acting = clients[-1].wire.process.run(workflow.act(clients[-1], stage))
    try:
        await acting
    finally:
        for client in clients:
            if not client.wire.process.dead:
                await client.aclose()
            await client.wire.end()


async def _ended_well(stage: Stage, result: Play) -> list[str]:
    snapshot = stage.snapshot()
    problems = [f"at the end: {problem}" for problem in broken_laws(snapshot, at_rest=True)]
    problems += [f"doctor: {finding}" for finding in await stage.scheduler.doctor()]
    for execution_id in sorted(snapshot.executions()):
        record = await stage.scheduler.status(execution_id)
        error = record.error and (record.error.type_name, record.error.message)
        result.outcome[execution_id] = (str(record.status), record.output, error, record.run, record.attempt)
    for (owner, step), failed in snapshot.failed_attempts().items():
        result.outcome[f"{owner} {step}, failed attempts"] = failed
    for (owner, name), bytes_ in snapshot.recorded().items():
        if (letter := chr(bytes_[0])) in _RECORDED:
            result.outcome[f"{owner} {name}"] = letter
    await stage.advance(RETENTION)
    return problems + [f"outlived its retention: {key}" for key in leftovers(stage.snapshot())]


def judge(result: Play, undisturbed: Play) -> list[str]:
    """What it has changed that it must not."""
    if result.racy:
        return result.problems
    problems = list(result.problems)
    for key in sorted(result.outcome.keys() | undisturbed.outcome.keys()):
        if "dropped" in key:
            continue  # a scheduled step that goes with its execution: it may or may not have got so far
        here, there = result.outcome.get(key), undisturbed.outcome.get(key)
        if here != there:
            problems.append(f"{key} is {here!r}, and was {there!r} undisturbed")
    for attempt in sorted(result.effects.keys() | undisturbed.effects.keys()):
        extra = result.effects[attempt] - undisturbed.effects[attempt]
        if extra < 0 and "dropped" not in attempt[0]:
            problems.append(f"{attempt} ran {result.effects[attempt]} times instead of {undisturbed.effects[attempt]}")
        elif extra > 0 and not (extra == 1 and _was_between_run_and_record(attempt, result)):
            problems.append(f"{attempt} ran {extra} times too often")
    return problems


def _was_between_run_and_record(attempt: tuple[str, int], result: Play) -> bool:
    """Whether its worker died when this attempt had begun and nothing said how it ended: then it runs again."""
    died = result.place is not None and result.place.fate != "is cut off after"
    if not died or result.then is None or not result.before[attempt]:
        return False
    key, number = attempt
    owner, _, name = key.rpartition(":")
    id, _, run = owner.rpartition(":")
    recorded = result.then.recorded()
    for scope in (run, f"{run}f"):
        record = recorded.get((f"{id}:{scope}", name), b"")
        if record[:1] in (b"v", b"b", b"z"):
            return False
        if record[:1] == b"a" and int(record[1:].split(b",")[0]) >= number:
            return False
        child = result.then.children.get((id, scope), {}).get(name)
        if child is not None and child.attempts >= number:
            return False
    return True


async def every_place(
    workflow: Workflow, victim: Victim, url: str, wanted: Callable[[Place], bool] = lambda place: True
) -> Row:
    """`wanted` picks places when there is no time for all."""
    began = time.monotonic()
    row = Row(workflow.name, victim)
    try:
        undisturbed = await play(workflow, url, None)
    except Exception as error:
        row.problems.append(f"undisturbed: {type(error).__name__}: {error}")
        return row
    row.problems += [f"undisturbed: {problem}" for problem in undisturbed.problems]
    for place in _places(victim, undisturbed):
        if not wanted(place):
            continue
        try:
            result = await play(workflow, url, place)
        except Exception as error:
            row.places += 1
            row.problems.append(f"{place}: {type(error).__name__}: {error}")
            continue
        if not result.met_at:
            continue  # this time it had ended before
        row.places += 1
        problems = judge(result, undisturbed)
        row.survived += not problems
        row.problems += [f"{place} ({result.met_at}): {problem}" for problem in problems]
    row.seconds = time.monotonic() - began
    return row


def _places(victim: Victim, undisturbed: Play) -> Iterator[Place]:
    """All of them, and a few more: who is faster is not the same each time."""
    for number in range(1, undisturbed.sent[victim] + 4):
        yield from (Place(victim, number, fate) for fate in FATES)
