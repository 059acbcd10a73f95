"""The laws as a plain program: what each transition makes of the state, and what it answers. No Redis here.

A method per transition, named as its script. Those of a worker raise `Refused` if its claim is stale.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from tests.model.records import SEPARATOR, failed_at, is_failure, is_final, matches_any, stamp, success_at
from tests.model.state import ABSENT, Child, Claim, Entry, Event, Execution, Hold, Loaded, Refused, Rule, StartOptions
from tests.model.transitions_base import TransitionsBase
from zart_redis.model import EventDelivery
from zart_redis.store.replies import Cancelled, OnFailure, Parked, Rerun, Started

CONFLICT = "conflict"
"""Patterns of both kinds match a name; which of several such names is told is not decided."""

NO_OPTIONS = StartOptions()


class Model(TransitionsBase):
    # ---- by clients ----

    def start(
        self,
        id: str,
        task: str,
        queue: str,
        data: bytes,
        delay: int | None = None,
        timeout: int | None = None,
        counters: tuple[str, ...] = (),
        options: StartOptions = NO_OPTIONS,
    ) -> Started:
        old = self.executions.get(id)
        choice = (options.if_live if old.live else options.if_finished) if old else ""
        if old and choice == "return":
            return Started(old.run, False, "")
        replaces = bool(old and old.live and choice == "replace" and old.status == "scheduled" and old.started is None)
        if old and (choice == "raise" or (old.live and not replaces)):
            return Started(None, False, old.status)
        new = self._replace(old, id, task, queue, data, timeout) if old and replaces else None
        new = new or self._begin(old, id, task, queue, data, timeout)
        new.counters = counters
        if delay is not None and options.max_delay is not None:
            left = min(delay, new.created + options.max_delay - self.now)
            delay = left if left > 0 else None
        if delay is None:
            self._admit(new)
        else:
            new.waits["d"] = self.now + delay
        if options.expires is not None:
            new.lapses = self.now + options.expires, options.retention
            new.waits["e"] = new.lapses[0]
        return Started(new.run, True, "")

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
        events = old.events[old.run]
        records = dict.fromkeys(events, b"w") | old.records[str(old.run)]
        again: dict[str, int | None] = {}
        kept: dict[str, int] = {}
        for name, record in records.items():
            chosen, keep = matches_any(rerun, name), matches_any(preserve, name)
            if chosen and keep:
                return CONFLICT
            success = success_at(record, events.get(name))
            if success is not None and (keep or (not chosen and not rest_reruns)):
                kept[name] = success
            elif not record.startswith(b"F"):
                again[name] = success if success is not None else failed_at(record)
        earliest = min((at for at in again.values() if at is not None), default=None)
        self._break_off(old)
        new = self._begin(old, id, old.task, old.queue, old.input, timeout)
        new.records[new.scope] = {name: records[name] for name in kept}
        new.events[new.run] = {name: events[name] for name in kept if records[name].startswith(b"w")}
        new.completions = old.completions or 0
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
        x.error, x.expires, x.since, x.clock_base = None, None, self.now, self.now
        self._admit(x)
        x.status = "running" if x.entry else "scheduled"
        return "retrying"

    def cancel(self, id: str, retention: int, reason: str) -> Cancelled:
        x = self.executions.get(id)
        if not x:
            return Cancelled(False, None)
        if not x.live:
            return Cancelled(False, x.status)
        x.reason = reason
        self._return_messages(x)
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
        self._catch_up(x)
        awaited = x.waits.pop(f"w{name}", ABSENT) is not ABSENT
        events[name] = Event(payload, awaited, self._number(x), self.now)
        self._announce(x, events[name].number, "w", name)
        if awaited:
            self._wake(x)
        return EventDelivery.DELIVERED if awaited else EventDelivery.BUFFERED

    def send(
        self, id: str, channel: str, payload: bytes, key: str, most: int, start: tuple[str, str, bytes] | None
    ) -> str:
        x, mailbox = self.executions.get(id), self.mailboxes[id]
        if x and key in mailbox.keys:
            return "sent"
        if not (x and x.live) and start is None:
            return x.status if x else "missing"
        if len(mailbox.messages) >= most:
            return "full"
        if x and x.live:
            self._catch_up(x)
        elif start is not None:
            x = self._begin(x, id, *start, None)
            self._admit(x)
        assert x
        mailbox.keys.add(key)
        mailbox.messages.add((channel, mailbox.next(), payload))
        if self._match(x, channel):
            self._wake(x)
        return "sent"

    def pause(self, rule: Rule) -> None:
        self.rules[rule.id] = rule

    def resume(self, rule: str) -> bool:
        if rule not in self.rules:
            return False
        del self.rules[rule]
        self.gone_rules[rule] = self.now
        return True

    # ---- by a worker that holds a body ----

    def record(self, claim: Claim, name: str, record: bytes, ordered: bool) -> bytes:
        x, records = self._held(claim), self._records(claim)
        if ordered:
            self._catch_up(x)
        first = records.get(name)
        if first is not None and is_final(first):
            return first
        end = stamp(self.now, self._number(x) if ordered else 0)
        records[name] = record + end
        return end

    def attempt(self, claim: Claim, name: str, failed: int, timeout: int | None, delay: int) -> tuple[bytes, int]:
        records = self._records(claim)
        first = records.get(name, b"")
        if first.startswith(b"x"):
            first = b""
        if first and (not first.startswith(b"a") or int(first[1:].split(b",")[0]) == failed):
            return first, self.now
        deadline = first.split(b",")[1].decode() if first else ""
        if not deadline and timeout is not None:
            deadline = str(self.now + timeout)
        due = min(self.now + delay, int(deadline)) if deadline else self.now + delay
        records[name] = f"a{failed},{deadline},{due}".encode()
        return records[name], self.now

    def schedule(self, claim: Claim, children: Sequence[tuple[str, bytes, int | None, str]]) -> None:
        x = self._held(claim)
        for name, spec, timeout, queue in children:
            if name not in x.children and name not in x.records[x.scope]:
                x.children[name] = Child(x, name, spec, timeout, queue)
                self._enqueue(x.children[name])

    def join(self, claim: Claim, group: str, steps: Sequence[str]) -> None:
        x = self._held(claim)
        missing = {name for name in steps if name in x.children}
        if missing:
            x.groups.setdefault(group, set()).update(missing)

    def park(
        self,
        claim: Claim,
        seen: int,
        hold: str,
        waits: Sequence[tuple[str, str, str]],
        gone: Sequence[tuple[str, str]],
    ) -> Parked:
        x = self._held(claim)
        channels = []
        for letter, name in gone:
            x.waits.pop(letter + name, None)
            channels += self._withdraw_receive(x, name) if letter == "m" else []
        is_over = [self._register(x, *wait) for wait in waits]
        channels += [argument.split(SEPARATOR)[1] for letter, _, argument in waits if letter == "m"]
        fired = self._fire_overdue(x)
        for channel in channels:
            self._match(x, channel)
        newest = x.completions or 0
        if newest > seen or any(is_over) or fired:
            x.news = [news for news in x.news if news.number > seen]
            return Parked("ready", self.now, newest, self.news(x))
        if hold == "1":
            return Parked("held", self.now, seen, [])
        x.blame = None
        if hold == "keep":
            x.kept_by = claim.worker
        x.parked_at = newest
        self._put_down(x)
        if any(letter == "p" and self.rules[rule].extend for letter, rule, _ in waits):
            self._stop_clock(x)
        return Parked("parked", self.now, seen, [])

    def load(self, claim: Claim) -> Loaded:
        """All that is recorded, for a worker that has dropped the body that it kept."""
        x = self._held(claim)
        x.groups.clear()
        x.news.clear()
        records, events = dict(x.records[x.scope]), dict(x.events[x.run])
        return Loaded(records, events, set(x.children), dict(x.waits), x.completions or 0)

    def gate(self, claim: Claim, counters: tuple[str, ...]) -> bool:
        x = self._held(claim)
        if not x.has_unknown_counters or x.counters:
            return True
        x.counters = counters
        if not self._pass(x):
            self._dequeue(x)
            x.claim, x.started, x.status = None, None, "scheduled"
            self._resume_expiry(x)
            return False
        return True

    def set_deadline(self, claim: Claim, timeout: int) -> None:
        x = self._held(claim)
        if x.deadline is None:
            x.deadline = (x.created if x.since is None else x.since) + timeout

    def finish(self, claim: Claim, output: bytes, retention: int) -> None:
        x = self._held(claim)
        x.output = output
        if x.children:
            x.pending_retention = retention
            x.blame = None
            self._forget_waits(x)
            self._put_down(x)
        else:
            self._complete(x, "completed", retention)

    def fail(self, claim: Claim, error: bytes, retention: int) -> None:
        x = self._held(claim)
        x.error = error
        self._complete(x, "failed", retention)

    def begin_on_failure(self, claim: Claim, failure: bytes) -> OnFailure:
        x = self._held(claim)
        self._drop_children(x)
        self._forget_waits(x)
        x.deadline, x.fail_reason, x.blame = None, "", None
        x.failure, x.compensates = failure, True
        x.clock_base, x.parked_at = self.now, None
        return OnFailure(x.scope, self.now, x.completions or 0)

    def retry(self, claim: Claim, delay: int) -> None:
        x = self._held(claim)
        records = x.records[x.scope]
        lasting = {name: record for name, record in records.items() if not is_failure(record)}
        x.records[x.scope] = {name: record for name, record in lasting.items() if not record.startswith(b"F")}
        x.attempt += 1
        x.blame, x.parked_at = None, None
        self._forget_waits(x)
        x.clock_base = x.waits["a"] = self.now + delay
        self._put_down(x)

    def release(self, claim: Claim, delay: int | None) -> None:
        x = self._held(claim)
        self._dequeue(x)
        x.claim = None
        if delay is None:
            self._enqueue(x, back=True)
        else:
            x.waits["u"] = self.now + delay
            x.status = "scheduled"

    def hold(self, claim: Claim, delay: int, code: str, reason: str, begun: bool) -> None:
        x = self._held(claim)
        self._dequeue(x)
        x.claim, before = None, claim.before
        x.hold = Hold(before.times + 1 if before else 1, before.since if before else self.now, code, reason)
        if begun or x.compensates:
            x.waits["h"], x.status = self.now + delay, "waiting"
        else:
            x.waits["u"], x.status, x.started = self.now + delay, "scheduled", None
            self._resume_expiry(x)

    # ---- by a worker that holds a scheduled step ----

    def complete_step(self, child: Child, claim: Claim, record: bytes) -> None:
        x = self._held_child(child, claim)
        self._catch_up(x)
        if child.name not in x.records[x.scope]:
            self._complete_wait(x, "c", child.name, child.name, record)
        self._dequeue(child)
        child.claim = None
        del x.children[child.name]
        for group, missing in list(x.groups.items()):
            missing.discard(child.name)
            if not missing:
                del x.groups[group]
                self._wake(x)
        if x.pending_retention is not None and not x.children:
            self._complete(x, "completed", x.pending_retention)

    def hold_step(self, child: Child, claim: Claim, failed: int, delay: int, code: str, reason: str) -> None:
        self.postpone(child, claim, failed, None, 0)
        self._dequeue(child)
        child.due, child.unrunnable = self.now + delay, True
        before = claim.before
        child.hold = Hold(before.times + 1 if before else 1, before.since if before else self.now, code, reason)
        if not child.attempts and not child.blame:
            child.deadline = None

    def postpone(self, child: Child, claim: Claim, failed: int, delay: int | None, queued: int) -> None:
        self._held_child(child, claim)
        self._dequeue(child)
        child.claim = child.hold = None
        if child.deadline is not None:
            child.deadline += queued
        if failed > child.attempts:
            child.attempts, child.blame = failed, None
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
            for lane in ("!", ""):
                read = [entry for entry in self.queues[queue] if entry.lane == lane and not entry.reader][:most]
                claimed += self._claim_entries(worker, read)
                most -= len(read)
        return claimed

    def claim_suspect(self, worker: str, queues: Sequence[str]) -> list[Execution | Child]:
        """The first suspect that has not been cleared."""
        for queue in queues:
            for entry in [entry for entry in self.queues[queue] if entry.lane == "?" and not entry.reader]:
                if claimed := self._claim_entries(worker, [entry], quarantine=True):
                    return claimed
        return []

    def clear_suspect(self, work: Execution | Child, claim: Claim) -> None:
        if work.claim is not claim:
            raise Refused
        if work.blame:
            work.blame.suspect, work.blame.together = False, []

    def due(self) -> int:
        """Moves on all that has come due; answers how much that was."""
        timers = [(since, partial(self._let_go_of, rule)) for rule, since in self.gone_rules.items()]
        for x in self.executions.values():
            timers += [(c.due, partial(self._try_again, c)) for c in x.children.values() if c.due is not None]
            if x.first_due is not None:
                timers.append((x.first_due, partial(self._fire, x)))
        fired = sorted((timer for timer in timers if timer[0] <= self.now), key=lambda timer: timer[0])
        for _, fire in fired:
            fire()
        return len(fired)

    def retry_held(self, code: str) -> None:
        """A worker with this code starts."""
        for x in self.executions.values():
            if x.hold and x.hold.code != code:
                x.waits.pop("h", None)
                x.waits.pop("u", None)
                self._wake(x)
            for child in x.children.values():
                is_elsewhere = child.entry or child.paused_by
                if child.hold and child.unrunnable and child.hold.code != code and not is_elsewhere:
                    self._enqueue(child)

    def purge(self, ids: Sequence[str] = ()) -> int:
        gone = [
            id
            for id, x in self.executions.items()
            if x.expires is not None and (id in ids if ids else x.expires <= self.now)
        ]
        for id in gone:
            del self.executions[id]
            self.mailboxes.pop(id, None)
        return len(gone)

    def repair(self, work: Execution | Child) -> None:
        """What lost its entry is queued again. A body has given back its slots, and asks again."""
        work.claim = None
        self._dequeue(work)
        if isinstance(work, Execution):
            self._leave_limits(work)
            self._wake(work)
        else:
            self._enqueue(work)

    def reclaim(self, dead: str, cause: str, allowed: int) -> int:
        entries = [entry for entry in self.entries() if entry.reader == dead]
        is_alone = sum(bool(entry.work.claim) for entry in entries) == 1
        for entry in entries:
            work = entry.work
            if work.claim and cause != "leaving":
                self._hold_against(work, dead, cause, allowed, alone=is_alone)
            work.claim = None
            self._dequeue(work)
            self._enqueue(work, back=True)
        return len(entries)

    def _hold_against(self, work: Execution | Child, dead: str, cause: str, allowed: int, *, alone: bool) -> None:
        records = len(work.records[work.scope]) if isinstance(work, Execution) else 0
        if work.blame and records > work.blame.records:
            work.blame = None
        work.blame = self._blame(work.blame, dead, cause, allowed, alone=alone)
        work.blame.records = records
        if work.blame.convicted and isinstance(work, Execution):
            work.fail_reason = "crashes"
