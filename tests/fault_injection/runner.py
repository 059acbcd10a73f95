"""Runs a workflow once for each fault that can be injected into its worker or its client, and reports what went
wrong."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.fault_injection.handlers import EFFECTS, HANDLERS
from tests.fault_injection.harness import KINDS, RETENTION, Fault, FaultHarness, Target
from tests.fault_injection.workflows import Workflow
from tests.invariants import leftovers, violations
from tests.snapshot import Snapshot
from zart_redis.store.lua import SCRIPTS

RUN_SECONDS = 60.0
_RECORDED = ("v", "b", "z", "c", "S", "T", "F", "M", "N", "k")


@dataclass
class Run:
    """What came of running a workflow once."""

    fault: Fault | None
    injected_at: str = ""
    """The command at which the fault was injected."""
    problems: list[str] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=dict)
    effects: Counter[tuple[str, int]] = field(default_factory=Counter)
    before: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The effects until the fault."""
    at_fault: Snapshot | None = None
    """All keys when the fault was injected."""
    sent: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    racy: bool = False


@dataclass
class Row:
    """A line of the table."""

    workflow: str
    target: Target
    faults: int = 0
    survived: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def prepare(url: str) -> None:
    """Load every script, so that sending one is always a single command."""
    with redis.Redis(unix_socket_path=url.removeprefix("unix://")) as client:
        for script in SCRIPTS.values():
            client.script_load(script.source)


async def run(workflow: Workflow, url: str, fault: Fault | None) -> Run:
    with redis.Redis(unix_socket_path=url.removeprefix("unix://")) as client:
        client.flushdb()
    EFFECTS.clear()
    result = Run(fault)

    def on_fault(command: str, snapshot: Snapshot) -> None:
        result.injected_at = command
        result.at_fault = snapshot
        result.before = Counter(EFFECTS)
        result.problems += [f"at once: {problem}" for problem in violations(snapshot)]

    async with asyncio.timeout(RUN_SECONDS), FaultHarness(HANDLERS, url, fault, on_fault) as harness:
        await _act(workflow, harness)
        await harness.settle()
        result.sent, result.names, result.racy = harness.sent, harness.names, harness.racy
        result.effects = Counter(EFFECTS)
        result.problems += await _ended_well(harness, result)
    return result


async def _act(workflow: Workflow, harness: FaultHarness) -> None:
    """Run the client; if it dies, run another one from the top."""
    client = harness.client()
    acting = client.wire.process.run(workflow.act(client, harness))
    died = asyncio.ensure_future(harness.client_died.wait())
    await asyncio.wait([acting, died], return_when=asyncio.FIRST_COMPLETED)
    died.cancel()
    clients = [client]
    if not acting.done():
        clients.append(harness.client())
        acting = clients[-1].wire.process.run(workflow.act(clients[-1], harness))
    try:
        await acting
    finally:
        for client in clients:
            if not client.wire.process.dead:
                await client.aclose()
            await client.wire.end()


async def _ended_well(harness: FaultHarness, result: Run) -> list[str]:
    snapshot = harness.snapshot()
    problems = [f"at the end: {problem}" for problem in violations(snapshot, at_rest=True)]
    problems += [f"doctor: {finding}" for finding in await harness.scheduler.doctor()]
    for execution_id in sorted(snapshot.executions()):
        record = await harness.scheduler.status(execution_id)
        error = record.error and (record.error.type_name, record.error.message)
        result.outcome[execution_id] = (str(record.status), record.output, error, record.run, record.attempt)
    for (owner, step), failed in snapshot.failed_attempts().items():
        result.outcome[f"{owner} {step}, failed attempts"] = failed
    for (owner, name), bytes_ in snapshot.recorded().items():
        if (letter := chr(bytes_[0])) in _RECORDED:
            result.outcome[f"{owner} {name}"] = letter
    await harness.advance(RETENTION)
    return problems + [f"outlived its retention: {key}" for key in leftovers(harness.snapshot())]


def differences(result: Run, undisturbed: Run) -> list[str]:
    """What the fault changed that it must not change."""
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


def _was_between_run_and_record(attempt: tuple[str, int], result: Run) -> bool:
    """Whether its worker died after this attempt began and before its result was recorded: then it runs again."""
    died = result.fault is not None and result.fault.kind != "is cut off after"
    if not died or result.at_fault is None or not result.before[attempt]:
        return False
    key, number = attempt
    owner, _, name = key.rpartition(":")
    id, _, run = owner.rpartition(":")
    recorded = result.at_fault.recorded()
    for scope in (run, f"{run}f"):
        record = recorded.get((f"{id}:{scope}", name), b"")
        if record[:1] in (b"v", b"b", b"z"):
            return False
        if record[:1] == b"a" and int(record[1:].split(b",")[0]) >= number:
            return False
        child = result.at_fault.children.get((id, scope), {}).get(name)
        if child is not None and child.attempts >= number:
            return False
    return True


async def every_fault(
    workflow: Workflow, target: Target, url: str, wanted: Callable[[Fault], bool] = lambda fault: True
) -> Row:
    """`wanted` selects faults when there is no time for all."""
    began = time.monotonic()
    row = Row(workflow.name, target)
    try:
        undisturbed = await run(workflow, url, None)
    except Exception as error:
        row.problems.append(f"undisturbed: {type(error).__name__}: {error}")
        return row
    row.problems += [f"undisturbed: {problem}" for problem in undisturbed.problems]
    for fault in _faults(target, undisturbed):
        if not wanted(fault):
            continue
        try:
            result = await run(workflow, url, fault)
        except Exception as error:
            row.faults += 1
            row.problems.append(f"{fault}: {type(error).__name__}: {error}")
            continue
        if not result.injected_at:
            continue  # this run ended before the fault
        row.faults += 1
        problems = differences(result, undisturbed)
        row.survived += not problems
        row.problems += [f"{fault} ({result.injected_at}): {problem}" for problem in problems]
    row.seconds = time.monotonic() - began
    return row


def _faults(target: Target, undisturbed: Run) -> Iterator[Fault]:
    """All of them, and a few more: the number of commands varies a little from run to run."""
    for number in range(1, undisturbed.sent[target] + 4):
        yield from (Fault(target, number, kind) for kind in KINDS)
