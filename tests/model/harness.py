"""A partition of a real Redis and the model beside it: makes a transition in both, and compares them.

Both must have returned the same and be in the same state, no law may be broken and the doctor may find nothing. A
refused transition may change nothing, and neither may one that is sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
from hypothesis.stateful import RuleBasedStateMachine

from tests.invariants import findings, violations
from tests.model import damage, view
from tests.model.damage import Damage
from tests.model.model import Model
from tests.model.state import Child, Claim, Entry, Execution, Refused
from tests.model.transitions_base import CONCURRENCY, LIMITED_TASK
from tests.snapshot import LANES, Snapshot, lane_of, take_snapshot
from zart_redis.layout import Lane, streams
from zart_redis.limits import limit_in_words
from zart_redis.model import BodyClaim, Fenced, StepClaim, Unreadable
from zart_redis.store.batches import Command
from zart_redis.store.commits import Commits
from zart_redis.store.connections import Connections
from zart_redis.store.lua import BY_SHA
from zart_redis.store.replies import Held, HeldStep
from zart_redis.store.store import Partition
from zart_redis.store.transitions import Joining, Transitions, heartbeat_command

PREFIX = "{model:0}:"
COPY_PREFIX = "{model-copy:0}:"
BATCH = 1000
LEASE_MS = 10_000_000
QUEUES = ("default", "mail:?")
WORKERS = ("w1", "w2", "w3")
HANDLERS = f'{{"task": [[1, 1]], "{LIMITED_TASK}": [[1, 1, 1]]}}'

T = TypeVar("T")


class Line(Commits):
    """A connection that remembers the command that it sent last, so that it can be sent again."""

    sent: Command
    reply: asyncio.Future[Any]

    def submit(self, command: Command) -> asyncio.Future[Any]:
        self.sent, self.reply = command, super().submit(command)
        return self.reply

    @property
    def sent_sha(self) -> bytes:
        sha = self.sent[1]
        assert isinstance(sha, bytes)
        return sha


@dataclass
class Body:
    """A body as a worker has it in hand, rightly or not any more."""

    execution: Execution
    claim: Claim
    held: Held
    claimed: BodyClaim


@dataclass
class Step:
    """A scheduled step as a worker has it in hand, rightly or not any more."""

    child: Child
    claim: Claim
    held: HeldStep
    claimed: StepClaim


async def examine_limits(partition: Partition, repair: bool = False) -> list[str]:
    """The counters with which something is wrong."""
    transitions = partition.transitions
    counters = [row.counter async for row in transitions.read_limits("counters")]
    return [limit_in_words(counter) for counter in counters if await transitions.check_limit(counter, repair)]


def limits_text(counters: tuple[str, ...]) -> str:
    """Counters as scripts take them."""
    return "".join(f"{counter}\n{CONCURRENCY[counter]},\n" for counter in counters)


async def examine(partition: Partition, *, repair: bool = False) -> set[tuple[str, str]]:
    """What the doctor finds: pairs of its word for what is wrong, and the id or key."""
    found = set()
    async for ids in partition.scans.known_ids(BATCH):
        for id, verdict in await partition.transitions.check(ids, repair):
            found.add((verdict.partition(" ")[0], id))
    found |= {("limit", counter) for counter in await examine_limits(partition, repair)}
    async for orphans in partition.scans.orphans(BATCH):
        found |= {("orphan", key) for key in await partition.transitions.delete_orphans(orphans, repair)}
    return found


def owned_keys(snapshot: Snapshot) -> list[tuple[str, str, str]]:
    """The keys that belong to one run of an execution, with its id and the run."""
    keys = [key for key in snapshot.raw if key[:2] in ("r:", "c:", "e:", "a:")]
    parts = ((key, *key[2:].removesuffix("f").rsplit(":", 1)) for key in keys)
    return [(key, id, run) for key, id, run in parts]


@dataclass(frozen=True)
class Sent:
    """A client's command that has its answer, and may yet be sent again while the run lasts."""

    execution: Execution
    command: Command
    answer: Any


class ModelHarness(RuleBasedStateMachine):
    def __init__(self, url: str, made: Counter[str]) -> None:
        super().__init__()
        self.made = made
        self.model = Model(now=1_000_000)
        self.bodies: list[Body] = []
        self.steps: list[Step] = []
        self.fences: set[tuple[str, ...]] = set()
        self.sent: dict[tuple[str, str], Sent] = {}
        self.leaving: set[str] = set()
        self.runner = asyncio.Runner()
        self.client = redis.Redis.from_url(url)
        self.client.flushdb()
        self.runner.run(self._open(url))
        self.snapshot = self._snapshot()

    async def _open(self, url: str) -> None:
        self.connections = await Connections.open(url)
        self.line = Line(self.connections, PREFIX, patience=5)
        self.zart = Transitions(self.line, PREFIX, lambda: self.model.now)
        self.partition, self.copy = (
            Partition(self.connections, prefix, 5, lambda: self.model.now, None) for prefix in (PREFIX, COPY_PREFIX)
        )
        for worker in WORKERS:
            await self.join_worker(worker)
            await self.zart.claim(worker, 1, QUEUES)
            await self.zart.claim(worker, 1, QUEUES, lane=Lane.SUSPECT)

    async def join_worker(self, worker: str, joining: Joining = "1") -> None:
        await self.line.submit(heartbeat_command(PREFIX, worker, LEASE_MS, joining, b"{}"))

    def teardown(self) -> None:
        self.runner.run(self._close())
        self.runner.close()
        self.client.flushdb()
        self.client.close()

    async def _close(self) -> None:
        await self.line.close()
        for partition in (self.partition, self.copy):
            await partition.commits.close()
        await self.connections.close()

    # ---- one step ----

    def step(
        self,
        expected: Callable[[], T],
        call: Awaitable[T],
        *,
        twice: bool = False,
        adopt: Callable[[], None] = lambda: None,
    ) -> T | None:
        """A transition in the model and on Redis, which is sent twice if asked for. Answers None if it was refused.
        `adopt` lets the model take over what no law decides, before the two are compared."""
        before = self.snapshot
        wanted = self._expect(expected)
        answer = self.runner.run(_unless_fenced(call))
        self.made[BY_SHA[self.line.sent_sha].name] += 1
        assert answer == wanted, f"Redis answers {answer}, the model {wanted}"
        adopt()
        self.compare()
        if wanted is None:
            assert self.snapshot.raw == before.raw, "a refused transition has changed something"
        if twice:
            self.send_again(self.line.sent, self.line.reply.result())
        return answer[0] if answer else None

    @staticmethod
    def _expect(expected: Callable[[], T]) -> tuple[T] | None:
        try:
            return (expected(),)
        except Refused:
            return None

    def compare(self) -> None:
        before, self.snapshot = self.snapshot, self._snapshot()
        self.model.purged_epoch = int(self.snapshot.raw.get("purged_epoch", (0, None))[0])
        # Which of several rules holds what they match is for Redis to choose.
        self.model.rules = {rule: self.model.rules[rule] for rule in self.snapshot.hashes.get("pause_rules", {})}
        differences = view.differences(view.of_model(self.model), view.of_redis(self.snapshot))
        assert not differences, "\n".join(differences)
        for counter, most in CONCURRENCY.items():
            assert len(self.snapshot.zsets.get(f"slots:{counter}", {})) <= most, f"limit {counter!r} is exceeded"
        broken = violations(self.snapshot)
        assert not broken, "\n".join(broken)
        if self.snapshot.raw != before.raw:
            found = self.runner.run(self._check())
            assert not found, f"the doctor finds {found}"

    async def _check(self) -> list[Any]:
        """What the doctor finds wrong with the executions and keys that there are, without looking for others."""
        transitions = self.partition.transitions
        wrong = await transitions.check(sorted(self.snapshot.executions()), False)
        wrong += [("limit", counter) for counter in await examine_limits(self.partition)]
        return [*wrong, *await transitions.delete_orphans(owned_keys(self.snapshot), False)]

    def send_again(self, command: Command, first: Any) -> None:
        """It must be answered as it was the first time, or refused, its work having been done; and change nothing."""
        second = self.runner.run(_wait_for(self.line.submit(command)))
        assert second == b"fenced" or _plain(second) == _plain(first), f"sent again it answers {second}, not {first}"
        assert self._snapshot().raw == self.snapshot.raw, "sent again it has changed something"

    def damage_copy(self, done: Damage) -> set[tuple[str, str]]:
        """Damage a copy. The doctor and the invariants must find the same, and repair must cure it."""
        damage.copy(self.client, PREFIX, COPY_PREFIX)
        damage.do(self.client, COPY_PREFIX, done)
        expected = findings(take_snapshot(self.client, COPY_PREFIX))
        found = self.runner.run(examine(self.copy))
        assert found == expected, f"{done}: the doctor finds {found}, the invariants {expected}"
        self.runner.run(examine(self.copy, repair=True))
        left = findings(take_snapshot(self.client, COPY_PREFIX)) | self.runner.run(examine(self.copy))
        assert not left, f"{done}: after the repair of {found} there is still {left}"
        damage.delete_all(self.client, COPY_PREFIX)
        self.made["damage"] += 1
        return found

    def beat(self, worker: str, *, twice: bool) -> list[Any]:
        """A heartbeat of a worker that has joined before, by the time of Redis as it is now."""
        seconds, microseconds = self.client.time()
        command = [*heartbeat_command(PREFIX, worker, LEASE_MS, "0", b"{}")]
        command[4] = seconds * 1000 + microseconds // 1000
        answer = self.runner.run(_wait_for(self.line.submit(tuple(command))))
        self.made["heartbeat"] += 1
        self.compare()
        if twice:
            self.send_again(tuple(command), answer)
        return list(answer)

    def held_works(self) -> list[Execution | Child]:
        """What workers hold rightly."""
        bodies = [body.execution for body in self.bodies if body.execution.claim is body.claim]
        return [*bodies, *(step.child for step in self.steps if step.child.claim is step.claim)]

    def set_aside(self, work: Execution | Child) -> None:
        """Set work aside, twice. The doctor and the invariants must find it; its repair, sent twice, must cure it."""
        x = work if isinstance(work, Execution) else work.parent
        ((entry, queue),) = ((name, queue) for queue, name, found in self.located() if found is work.entry)
        self.runner.run(self.zart.set_aside(Unreadable(x.id, "unreadable", queue, entry)))
        self.made["set_aside"] += 1
        self.snapshot = self._snapshot()
        self.send_again(self.line.sent, self.line.reply.result())
        word = "entry" if isinstance(work, Execution) else "child"
        expected = {(word, x.id), ("damaged", x.id)}
        assert findings(self.snapshot) == self.runner.run(examine(self.partition)) == expected

        def repaired() -> list[tuple[str, str]]:
            self.model.repair(work)
            verdict = "entry" if isinstance(work, Execution) else f"child {work.name}"
            return [(x.id, verdict), (x.id, "damaged unreadable")]

        self.step(repaired, self.zart.check([x.id], True))
        self.send_again(self.line.sent, [])  # what is repaired is not found again

    def _snapshot(self) -> Snapshot:
        return take_snapshot(self.client, PREFIX)

    # ---- the work of workers ----

    def claim(self, worker: str, most: int, queues: tuple[str, ...], *, pending: bool) -> None:
        """Claims new work, and before it, if asked for, what pends for this worker already."""
        known = [item for item in self.located() if pending and item[2].reader == worker]
        delivered = [(queue, entry) for queue, entry, _ in known]
        works: list[Execution | Child] = []
        claims: list[BodyClaim | StepClaim] = []

        def expected() -> list[view.View]:
            works.extend(self.model.claim(worker, most, queues, [entry for _, _, entry in known]))
            return [view.of_work(self.model, work) for work in works]

        async def call() -> list[view.View]:
            for claim in await self.zart.claim(worker, most, queues, delivered, handlers=HANDLERS):
                assert isinstance(claim, (BodyClaim, StepClaim)), claim
                claims.append(claim)
            return [view.of_claim(claim) for claim in claims]

        self.step(expected, call())
        for work, claim in zip(works, claims, strict=True):
            # A body claimed past its deadline drops the steps claimed before it in the same call.
            self._take(work, claim, work.claim or Claim(worker))

    def claim_suspect(self, worker: str) -> None:
        works: list[Execution | Child] = []
        claims: list[BodyClaim | StepClaim] = []

        def expected() -> list[view.View]:
            works.extend(self.model.claim_suspect(worker, QUEUES))
            return [view.of_work(self.model, work) for work in works]

        async def call() -> list[view.View]:
            for claim in await self.zart.claim(worker, 1, QUEUES, lane=Lane.SUSPECT, handlers=HANDLERS):
                assert isinstance(claim, (BodyClaim, StepClaim)), claim
                claims.append(claim)
            return [view.of_claim(claim) for claim in claims]

        self.step(expected, call())
        for work, claim in zip(works, claims, strict=True):
            self._take(work, claim, work.claim or Claim(worker))

    def _take(self, work: Execution | Child, claim: BodyClaim | StepClaim, held: Claim) -> None:
        if isinstance(work, Execution):
            assert isinstance(claim, BodyClaim)
            token: tuple[str, ...] = (claim.execution_id, claim.fence)
            self.bodies.append(Body(work, held, Held(claim.execution_id, claim.fence, claim.scope, ""), claim))
        else:
            assert isinstance(claim, StepClaim)
            token = (claim.execution_id, claim.scope, work.name, claim.fence, claim.entry)
            head = (claim.execution_id, claim.fence, claim.scope)
            self.steps.append(Step(work, held, HeldStep(*head, claim.queue, claim.entry, work.name), claim))
        assert token not in self.fences, f"the fence {token} was given before"
        self.fences.add(token)

    def read(self, worker: str, queue: str, lane: Lane) -> None:
        """A blocking read delivers the next entry of a stream, if there is one."""
        with suppress(redis.ResponseError):  # NOGROUP: the streams of a queue that was empty have been deleted
            self.client.xreadgroup("zart", worker, {streams(PREFIX, queue)[lane]: ">"}, count=1)
            unread = (entry for entry in self.model.queues[queue] if entry.lane == lane and not entry.reader)
            if entry := next(unread, None):
                entry.reader = worker
        self.made["read"] += 1
        self.compare()

    def located(self) -> list[tuple[str, str, Entry]]:
        """Each entry of the model with its queue and its name in Redis."""
        found = []
        for queue, entries in self.snapshot.entries.items():
            for lane in LANES:
                mine = [entry for entry in self.model.queues[queue] if entry.lane == lane]
                theirs = [entry for entry in entries if lane_of(entry) == lane]
                found += [(queue, name, entry) for name, entry in zip(theirs, mine, strict=True)]
        return found

    def adopt_order(self, before: set[Entry]) -> None:
        """Timers that were due at the same time may have fired in any order: what they queued takes that of Redis."""
        seen = view.of_redis(self._snapshot())
        for queue, entries in self.model.queues.items():
            order = [key for lane in LANES for key, _ in seen.get(f"queue {queue}{lane}", [])]
            new = [entry for entry in entries if entry not in before]
            new.sort(key=lambda entry: order.index(key) if (key := view.of_entry(entry)[0]) in order else -1)
            entries[:] = [entry for entry in entries if entry in before] + new


async def _unless_fenced(call: Awaitable[T]) -> tuple[T] | None:
    try:
        return (await call,)
    except Fenced:
        return None


async def _wait_for(reply: Awaitable[T]) -> T:
    return await reply


def _plain(answer: Any) -> Any:
    """Redis may say a number as an integer or as text."""
    if isinstance(answer, list):
        return [_plain(item) for item in answer]
    return str(answer).encode() if isinstance(answer, int) else answer


def pick(which: int, all_held: Sequence[T], valid: Sequence[T]) -> T:
    """Now and then one of the newest claims that are stale, else a valid one."""
    stale = [held for held in all_held if held not in valid][-4:]
    pool = stale if stale and (which > 7 or not valid) else valid
    return pool[which % len(pool)]
