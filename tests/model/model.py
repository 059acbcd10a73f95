"""The laws as a plain program: what each transition makes of the state, and what it answers. No Redis here.

A method per transition, named as its script. Those of a worker raise `Refused` if its claim is stale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import partial

from tests.model.state import Child, Claim, Entry, Event, Execution, Refused, Rule, Wait
from zart_redis import names
from zart_redis.model import EventDelivery
from zart_redis.store.transitions import Cancelled, Parked, Rerun, Started

FAILURES = "bzT"
"""The letters of records that are failures: of a step, and of a wait that timed out."""


class Model:
    def __init__(self, now: int) -> None:
        self.now = now
        self.executions: dict[str, Execution] = {}
        self.queues: dict[str, list[Entry]] = defaultdict(list)
        self.rules: dict[str, Rule] = {}
        self.gone_rules: dict[str, int] = {}
        """Rules that have gone, whose holds are still to be let go, and since when."""

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
                return name
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

    # ---- what they are made of ----

    def entries(self) -> Iterator[Entry]:
        for queue in self.queues.values():
            yield from queue

    def _begin(
        self, old: Execution | None, id: str, task: str, queue: str, data: bytes, timeout: int | None
    ) -> Execution:
        new = Execution(id, 1, task, queue, data, self.now, defaultdict(dict), defaultdict(dict), {})
        if old:
            new.run, new.records, new.events = old.run + 1, old.records, old.events
            new.past = old.past | {old.run: old.status}
        if timeout is not None:
            new.deadline = self.now + timeout
        self.executions[id] = new
        return new

    def _break_off(self, x: Execution) -> None:
        if x.live:
            self._complete(x, "cancelled", 0)

    def _complete(self, x: Execution, status: str, retention: int) -> None:
        self._drop_children(x)
        self._dequeue(x)
        self._forget_waits(x)
        x.claim = x.held = x.deadline = x.remaining = x.finishing = None
        x.doom, x.crashes = "", 0
        x.status, x.expires = status, self.now + retention

    def _enqueue(self, work: Execution | Child, *, back: bool = False) -> None:
        x = work if isinstance(work, Execution) else work.parent
        work.entry = Entry(work, back)
        self.queues[x.queue].append(work.entry)
        if isinstance(work, Child):
            work.due = work.held = None

    def _dequeue(self, work: Execution | Child) -> None:
        x = work if isinstance(work, Execution) else work.parent
        if work.entry:
            self.queues[x.queue].remove(work.entry)
        work.entry = None

    def _drop_children(self, x: Execution) -> None:
        for child in x.children.values():
            self._dequeue(child)
            child.claim = None
        x.children.clear()

    def _forget_waits(self, x: Execution) -> None:
        x.waits.clear()
        x.groups.clear()

    def _put_down(self, x: Execution) -> None:
        self._dequeue(x)
        x.claim = None
        x.status = "waiting"

    def _wake(self, x: Execution) -> None:
        """A parked body is queued; one that is queued or held goes on by itself; a pause rule keeps what it holds."""
        if x.entry is None and x.held is None:
            self._enqueue(x)
            if x.status == "waiting":
                x.status = "running"

    def _held(self, claim: Claim) -> Execution:
        for x in self.executions.values():
            if x.claim is claim:
                return x
        raise Refused

    def _held_child(self, child: Child, claim: Claim) -> Execution:
        if child.claim is not claim:
            raise Refused
        return child.parent

    def _records(self, claim: Claim) -> dict[str, bytes]:
        x = self._held(claim)
        return x.records[x.scope]

    def _register(self, x: Execution, kind: str, name: str, argument: str) -> tuple[str, str, bytes] | None:
        """Registers a wait; answers what it is ready with if it has ended."""
        match kind:
            case "sleep":
                return self._register_timed(x, kind, name, argument, "s", "S")
            case "event":
                return self._register_timed(x, kind, name, argument, "w", "T")
            case "retry":
                record = x.records[x.scope][name]
                due = int(record.split(b",")[2]) if record.startswith(b"a") else self.now
                if due <= self.now:
                    x.waits.pop(name, None)
                    return kind, name, record
                x.waits[name] = Wait("a", due)
            case "pause" if argument in self.rules:
                x.waits[name] = Wait("p", rule=argument)
            case "group" if x.groups.get(name):
                pass
            case _:
                return kind, name, b""
        return None

    def _register_timed(
        self, x: Execution, kind: str, name: str, argument: str, letter: str, over: str
    ) -> tuple[str, str, bytes] | None:
        records, event = x.records[x.scope], x.events[x.run].get(name)
        if name not in records:
            due = argument.removeprefix("@") if argument[:1] in ("@", "") else str(self.now + int(argument))
            records[name] = f"{letter}{due}".encode()
        record = records[name]
        if not record.startswith(letter.encode()):
            return kind, name, record
        wait = Wait(letter, int(record[1:]) if record[1:] else None)
        if kind == "event" and event and (wait.due is None or event.at < wait.due):
            return kind, name, b"E" + event.payload
        if wait.is_due(self.now):
            records[name] = over.encode() + stamp(self.now)
            x.waits.pop(name, None)
            return kind, name, records[name]
        x.waits[name] = wait
        return None

    def _claim_entries(self, worker: str, entries: Sequence[Entry]) -> list[Execution | Child]:
        for entry in entries:
            entry.reader = worker
        return [entry.work for entry in entries if entry.work.entry is entry and self._claim(entry.work, worker)]

    def _claim(self, work: Execution | Child, worker: str) -> bool:
        x = work if isinstance(work, Execution) else work.parent
        rule = self._rule_for(x, work.name if isinstance(work, Child) else None)
        if rule:
            self._hold(work, rule)
            return False
        work.claim = Claim(worker)
        if isinstance(work, Child):
            if work.timeout is not None and work.deadline is None:
                work.deadline = self.now + work.timeout
            return True
        x.status = "running"
        x.records_at_claim = len(x.records[x.scope])
        self._forget_waits(x)
        self._let_go(x)
        if x.deadline is not None and x.deadline <= self.now:
            self._drop_children(x)
            x.deadline, x.doom = None, "deadline"
        return True

    def _rule_for(self, x: Execution, step: str | None) -> Rule | None:
        for rule in self.rules.values():
            for_step = rule.step is None or (step is not None and names.matches(rule.step, step))
            if rule.execution in (None, x.id) and rule.task in (None, x.task) and for_step:
                return rule
        return None

    def _hold(self, work: Execution | Child, rule: Rule) -> None:
        self._dequeue(work)
        work.claim, work.held = None, rule.id
        if isinstance(work, Execution):
            if rule.extend:
                self._stop_clock(work)
            if work.status == "running":
                work.status = "waiting"

    def _stop_clock(self, x: Execution) -> None:
        if x.deadline is not None:
            x.remaining, x.deadline = x.deadline - self.now, None

    def _let_go(self, x: Execution) -> None:
        if x.remaining is not None:
            x.deadline = self.now + x.remaining
        x.held = x.remaining = None

    def _let_go_of(self, rule: str) -> None:
        del self.gone_rules[rule]
        for x in self.executions.values():
            for child in x.children.values():
                if child.held == rule:
                    self._enqueue(child)
            if rule in x.rules():
                x.waits = {name: wait for name, wait in x.waits.items() if wait.rule != rule}
                if x.held in (None, rule):
                    self._let_go(x)
                    self._wake(x)

    def _fire(self, x: Execution) -> None:
        if x.deadline is not None and x.deadline <= self.now:
            self._drop_children(x)
            self._dequeue(x)
            self._forget_waits(x)
            x.claim = x.deadline = x.finishing = None
            self._let_go(x)
            x.doom = "deadline"
            self._wake(x)
            return
        ended = {name: wait for name, wait in x.waits.items() if wait.is_due(self.now)}
        for name, wait in ended.items():
            del x.waits[name]
            if wait.letter in "sw":
                x.records[x.scope][name] = (b"S" if wait.letter == "s" else b"T") + stamp(self.now)
        if ended:
            self._wake(x)

    def _count_crash(self, x: Execution, max_deliveries: int) -> None:
        """A crash after something was recorded begins the count anew."""
        if len(x.records[x.scope]) > x.records_at_claim:
            x.crashes = 1
        else:
            x.crashes += 1
            if x.crashes >= max_deliveries:
                x.doom = "crashes"


def stamp(now: int) -> bytes:
    return now.to_bytes(6, "big")


def stamp_of(record: bytes) -> int:
    return int.from_bytes(record[-6:], "big")


def is_failure(record: bytes | None) -> bool:
    return record is not None and chr(record[0]) in FAILURES


def failed_at(record: bytes) -> int | None:
    return stamp_of(record) if is_failure(record) else None


def success_at(record: bytes, event: Event | None) -> int | None:
    """When a recorded success was recorded; None for what is none."""
    if record.startswith(b"w") and event and (record == b"w" or event.at < int(record[1:])):
        return event.at
    return stamp_of(record) if chr(record[0]) in "vcS" else None


def matches_any(patterns: Sequence[str], name: str) -> bool:
    return any(names.matches(pattern, name) for pattern in patterns)
