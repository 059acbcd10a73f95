"""The laws as a plain program: what each transition makes of the state, and what it answers. No Redis here.

A method per transition, named as its script. Those of a worker raise `Refused` if its claim is stale.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from tests.model.core import Core
from tests.model.records import failed_at, is_failure, matches_any, stamp, success_at
from tests.model.state import Child, Claim, Entry, Event, Execution, Rule, Wait
from zart_redis.model import EventDelivery
from zart_redis.store.transitions import Cancelled, Parked, Rerun, Started

CONFLICT = "conflict"
"""Patterns of both kinds match a name; which of several such names is told is not decided."""


class Model(Core):
    # ---- by clients ----

    def start(
        self, id: str, task: str, queue: str, data: bytes, delay: int | None = None, timeout: int | None = None
    ) -> Started:
        old = self.executions.get(id)
        if old and old.live:
            return Started(None, old.status)
        new = self._begin(old, id, task, queue, data, timeout)
        if delay is None:
            self._enqueue(new)
        else:
            new.waits[""] = Wait("d", self.now + delay)
        return Started(new.run, "scheduled")

    def restart(self, id: str, data: bytes | None, timeout: int | None = None) -> int | None:
        old = self.executions.get(id)
        if not old:
            return None
        self._break_off(old)
        new = self._begin(old, id, old.task, old.queue, old.input if data is None else data, timeout)
        self._enqueue(new)
        return new.run

    def rerun(
        self, id: str, timeout: int | None, rerun: Sequence[str], preserve: Sequence[str], rest_reruns: bool
    ) -> Rerun | str | None:
        old = self.executions.get(id)
        if not old:
            return None
        records, events = old.records[str(old.run)], old.events[old.run]
        again: dict[str, int | None] = {}
        kept: dict[str, int] = {}
        for name, record in records.items():
            chosen, keep = matches_any(rerun, name), matches_any(preserve, name)
            if chosen and keep:
                return CONFLICT
            success = success_at(record, events.get(name))
            if success is not None and (keep or (not chosen and not rest_reruns)):
                kept[name] = success
            else:
                again[name] = success if success is not None else failed_at(record)
        earliest = min((at for at in again.values() if at is not None), default=None)
        self._break_off(old)
        new = self._begin(old, id, old.task, old.queue, old.input, timeout)
        new.records[new.scope] = {name: records[name] for name in kept}
        new.events[new.run] = {name: events[name] for name in kept if records[name].startswith(b"w")}
        self._enqueue(new)
        stale = [name for name, at in kept.items() if earliest is not None and at > earliest]
        return Rerun(new.run, sorted(again), sorted(kept), sorted(stale))

    def retry_step(self, id: str, step: str) -> str:
        x = self.executions.get(id)
        if not x:
            return "missing"
        if x.status != "failed":
            return x.status
        if not is_failure(x.records[x.scope].get(step)):
            if not is_failure(x.records[str(x.run)].get(step)):
                return "no step"
            x.records.pop(x.scope)
            x.compensates, x.failure = False, None
        del x.records[x.scope][step]
        x.error, x.expires, x.since = None, None, self.now
        x.status = "running"
        self._enqueue(x)
        return "retrying"

    def cancel(self, id: str, retention: int) -> Cancelled:
        x = self.executions.get(id)
        if not x:
            return Cancelled(False, None)
        if not x.live:
            return Cancelled(False, x.status)
        self._complete(x, "cancelled", retention)
        return Cancelled(True, None)

    def deliver(self, id: str, name: str, payload: bytes) -> EventDelivery | str | None:
        x = self.executions.get(id)
        if not x:
            return None
        if not x.live:
            return x.status
        events = x.events[x.run]
        if name in events:
            return EventDelivery.DUPLICATE
        wait = x.waits.get(name)
        awaited = wait is not None and wait.letter == "w"
        too_late = awaited and wait is not None and wait.is_due(self.now)
        events[name] = Event(payload, awaited and not too_late, self.now)
        if too_late:
            x.records[x.scope][name] = b"T" + stamp(self.now)
        if awaited:
            del x.waits[name]
            self._wake(x)
        return EventDelivery.DELIVERED if events[name].delivered else EventDelivery.BUFFERED

    def pause(self, rule: Rule) -> None:
        self.rules[rule.id] = rule

    def resume(self, rule: str) -> bool:
        if rule not in self.rules:
            return False
        del self.rules[rule]
        self.gone_rules[rule] = self.now
        return True

    # ---- by a worker that holds a body ----

    def record(self, claim: Claim, name: str, record: bytes) -> bytes | None:
        records = self._records(claim)
        first = records.get(name)
        if first is not None and not first.startswith(b"a"):
            return first
        records[name] = record + stamp(self.now)
        return None

    def attempt(self, claim: Claim, name: str, failed: int, timeout: int | None, delay: int) -> tuple[bytes, int]:
        records = self._records(claim)
        first = records.get(name, b"")
        if first and (not first.startswith(b"a") or int(first[1:].split(b",")[0]) == failed):
            return first, self.now
        deadline = first.split(b",")[1].decode() if first else ""
        if not deadline and timeout is not None:
            deadline = str(self.now + timeout)
        due = min(self.now + delay, int(deadline)) if deadline else self.now + delay
        records[name] = f"a{failed},{deadline},{due}".encode()
        return records[name], self.now

    def schedule(self, claim: Claim, children: Sequence[tuple[str, bytes, int | None]]) -> None:
        x = self._held(claim)
        for name, spec, timeout in children:
            if name not in x.children and name not in x.records[x.scope]:
                x.children[name] = Child(x, name, spec, timeout)
                self._enqueue(x.children[name])

    def join(self, claim: Claim, group: str, steps: Sequence[str]) -> None:
        x = self._held(claim)
        missing = {name for name in steps if name in x.children}
        if missing:
            x.groups.setdefault(group, set()).update(missing)

    def park(self, claim: Claim, waits: Sequence[tuple[str, str, str]], hold: bool) -> Parked:
        x = self._held(claim)
        ready = [found for wait in waits if (found := self._register(x, *wait)) is not None]
        if ready or hold:
            return Parked(False, self.now if ready else None, ready)
        self._put_down(x)
        if any(kind == "pause" and self.rules[rule].extend for kind, _, rule in waits):
            self._stop_clock(x)
        return Parked(True, None, [])

    def limit(self, claim: Claim, timeout: int) -> None:
        x = self._held(claim)
        if x.deadline is None:
            x.deadline = (x.created if x.since is None else x.since) + timeout

    def finish(self, claim: Claim, output: bytes, retention: int) -> None:
        x = self._held(claim)
        x.output = output
        if x.children:
            x.finishing = retention
            self._forget_waits(x)
            self._put_down(x)
        else:
            self._complete(x, "completed", retention)

    def fail(self, claim: Claim, error: bytes, retention: int) -> None:
        x = self._held(claim)
        x.error = error
        self._complete(x, "failed", retention)

    def compensate(self, claim: Claim, failure: bytes) -> str:
        x = self._held(claim)
        self._drop_children(x)
        self._forget_waits(x)
        x.deadline, x.doom, x.crashes = None, "", 0
        x.failure, x.compensates = failure, True
        x.records_at_claim = -1  # that it has come so far is progress
        return x.scope

    def retry(self, claim: Claim, delay: int) -> None:
        x = self._held(claim)
        records = x.records[x.scope]
        x.records[x.scope] = {name: record for name, record in records.items() if not is_failure(record)}
        x.attempt += 1
        x.crashes = 0
        self._forget_waits(x)
        x.waits[""] = Wait("a", self.now + delay)
        self._put_down(x)

    def release(self, claim: Claim, delay: int | None) -> None:
        x = self._held(claim)
        self._dequeue(x)
        x.claim = None
        if delay is None:
            self._enqueue(x, back=True)
        else:
            x.waits[""] = Wait("u", self.now + delay)
            x.status = "scheduled"

    # ---- by a worker that holds a scheduled step ----

    def settle(self, child: Child, claim: Claim, record: bytes) -> None:
        x = self._held_child(child, claim)
        x.records[x.scope].setdefault(child.name, record + stamp(self.now))
        self._dequeue(child)
        child.claim = None
        del x.children[child.name]
        for group, missing in list(x.groups.items()):
            missing.discard(child.name)
            if not missing:
                del x.groups[group]
                self._wake(x)
        if x.finishing is not None and not x.children:
            self._complete(x, "completed", x.finishing)

    def postpone(self, child: Child, claim: Claim, failed: int, delay: int | None) -> None:
        self._held_child(child, claim)
        self._dequeue(child)
        child.claim = None
        if failed > child.attempts:
            child.attempts, child.crashes = failed, 0
        if delay is None:
            self._enqueue(child, back=True)
        else:
            due = self.now + delay
            child.due = due if child.deadline is None else min(due, child.deadline)

    # ---- by a worker's loops ----

    def claim(
        self, worker: str, most: int, queues: Sequence[str], delivered: Collection[Entry] = ()
    ) -> list[Execution | Child]:
        """What is claimed, in order; what a pause rule holds is not."""
        claimed = self._claim_entries(worker, [entry for entry in delivered if entry in self.entries()])
        for queue in queues:
            for back in (True, False):
                read = [entry for entry in self.queues[queue] if entry.back == back and not entry.reader][:most]
                claimed += self._claim_entries(worker, read)
                most -= len(read)
        return claimed

    def due(self) -> int:
        """Moves on all that has come due; answers how much that was."""
        timers = [(since, partial(self._let_go_of, rule)) for rule, since in self.gone_rules.items()]
        for x in self.executions.values():
            timers += [(c.due, partial(self._enqueue, c)) for c in x.children.values() if c.due is not None]
            if x.first_due is not None:
                timers.append((x.first_due, partial(self._fire, x)))
        fired = sorted((timer for timer in timers if timer[0] <= self.now), key=lambda timer: timer[0])
        for _, fire in fired:
            fire()
        return len(fired)

    def purge(self, ids: Sequence[str] = ()) -> int:
        gone = [
            id
            for id, x in self.executions.items()
            if x.expires is not None and (id in ids if ids else x.expires <= self.now)
        ]
        for id in gone:
            del self.executions[id]
        return len(gone)

    def reclaim(self, dead: str, max_deliveries: int) -> int:
        entries = [entry for entry in self.entries() if entry.reader == dead]
        for entry in sorted(entries, key=lambda entry: not entry.back):
            work = entry.work
            if work.claim and isinstance(work, Child):
                work.crashes += 1
            elif work.claim and isinstance(work, Execution):
                self._count_crash(work, max_deliveries)
            work.claim = None
            self._dequeue(work)
            self._enqueue(work, back=True)
        return len(entries)
