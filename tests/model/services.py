"""Random transitions of the loops of workers, and of the doctor."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.damage import possible_damages
from tests.model.harness import PREFIX, QUEUES, ModelHarness, owned_keys
from tests.model.strategies import CODES, IDS, ids, twice, which, workers
from zart_redis.layout import Cause, Lane
from zart_redis.store.replies import Death

LANES = [lane for lane in Lane if lane is not Lane.HANDED]
"""What a blocking read can deliver; only `claim` adds to the other one, and reads it at once."""


class Services(ModelHarness):
    @rule(worker=workers, most=st.integers(0, 4), queues=st.sampled_from((QUEUES, QUEUES[:1], QUEUES[1:])))
    def claim_new(self, worker: str, most: int, queues: tuple[str, ...]) -> None:
        self.claim(worker, most, queues, pending=False)

    @rule(worker=workers)
    def claim_pending(self, worker: str) -> None:
        """What a blocking read has delivered to it, and what it claimed without hearing of it."""
        self.claim(worker, 1, QUEUES, pending=True)

    @rule(worker=workers, queue=st.sampled_from(QUEUES), lane=st.sampled_from(LANES))
    def deliver_entry(self, worker: str, queue: str, lane: Lane) -> None:
        """The worker may die before it claims it."""
        self.read(worker, queue, lane)

    @precondition(lambda self: any(entry.lane == "?" for entry in self.model.entries()))
    @rule(worker=workers)
    def claim_a_suspect(self, worker: str) -> None:
        self.claim_suspect(worker)

    @precondition(lambda self: any(body.claimed.blame.suspect for body in self.bodies))
    @rule(which=which, twice=twice)
    def clear_suspected_body(self, which: int, twice: bool = False) -> None:
        suspects = [body for body in self.bodies if body.claimed.blame.suspect]
        body = suspects[which % len(suspects)]
        if body.held.scope == body.claimed.scope:
            call = self.zart.clear_suspect(body.claimed)
            self.step(lambda: self.model.clear_suspect(body.execution, body.claim), call, twice=twice)

    @precondition(lambda self: any(step.claimed.blame.suspect for step in self.steps))
    @rule(which=which, twice=twice)
    def clear_suspected_step(self, which: int, twice: bool = False) -> None:
        suspects = [step for step in self.steps if step.claimed.blame.suspect]
        step = suspects[which % len(suspects)]
        call = self.zart.clear_suspect(step.claimed)
        self.step(lambda: self.model.clear_suspect(step.child, step.claim), call, twice=twice)

    @rule()
    def due(self) -> None:
        before = set(self.model.entries())

        async def call() -> int:
            return (await self.zart.due(1000)).fired

        self.step(self.model.due, call(), adopt=lambda: self.adopt_order(before))

    @rule(code=st.sampled_from(CODES), twice=twice)
    def retry_held(self, code: str, twice: bool = False) -> None:
        before = set(self.model.entries())
        call = self.zart.retry_held(code, 1000)
        self.step(lambda: self.model.retry_held(code), call, twice=twice, adopt=lambda: self.adopt_order(before))

    @rule(step=st.sampled_from((1, 10, 1000, 60_000, 3_600_000, -7, -2000)))
    def clock_jumps(self, step: int) -> None:
        self.model.now += step
        self.made["clock"] += 1

    @rule()
    def purge(self) -> None:
        self.step(lambda: self.model.purge(), self.zart.purge(1000))

    @rule(chosen=st.sets(ids, min_size=1))
    def purge_by_name(self, chosen: set[str]) -> None:
        self.step(lambda: self.model.purge(sorted(chosen)), self.zart.purge(1000, sorted(chosen)))

    @rule(worker=workers)
    def lease_ends(self, worker: str) -> None:
        """It may be slow, and still act until another worker notices."""
        self.leaving.add(worker)
        self.client.zadd(f"{PREFIX}workers", {worker: 1})
        self.compare()

    @rule(
        worker=workers,
        dies=st.booleans(),
        most=st.integers(1, 3),
        allowed=st.integers(1, 3),
        cause=st.sampled_from((Cause.CRASH, *Cause)),
        returns=st.booleans(),
    )
    def reclaim(
        self, worker: str, dies: bool, most: int, allowed: int, cause: Cause = Cause.CRASH, returns: bool = False
    ) -> None:
        """One that was given up joins anew, under the same name: it has come back, or is another one."""
        if dies:
            self.lease_ends(worker)
        given_up = worker in self.leaving
        self.leaving.discard(worker)
        before = set(self.model.entries())
        death = Death(cause, "it died")

        async def call() -> int:
            more, moved = await self.zart.reclaim(worker, most, death, allowed, 0)
            while more:
                more, again = await self.zart.reclaim(worker, most, death, allowed, 0, resumed=moved > 0)
                moved += again
            return moved

        self.step(
            lambda: self.model.reclaim(worker, cause, allowed) if given_up else 0,
            call(),
            adopt=lambda: self.adopt_order(before),
        )
        if given_up:
            assert self.beat(worker, twice=True)[0] == b"lost"
            self.runner.run(self.join_worker(worker, "again" if returns else "1"))
            if returns:
                self.model.rejoined.add(worker)
            self.compare()

    @rule(worker=workers, twice=twice)
    def heartbeat(self, worker: str, twice: bool = False) -> None:
        """Also one that was late, before anybody noticed."""
        self.leaving.discard(worker)
        state, _, dead = self.beat(worker, twice=twice)
        assert (state, dead) == (b"alive", [name.encode() for name in sorted(self.leaving)])

    # ---- the doctor ----

    @rule(repair=st.booleans(), twice=twice)
    def check(self, repair: bool, twice: bool = False) -> None:
        self.step(list, self.zart.check(IDS, repair), twice=twice)

    @rule(twice=twice)
    def delete_orphans(self, twice: bool = False) -> None:
        call = self.zart.delete_orphans(owned_keys(self.snapshot), True)
        self.step(list, call, twice=twice)

    @precondition(lambda self: self.held_works())
    @rule(which=which)
    def set_aside_and_repair(self, which: int) -> None:
        """The worker that holds it cannot read it; the doctor can, and queues it again."""
        works = self.held_works()
        self.set_aside(works[which % len(works)])

    @rule(which=st.integers(0, 1_000_000))
    def damage(self, which: int) -> None:
        damages = possible_damages(self.snapshot)
        self.damage_copy(damages[which % len(damages)])
