"""A partition of a real Redis and the model beside it: makes a transition in both, and compares them.

Both must have answered the same and stand the same, no law may be broken, a refused transition may change nothing, and
neither may one that is sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
from hypothesis.stateful import RuleBasedStateMachine

from tests.crash.places.laws import Snapshot, broken_laws, take_snapshot
from tests.model import view
from tests.model.model import Model
from tests.model.state import Child, Claim, Entry, Execution, Refused
from zart_redis.model import BodyClaim, Fenced, StepClaim
from zart_redis.store.commits import Command, Commits
from zart_redis.store.connections import Connections
from zart_redis.store.lua import BY_SHA
from zart_redis.store.transitions import Held, HeldStep, Transitions, heartbeat_command

PREFIX = "{model:0}:"
QUEUES = ("default", "mail:?")
WORKERS = ("w1", "w2", "w3")

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


@dataclass
class Step:
    """A scheduled step as a worker has it in hand, rightly or not any more."""

    child: Child
    claim: Claim
    held: HeldStep


@dataclass(frozen=True)
class Sent:
    """A client's command that has its answer, and may yet be sent again while the run lasts."""

    execution: Execution
    command: Command
    answer: Any


class Bench(RuleBasedStateMachine):
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
        for worker in WORKERS:
            await self.join_worker(worker)
            await self.zart.claim(worker, 1, QUEUES)

    async def join_worker(self, worker: str) -> None:
        await self.line.submit(heartbeat_command(PREFIX, worker, 10_000_000, joining=True, about=b"{}"))

    def teardown(self) -> None:
        self.runner.run(self._close())
        self.runner.close()
        self.client.flushdb()
        self.client.close()

    async def _close(self) -> None:
        await self.line.close()
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
        self.snapshot = self._snapshot()
        # Which of several rules holds what they match is for Redis to choose.
        self.model.rules = {rule: self.model.rules[rule] for rule in self.snapshot.hashes.get("rules", {})}
        differences = view.differences(view.of_model(self.model), view.of_redis(self.snapshot))
        assert not differences, "\n".join(differences)
        broken = broken_laws(self.snapshot)
        assert not broken, "\n".join(broken)

    def send_again(self, command: Command, first: Any) -> None:
        """It must be answered as it was the first time, or refused, its work having been done; and change nothing."""
        second = self.runner.run(_wait_for(self.line.submit(command)))
        assert second == b"fenced" or _plain(second) == _plain(first), f"sent again it answers {second}, not {first}"
        assert self._snapshot().raw == self.snapshot.raw, "sent again it has changed something"

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
            return [view.of_work(work) for work in works]

        async def call() -> list[view.View]:
            for claim in await self.zart.claim(worker, most, queues, delivered):
                assert isinstance(claim, (BodyClaim, StepClaim)), claim
                claims.append(claim)
            return [view.of_claim(claim) for claim in claims]

        self.step(expected, call())
        for work, claim in zip(works, claims, strict=True):
            self._take(work, claim)

    def _take(self, work: Execution | Child, claim: BodyClaim | StepClaim) -> None:
        assert work.claim
        if isinstance(work, Execution):
            token: tuple[str, ...] = (claim.execution_id, claim.fence)
            self.bodies.append(Body(work, work.claim, Held(claim.execution_id, claim.fence, claim.scope, "")))
        else:
            token = (claim.execution_id, claim.scope, work.name, claim.fence, claim.entry)
            head = (claim.execution_id, claim.fence, claim.scope)
            self.steps.append(Step(work, work.claim, HeldStep(*head, claim.queue, claim.entry, work.name)))
        assert token not in self.fences, f"the fence {token} was given before"
        self.fences.add(token)

    def read(self, worker: str, queue: str, *, back: bool) -> None:
        """A blocking read delivers the next entry of a stream, if there is one."""
        self.client.xreadgroup("zart", worker, {f"{PREFIX}{'b' if back else 'q'}:{queue}": ">"}, count=1)
        unread = (entry for entry in self.model.queues[queue] if entry.back == back and not entry.reader)
        if entry := next(unread, None):
            entry.reader = worker
        self.made["read"] += 1
        self.compare()

    def located(self) -> list[tuple[str, str, Entry]]:
        """Each entry of the model with its queue and its name in Redis."""
        found = []
        for queue, entries in self.snapshot.entries.items():
            for back in (True, False):
                mine = [entry for entry in self.model.queues[queue] if entry.back == back]
                theirs = [entry for entry in entries if entry.startswith("!") == back]
                found += [(queue, name, entry) for name, entry in zip(theirs, mine, strict=True)]
        return found

    def adopt_order(self, before: set[Entry]) -> None:
        """Timers that were due at the same time may have fired in any order: what they queued takes that of Redis."""
        seen = view.of_redis(self._snapshot())
        for queue, entries in self.model.queues.items():
            order = [key for key, _ in seen.get(f"queue {queue}", [])]
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
