"""What the transitions of the model are made of: queues, waking, holding, the begin and the end of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.model.records import stamp
from tests.model.state import Child, Claim, Entry, Execution, Refused, Rule, Wait
from zart_redis import names


class Core:
    def __init__(self, now: int) -> None:
        self.now = now
        self.executions: dict[str, Execution] = {}
        self.queues: dict[str, list[Entry]] = defaultdict(list)
        self.rules: dict[str, Rule] = {}
        self.gone_rules: dict[str, int] = {}
        """Rules that have gone, whose holds are still to be let go, and since when."""

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
        if rule and (isinstance(work, Child) or not x.doom):
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
