"""What the transitions of the model are made of: queues, waking, holding, the begin and the end of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.model.records import SEPARATOR, TIMER_PREFIX, stamp
from tests.model.state import Blame, Child, Claim, Entry, Execution, Mailbox, News, Refused, Rule
from zart_redis import names

CONCURRENCY = {"one": 1, "two": 2, "two\x1fkey": 2}
LIMITED_TASK = "task:2"
"""Of which workers know that it begins under limits."""


class TransitionsBase:
    def __init__(self, now: int) -> None:
        self.now = now
        self.executions: dict[str, Execution] = {}
        self.queues: dict[str, list[Entry]] = defaultdict(list)
        self.rules: dict[str, Rule] = {}
        self.gone_rules: dict[str, int] = {}
        """Rules that have gone, whose holds are still to be let go, and since when."""
        self.rejoined: set[str] = set()
        """Workers that came back after they had been given up."""
        self.traced: set[str] = set()
        """Workers whose death was traced to a suspect."""
        self.slots: dict[str, set[str]] = defaultdict(set)
        """Counter of a limit -> executions that hold a slot."""
        self.lines: dict[str, list[str]] = defaultdict(list)
        self.mailboxes: defaultdict[str, Mailbox] = defaultdict(Mailbox)
        self.purged_epoch = 0
        """What Redis has kept of the fences of purged executions."""

    def entries(self) -> Iterator[Entry]:
        for queue in self.queues.values():
            yield from queue

    def _begin(
        self, old: Execution | None, id: str, task: str, queue: str, data: bytes, timeout: int | None
    ) -> Execution:
        created = self.now if old else max(self.now, self.purged_epoch + 1)
        new = Execution(id, 1, task, queue, data, created, defaultdict(dict), defaultdict(dict), {})
        if old:
            new.run, new.records, new.events = old.run + 1, old.records, old.events
            new.past = old.past | {old.run: old.status}
        if timeout is not None:
            new.deadline = self.now + timeout
        self.executions[id] = new
        return new

    def _break_off(self, x: Execution) -> None:
        if x.live:
            self._return_messages(x)
            self._complete(x, "cancelled", 0)

    def _complete(self, x: Execution, status: str, retention: int) -> None:
        self._drop_children(x)
        self._dequeue(x)
        self._forget_waits(x)
        x.claim = x.paused_by = x.deadline = x.paused_deadline_ms = x.pending_retention = None
        x.fail_reason, x.blame, x.kept_by, x.parked_at = "", None, "", None
        self._leave_limits(x)
        x.status, x.expires, x.lapses = status, self.now + retention, None

    def _replace(self, old: Execution, id: str, task: str, queue: str, data: bytes, timeout: int | None) -> Execution:
        """A run that has not begun begins anew, with the same number."""
        self._drop_children(old)
        self._dequeue(old)
        self._forget_waits(old)
        self._leave_limits(old)
        new = self._begin(None, id, task, queue, data, timeout)
        new.run, new.records, new.events, new.past = old.run, old.records, old.events, old.past
        new.created, new.completions = old.created, old.completions
        return new

    def _resume_expiry(self, x: Execution) -> None:
        if x.lapses:
            x.waits["e"] = x.lapses[0]

    def _lapse(self, x: Execution) -> bool:
        """Cancel a run that has not begun in time. Returns whether it did."""
        if not x.lapses or x.started is not None or x.lapses[0] > self.now:
            return False
        x.reason = "expired"
        self._complete(x, "cancelled", x.lapses[1])
        return True

    # ---- limits ----

    def _pass(self, x: Execution) -> bool:
        """Ask for the slots that are missing, in order. Returns whether it has all."""
        while x.held < len(x.counters):
            counter, x.asked = x.counters[x.held], x.held + 1
            if self.lines[counter] or len(self.slots[counter]) >= CONCURRENCY[counter]:
                self.lines[counter].append(x.id)
                return False
            self.slots[counter].add(x.id)
            x.held = x.asked
        return True

    def _admit(self, x: Execution) -> None:
        if self._pass(x):
            self._enqueue(x)

    def _leave_limits(self, x: Execution) -> None:
        held, asked = x.held, x.asked
        x.held = x.asked = 0
        for number, counter in enumerate(x.counters[:asked]):
            if number < held:
                self.slots[counter].remove(x.id)
                self._promote(counter)
            else:
                self.lines[counter].remove(x.id)

    def _promote(self, counter: str) -> None:
        while self.lines[counter] and len(self.slots[counter]) < CONCURRENCY[counter]:
            id = self.lines[counter].pop(0)
            self.slots[counter].add(id)
            x = self.executions[id]
            x.held = x.asked
            self._admit(x)

    # ---- queues ----

    def _enqueue(self, work: Execution | Child, *, back: bool = False) -> None:
        lane = "?" if work.blame and work.blame.suspect else "!" if back else ""
        work.entry = Entry(work, lane)
        self.queues[work.queue].append(work.entry)
        if isinstance(work, Child):
            work.due = work.paused_by = None

    def _try_again(self, child: Child) -> None:
        """Its timer fires, unless a deadline that was due before has dropped it."""
        if child.parent.children.get(child.name) is child:
            self._enqueue(child)

    def _dequeue(self, work: Execution | Child) -> None:
        if work.entry:
            self.queues[work.queue].remove(work.entry)
        work.entry = None

    def _drop_children(self, x: Execution) -> None:
        for child in x.children.values():
            self._dequeue(child)
            child.claim = None
        x.children.clear()

    def _forget_waits(self, x: Execution) -> None:
        x.hold = None
        x.receivers.clear()
        x.waits.clear()
        x.groups.clear()
        x.news.clear()

    def _put_down(self, x: Execution) -> None:
        self._dequeue(x)
        x.claim = None
        x.status = "waiting"

    def _wake(self, x: Execution) -> None:
        """Queue a parked body. One that is queued or held already runs anyway; a paused one stays paused."""
        if x.entry is None and x.held < len(x.counters):
            if x.asked == x.held:
                self._admit(x)
            if x.entry is None:
                x.status = "scheduled"
        elif x.entry is None and x.paused_by is None:
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

    # ---- completions ----

    def _number(self, x: Execution) -> int:
        """The number of the next completion."""
        x.completions = (x.completions or 0) + 1
        return x.completions

    def _announce(self, x: Execution, number: int, kind: str, name: str) -> None:
        if x.claim or x.kept_by:
            x.news.append(News(number, kind, name))

    def _complete_wait(self, x: Execution, kind: str, name: str, recorded_name: str, record: bytes) -> None:
        number = self._number(x)
        x.records[x.scope][recorded_name] = record + stamp(self.now, number)
        self._announce(x, number, kind, name)

    def news(self, x: Execution) -> list[tuple[str, str, bytes]]:
        """What others have completed, as a worker learns of it."""
        found = [self._completion(x, news) for news in x.news]
        return [completion for completion in found if completion[2] != b"n"]

    def _completion(self, x: Execution, news: News) -> tuple[str, str, bytes]:
        """A completion as a worker learns of it."""
        number, kind, name = news
        event = x.events[x.run].get(name)
        if kind == "w" and event and event.number == number:
            return kind, name, b"E" + event.payload
        return kind, name, x.records[x.scope].get(TIMER_PREFIX + name if kind == "t" else name, b"")

    def _fire_overdue(self, x: Execution) -> int:
        """What is due ends before anything else completes, in order of time. Returns how much that was."""
        overdue = [
            (due, wait.encode()) for wait, due in x.waits.items() if due is not None and due <= self.now and wait != "e"
        ]
        for due, encoded in sorted(overdue):
            wait = encoded.decode()
            del x.waits[wait]
            letter, name = wait[0], wait[1:]
            if letter == "t":
                self._complete_wait(x, letter, name, TIMER_PREFIX + name, f"F{due}".encode())
            elif letter == "m":
                x.receivers = {receiver for receiver in x.receivers if receiver[2] != name}
                self._complete_wait(x, letter, name, name, b"N")
            elif letter in "sw":
                self._complete_wait(x, letter, name, name, b"S" if letter == "s" else b"T")
        return len(overdue)

    def _catch_up(self, x: Execution) -> None:
        if self._fire_overdue(x):
            self._wake(x)

    def _register(self, x: Execution, letter: str, name: str, argument: str) -> bool:
        """Register a wait. Returns True if it is over already, and no completion says so."""
        records = x.records[x.scope]
        match letter:
            case "t" if TIMER_PREFIX + name not in records:
                x.waits[f"t{name}"] = int(argument[1:])
            case "a":
                record = records.get(name, b"")
                due = int(record.split(b",")[2]) if record.startswith(b"a") else self.now
                if due <= self.now:
                    return True
                x.waits[f"a{name}"] = due
            case "p":
                if name not in self.rules:
                    return True
                x.waits[f"p{name}"] = None
            case "m":
                self._register_receive(x, name, *argument.split(SEPARATOR))
            case "s" | "w" if letter == "s" or name not in x.events[x.run]:
                if name not in records:
                    records[name] = f"{letter}{self._due_text(argument)}".encode()
                if records[name].startswith(letter.encode()):
                    x.waits[letter + name] = int(records[name][1:]) if records[name][1:] else None
        return False

    def _due_text(self, argument: str) -> str:
        return argument[1:] if argument[:1] in ("@", "") else str(self.now + int(argument))

    # ---- messages ----

    def _register_receive(self, x: Execution, name: str, due: str, channel: str) -> None:
        records = x.records[x.scope]
        if records.get(name, b"n").startswith(b"n"):
            number = f"{self.mailboxes[x.id].next():016}"
            records[name] = f"m{self._due_text(due)},{number},{channel}".encode()
        if records[name].startswith(b"m"):
            due, number, channel = records[name][1:].decode().split(",", 2)
            x.waits[f"m{name}"] = int(due) if due else None
            x.receivers.add((channel, int(number), name))

    def _withdraw_receive(self, x: Execution, name: str) -> list[str]:
        """A message that was recorded for the body, and that it has not received, goes back to its place. Returns the
        channel of such a message."""
        channels = []
        record = x.records[x.scope].get(name, b"")
        x.receivers = {receiver for receiver in x.receivers if receiver[2] != name}
        if record.startswith(b"M"):
            head, _, payload = record[1:-9].partition(SEPARATOR.encode())
            channels = [head[16:].decode()]
            self.mailboxes[x.id].messages.add((channels[0], int(head[:16]), payload))
        if record.startswith((b"M", b"m")):
            x.records[x.scope][name] = b"n"
        return channels

    def _return_messages(self, x: Execution) -> None:
        """What a parked body has been given, and has not seen."""
        if x.claim or x.id not in self.mailboxes or x.parked_at is None:
            return
        for name, record in list(x.records[x.scope].items()):
            if record.startswith(b"M") and int.from_bytes(record[-9:-6], "big") > x.parked_at:
                self._withdraw_receive(x, name)

    def _match(self, x: Execution, channel: str) -> bool:
        """The oldest messages go to those who have waited longest. Returns whether there were any."""
        messages, given = self.mailboxes[x.id].messages, False
        while (waiting := sorted(one for one in x.receivers if one[0] == channel)) and (
            sent := sorted(one for one in messages if one[0] == channel)
        ):
            name = waiting[0][2]
            x.receivers.remove(waiting[0])
            messages.remove(sent[0])
            x.waits.pop(f"m{name}", None)
            record = f"M{sent[0][1]:016}{channel}{SEPARATOR}".encode() + sent[0][2]
            self._complete_wait(x, "m", name, name, record)
            given = True
        return given

    def _claim_entries(
        self, worker: str, entries: Sequence[Entry], *, quarantine: bool = False
    ) -> list[Execution | Child]:
        for entry in entries:
            entry.reader = worker
        return [
            entry.work
            for entry in entries
            if entry.work.entry is entry and self._claim(entry.work, worker, quarantine=quarantine)
        ]

    def _claim(self, work: Execution | Child, worker: str, *, quarantine: bool = False) -> bool:
        x = work if isinstance(work, Execution) else work.parent
        if isinstance(work, Execution) and self._lapse(work):
            return False
        rule = self._rule_for(x, work.name if isinstance(work, Child) else None)
        if rule and (isinstance(work, Child) or not x.fail_reason):
            self._hold(work, rule)
            return False
        if quarantine and work.blame and work.blame.suspect and self._is_cleared(work.blame):
            self._dequeue(work)
            work.blame = None
            self._enqueue(work, back=True)
            return False
        if isinstance(work, Child):
            work.claim, work.unrunnable = Claim(worker, before=work.hold), False
            if work.timeout is not None and work.deadline is None:
                work.deadline = self.now + work.timeout
            return True
        before, x.hold = x.hold, None
        if before:
            x.waits.pop("h", None)
            x.waits.pop("u", None)
        self._let_go(x)
        if x.deadline is not None and x.deadline <= self.now:
            self._drop_children(x)
            x.deadline, x.pending_retention, x.fail_reason, x.blame = None, None, "deadline", None
        self._fire_overdue(x)
        is_kept = x.kept_by == worker and not x.fail_reason
        if not is_kept:
            x.groups.clear()
            x.news.clear()
        x.claim, x.kept_by = Claim(worker, x.started is not None, before, is_kept), ""
        if x.status == "scheduled" and x.started is None:
            x.waits.pop("e", None)
            x.started = self.now
            x.has_unknown_counters |= x.task == LIMITED_TASK and not x.counters
        x.status = "running"
        return True

    def _rule_for(self, x: Execution, step: str | None) -> Rule | None:
        for rule in self.rules.values():
            for_step = rule.step is None or (step is not None and names.matches(rule.step, step))
            if rule.execution in (None, x.id) and rule.task in (None, x.task) and for_step:
                return rule
        return None

    def _hold(self, work: Execution | Child, rule: Rule) -> None:
        self._dequeue(work)
        work.claim, work.paused_by = None, rule.id
        if isinstance(work, Execution):
            if rule.extend:
                self._stop_clock(work)
            if work.status == "running":
                work.status = "waiting"

    def _stop_clock(self, x: Execution) -> None:
        if x.deadline is not None:
            x.paused_deadline_ms, x.deadline = x.deadline - self.now, None

    def _let_go(self, x: Execution) -> None:
        if x.paused_deadline_ms is not None:
            x.deadline = self.now + x.paused_deadline_ms
        x.paused_by = x.paused_deadline_ms = None

    def _let_go_of(self, rule: str) -> None:
        del self.gone_rules[rule]
        if rule in self.rules:  # it is back, and holds what is left
            return
        for x in self.executions.values():
            for child in x.children.values():
                if child.paused_by == rule:
                    self._enqueue(child)
            if rule in x.rules():
                x.waits.pop(f"p{rule}", None)
                if x.paused_by in (None, rule):
                    self._let_go(x)
                    self._wake(x)

    def _fire(self, x: Execution) -> None:
        if self._lapse(x):
            return
        if x.deadline is not None and x.deadline <= self.now:
            self._drop_children(x)
            self._dequeue(x)
            self._forget_waits(x)
            x.claim = x.deadline = x.pending_retention = None
            self._let_go(x)
            x.fail_reason, x.blame = "deadline", None
            if x.held < len(x.counters):
                self._leave_limits(x)
                x.counters = ()
            self._wake(x)
            return
        self._catch_up(x)

    def _blame(self, blame: Blame | None, worker: str, cause: str, allowed: int, *, alone: bool) -> Blame:
        blame = blame or Blame()
        is_first, is_proven = not blame.deaths, blame.suspect and alone
        counts = cause == "proof" or is_proven
        if cause == "lapse" and is_proven:
            counts = worker not in self.rejoined  # in this model there is no patience
        elif counts:
            self.traced.update(blame.together)
            blame.together = []
        else:
            blame.together.append(worker)
        blame.counted += counts
        blame.deaths.append((worker, counts))
        blame.suspect = cause == "crash" or (cause != "proof" and not is_first)
        if blame.counted >= allowed:
            blame.convicted, blame.suspect = True, False
        return blame

    def _is_cleared(self, blame: Blame) -> bool:
        return bool(self.traced.intersection(blame.together))
