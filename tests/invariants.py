"""The second law and the consistency of all indexes, checked on all keys of a partition at one moment.

Written from `store/README.md`, not from the scripts. Whatever the doctor finds is a violation; `findings` says which
violations it must find. The rest is stricter than the doctor, which ignores what repairs itself or does no harm:

- entries and timers that belong to nothing: they are dropped when they are claimed or fire;
- timers that are too early, and timers of a live execution for which nothing is due;
- a status, a fence or a counter of a group that does not fit the rest, as long as something wakes the execution;
- a lease that is missing: workers look for consumers without one.

Only the doctor checks the types and the format of what is stored; here that is an exception.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf

import msgspec

from tests.snapshot import Child, Snapshot, as_text

FINAL = ("completed", "failed", "cancelled")
LIVE = ("scheduled", "running", "waiting")


def violations(snapshot: Snapshot, *, at_rest: bool = False) -> list[str]:
    """What is wrong, in words; at rest, when all has ended, nothing may be queued, set or registered either."""
    checks = _Checks(snapshot)
    checks.run()
    if at_rest:
        checks.rest()
    return checks.wrong


def findings(snapshot: Snapshot) -> set[tuple[str, str]]:
    """What the doctor must find, and nothing else: its word for it, and the id or key."""
    checks = _Checks(snapshot)
    checks.run()
    return checks.findings


def gates_of(x: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """The counters of which an execution holds a slot, the one for which it waits, and whether it has all slots."""
    held, asked, number, *rest = x.get("limits", "0/0/0/").split("/", 3)
    counters = tuple(rest[0].split("\n"))
    admitted = ("yes",) if held == number else ()
    return {"slots": counters[: int(held)], "line": counters[int(held) : int(asked)], "admitted": admitted}


class _Checks:
    def __init__(self, snapshot: Snapshot) -> None:
        self.s = snapshot
        self.wrong: list[str] = []
        self.findings: set[tuple[str, str]] = set()
        self.x = snapshot.executions()
        self.timer = snapshot.zsets.get("timers", {})
        self.step_timers = _steps(self.timer)
        self.dropped = [dropped for steps in snapshot.dropped.values() for dropped in steps.items()]

    def run(self) -> None:
        for execution_id, x in self.x.items():
            self.execution(execution_id, x)
        for execution_id, why in self.s.hashes.get("damaged", {}).items():
            self.find("damaged", execution_id, f"{execution_id} was set aside: {as_text(why)}")
        self.limits()
        self.streams()
        self.mail()
        self.timers()
        self.owners()
        self.tags()

    def say(self, problem: str) -> None:
        self.wrong.append(problem)

    def find(self, word: str, subject: str, problem: str) -> None:
        """The doctor must find it too."""
        self.wrong.append(problem)
        self.findings.add((word, subject))

    def execution(self, id: str, x: Mapping[str, str]) -> None:
        places = [key for key, members in self.s.zsets.items() if key.startswith("i:") and id in members]
        expected = f"i:{x.get('status')}:{x.get('bucket')}"
        if places != [expected]:
            self.find("index", id, f"{id} is indexed in {places}, not in {expected}")
        elif self.s.zsets[expected][id] != float(x["created"]):
            self.say(f"{id} is indexed under another time than its creation")
        if id not in self.s.zsets.get("ids", {}):
            self.find("index", id, f"{id} is not in the list of all ids")
        if x["status"] in LIVE:
            self.live(id, x)
        elif x["status"] in FINAL:
            self.final(id, x)
        else:
            self.find("status", id, f"{id} has the status {x['status']!r}")

    def limits(self) -> None:
        """Each slot is used, each line is of those that wait, and moves."""
        for key, members in self.s.zsets.items():
            kind, _, counter = key.partition(":")
            if kind in ("slots", "line"):
                if counter not in self.s.sets.get("counters", ()):
                    self.say(f"{key} is not in the list of counters")
                for member in members:
                    if counter not in gates_of(self.x.get(member[1:], {}))[kind]:
                        subject = counter.replace("\x1f", " ")
                        self.find("limit", subject, f"{member} has no use for its place in {key}")
            limit = counter.partition("\x1f")[0]
            if kind == "line" and f"l{counter}" not in self.timer and f'L["{limit}","0"]' not in self.timer:
                concurrency = self.concurrency(counter)
                if concurrency is None or len(self.s.zsets.get(f"slots:{counter}", {})) < concurrency:
                    self.find("limit", counter.replace("\x1f", " "), f"{key} does not move")

    def concurrency(self, counter: str) -> int | None:
        """How many may hold a slot."""
        numbers = self.s.hashes.get("limits", {})
        limit = counter.partition("\x1f")[0]
        for field in (f"o{counter}", f"o{limit}", f"d{limit}"):
            if number := as_text(numbers.get(field, b"")).partition(",")[0]:
                return int(number)
        return None

    def limits_of(self, id: str, x: Mapping[str, str]) -> None:
        for counter in gates_of(x)["slots"]:
            if f"x{id}" not in self.s.zsets.get(f"slots:{counter}", {}):
                self.find("limit", id, f"{id} has a slot of {counter!r} that is not counted")
        if x.get("entry") and not gates_of(x)["admitted"]:
            self.say(f"{id} is queued or held, and has not got its slots: {x['limits']!r}")

    def final(self, id: str, x: Mapping[str, str]) -> None:
        if any(gates_of(x)[place] for place in ("slots", "line")):
            self.say(f"{id} has ended and still has a slot, or is in a line: {x['limits']!r}")
        if id not in self.s.zsets.get("expiring", {}):
            self.find("expiry", id, f"{id} has ended and never expires")
        for name in ("entry", "deadline", "pending_retention", "fail_reason", "paused_by", "paused_deadline_ms"):
            if x.get(name):
                self.say(f"{id} has ended and still has {name}={x[name]!r}")
        if "@" not in x["fence"] or x["fence"].split("@")[1]:
            self.say(f"{id} has ended and its fence is {x['fence']!r}")
        if f"x{id}" in self.timer:
            self.find("leftover", id, f"{id} has ended and has a timer")
        for kind in ("w", "g", "n"):
            if f"{kind}:{id}" in self.s.raw:
                self.find("leftover", id, f"{id} has ended and still has {kind}:")
        if f"m:{id}:receivers" in self.s.raw:
            self.find("leftover", id, f"{id} has ended and still waits for messages")
        for owner, scope in self.s.children:
            if owner == id:
                self.find("leftover", id, f"{id} has ended and still has c: of scope {scope}")

    def live(self, id: str, x: Mapping[str, str]) -> None:
        if id in self.s.zsets.get("expiring", {}):
            self.find("expiry", id, f"{id} is live and expires")
        waits = self.s.zsets.get(f"w:{id}", {})
        children = self.s.children.get((id, x["scope"]), {})
        for owner, scope in self.s.children:
            if owner == id and scope != x["scope"]:
                self.say(f"{id} still has scheduled steps of scope {scope}, and is in {x['scope']}")
        if x.get("entry"):
            self.queued(id, x)
        else:
            self.parked(id, x, waits, children)
        self.rules(id, x, waits)
        self.mailbox(id, waits)
        self.limits_of(id, x)
        if ("lost", id) not in self.findings:
            self.timer_of(id, x, waits)
        for name, child in children.items():
            self.child(id, x, name, child)

    def queued(self, id: str, x: Mapping[str, str]) -> None:
        """A body that a worker holds or will claim."""
        entry, owner = x["entry"], x["fence"].partition("@")[2]
        consumer = self.s.pending.get(x["queue"], {}).get(entry)
        if self.s.entries.get(x["queue"], {}).get(entry) != ("x", id):
            self.find("entry", id, f"LOST: the entry {entry} of {id} is not in its stream")
        elif owner and consumer is None:
            self.find("entry", id, f"LOST: {id} is held by {owner}, and its entry is not pending")
        elif owner and consumer != owner:
            self.say(f"{id} is held by {owner}, and its entry is pending for {consumer}")
        if owner and owner not in self.s.zsets.get("workers", {}):
            self.say(f"{id} is held by {owner}, who has no lease")
        if x["status"] == "waiting":
            self.say(f"{id} is waiting, and has an entry")

    def parked(self, id: str, x: Mapping[str, str], waits: Mapping[str, float], children: Mapping[str, Child]) -> None:
        if x.get("paused_by"):
            wakes = [*self.holding([x["paused_by"]], f"x{id}")]
        elif x.get("unserved"):
            wakes = self.unserved(f"{x['bucket']}:{x['unserved']}", f"x{id}")
        elif x.get("pending_retention"):
            wakes = [*children] or [timer for timer in self.timer if timer == f"x{id}"]
        elif any(f"x{id}" in self.s.zsets.get(f"line:{counter}", {}) for counter in gates_of(x)["line"]):
            wakes = ["a limit"]
        else:
            timer = self.timer.get(f"x{id}", inf)
            wakes = [
                wait
                for wait, due in waits.items()
                if wait[0] != "p" and (timer <= due < inf or (due == inf and (wait[0] in "wm" or timer < inf)))
            ]
            wakes += self.holding((wait[1:] for wait in waits if wait.startswith("p")), f"x{id}")
            wakes += self.groups(id, children)
        if not wakes:
            self.find("lost", id, f"LOST: {id} is {x['status']} and nothing will ever wake it: {dict(x)} {waits}")
        if x["status"] == "running":
            self.say(f"{id} is running and has no entry")
        if not x["fence"].endswith("@"):
            self.say(f"{id} is parked, and its fence {x['fence']!r} names an owner")

    def holding(self, rules: Iterable[str], member: str) -> Iterator[str]:
        """The rules that hold this, and will let go of it: they exist, or have just gone."""
        for rule in rules:
            will_let_go = rule in self.s.hashes.get("pause_rules", {}) or f"r{rule}" in self.timer
            if will_let_go and member in self.s.zsets.get(f"paused:{rule}", {}):
                yield rule

    def unserved(self, kind: str, member: str) -> list[str]:
        """The set from which a worker of the right version will take this."""
        is_known = kind in self.s.hashes.get("unserved", {})
        return [kind] if is_known and member in self.s.zsets.get(f"unserved:{kind}", {}) else []

    def mailbox(self, id: str, waits: Mapping[str, float]) -> None:
        """Whoever waits for a message is in line, and no message waits for somebody who does."""
        waiting = [member.partition("\x1f") for member in self.s.zsets.get(f"m:{id}:receivers", {})]
        if {name[16:] for *_, name in waiting} != {wait[1:] for wait in waits if wait[0] == "m"}:
            self.say(f"{id} waits for messages as {waits}, and in line are {waiting}")
        channels = {member.partition("\x1f")[0] for member in self.s.zsets.get(f"m:{id}:messages", {})}
        if both := channels & {channel for channel, *_ in waiting}:
            self.say(f"{id} waits for messages that are there, of channels {both}")

    def rules(self, id: str, x: Mapping[str, str], waits: Mapping[str, float]) -> None:
        rules = {wait[1:] for wait in waits if wait.startswith("p")} | {x.get("paused_by") or ""} - {""}
        for rule in rules.difference(self.holding(rules, f"x{id}")):
            self.say(f"{id} says that it is held by rule {rule}, which does not exist or does not know it")

    def timer_of(self, id: str, x: Mapping[str, str], waits: Mapping[str, float]) -> None:
        due = [at for at in waits.values() if at < inf]
        if x.get("deadline"):
            due.append(int(float(x["deadline"])))
        set_to = self.timer.get(f"x{id}")
        if due and (set_to is None or set_to > min(due)):
            problem = f"the timer of {id} is set to {set_to}, and first due is {sorted(due)}: {waits}"
            self.find("timer", id, problem)
        elif set_to is not None and not due and not x.get("entry"):
            self.say(f"the timer of {id} is set to {set_to}, and nothing is due: {waits}")

    def groups(self, id: str, children: Mapping[str, Child]) -> list[str]:
        """The groups of scheduled steps that will wake it: none if one of them is wrong."""
        waited = {n: as_text(v) for n, v in self.s.hashes.get(f"g:{id}", {}).items()}
        missing = Counter(
            group for name, groups in waited.items() if name[0] == "=" for group in groups.split(",") if group
        )
        counted = Counter({name[1:]: int(count) for name, count in waited.items() if name[0] == "#"})
        unknown = [name for name in waited if name[0] == "=" and name[1:] not in children]
        if unknown or missing != counted:
            self.say(f"groups of {id} count {counted} and name {missing}; unknown are {unknown}")
            return []
        return list(counted)

    def child(self, id: str, x: Mapping[str, str], name: str, child: Child) -> None:
        step, owner = (id, x["scope"], name), child.fence.partition("@")[2]
        queue = child.queue or x["queue"]
        consumer = self.s.pending.get(queue, {}).get(child.entry)
        if child.entry:
            expected = ("s", id, "scope", x["scope"], "name", name)
            if self.s.entries.get(queue, {}).get(child.entry) != expected:
                self.find("child", id, f"LOST: the entry of the scheduled step {name!r} of {id} is not in its stream")
            elif owner and consumer is None:
                self.find("child", id, f"LOST: step {name!r} of {id} is held by {owner}, and its entry is not pending")
            elif owner and consumer != owner:
                self.say(f"step {name!r} of {id} is held by {owner}, and its entry is pending for {consumer}")
        elif child.paused_by:
            members = {member for member in self.s.zsets.get(f"paused:{child.paused_by}", {}) if member[0] == "s"}
            if not any(_steps([member]) == {step} and [*self.holding([child.paused_by], member)] for member in members):
                self.find("child", id, f"LOST: step {name!r} of {id} is not held by rule {child.paused_by}")
        elif child.unserved:
            members = {member for member in self.s.zsets.get(f"unserved:{child.unserved}", {}) if member[0] == "s"}
            if not any(_steps([member]) == {step} and self.unserved(child.unserved, member) for member in members):
                self.find("child", id, f"LOST: step {name!r} of {id} waits in no set for a worker")
        elif child.stands_for:
            self.child_of(id, name, child)
        elif step not in self.step_timers:
            self.find("child", id, f"LOST: nothing will wake the scheduled step {name!r} of {id}")

    def child_of(self, id: str, name: str, child: Child) -> None:
        """A scheduled step that stands for an execution, which will report its end. Those of other partitions are not
        seen."""
        x = self.x.get(child.stands_for, {})
        is_here = child.parent.startswith("\x1f")
        if is_here and (x.get("parent") != child.parent or x["status"] not in LIVE):
            self.find("child", id, f"LOST: {id} waits for {child.stands_for} as {name!r}, which is no live child of it")

    def mail(self) -> None:
        """All mail will be delivered."""
        for number in self.s.hashes.get("mail", {}).keys() - {""}:
            if f"m{number}" not in self.timer:
                self.say(f"mail {number} has no timer")

    def streams(self) -> None:
        for queue, entries in self.s.entries.items():
            for entry, fields in entries.items():
                if not self.stands_for_something(queue, entry, fields):
                    self.say(f"the entry {entry} of queue {queue} stands for nothing: {fields}")
            for entry, consumer in self.s.pending[queue].items():
                if entry not in entries:
                    self.say(f"{entry} pends for {consumer} in queue {queue} and is deleted")

    def stands_for_something(self, queue: str, entry: str, fields: tuple[str, ...]) -> bool:
        x = self.x.get(fields[1], {})
        if fields[0] == "x":
            return x.get("entry") == entry and x.get("queue") == queue
        child = self.s.children.get((fields[1], fields[3]), {}).get(fields[5])
        if child is not None and child.entry == entry:
            return True
        step = (fields[1], fields[3], fields[5])
        return any(step == dropped and found.entry == entry for dropped, found in self.dropped)

    def timers(self) -> None:
        for member in self.timer:
            if member[0] == "x":
                if member[1:] not in self.x:
                    self.find("orphan", member[1:], f"the timer {member} belongs to no execution")
            elif member[0] == "s":
                id, scope, name = json.loads(member[1:])
                child = self.s.children.get((id, str(scope)), {}).get(name)
                is_dropped = any(step == (id, str(scope), name) for step, _ in self.dropped)
                if (child is None or child.entry or child.paused_by) and not is_dropped:
                    self.say(f"the timer {member} stands for nothing")
            elif (member[0] == "d" and member[1:] not in self.s.dropped) or (
                member[0] == "m" and member[1:] not in self.s.hashes.get("mail", {})
            ):
                self.say(f"the timer {member} stands for nothing")
            elif member[0] == "e":
                queue, entry = json.loads(member[1:])
                if entry not in self.s.entries.get(queue, {}):
                    self.say(f"the timer {member} stands for nothing")

    def owners(self) -> None:
        """Everything that belongs to an execution belongs to one that exists."""
        for key in self.s.raw:
            kind, _, rest = key.partition(":")
            if kind in ("r", "a", "e", "c", "o"):
                id, _, scope = rest.rpartition(":")
                if id not in self.x or int(scope.removesuffix("f")) > int(self.x[id]["run"]):
                    self.find("orphan", key, f"{key} belongs to no execution, or to a run that was not")
            elif kind == "v":
                self.emitted(key, *rest.rsplit(":", 1))
            elif kind == "m" and rest.rpartition(":")[0] not in self.x:
                self.find("orphan", key, f"{key} belongs to no execution")
            elif kind == "d" and f"d{key}" not in self.timer:
                self.find("orphan", key, f"nothing will remove the dropped steps of {key}")
            elif kind in ("w", "g", "h", "n") and rest not in self.x:
                self.find("orphan", key, f"{key} belongs to no execution")
        for key, members in self.s.zsets.items():
            if key in ("ids", "expiring") or key.startswith("i:"):
                for id in members.keys() - self.x.keys():
                    self.find("orphan", id, f"{key} lists {id}, which does not exist")

    def tags(self) -> None:
        """The index of tags has what the executions have."""
        packed = {id: self.s.hashes[f"x:{id}"]["tags"] for id, x in self.x.items() if "tags" in x}
        tagged = {(f"tag:{t}:{v}", id) for id, tags in packed.items() for t, v in msgspec.msgpack.decode(tags).items()}
        listed = {(key, id) for key, ids in self.s.zsets.items() if key.startswith("tag:") for id in ids}
        for key, id in tagged - listed:
            self.find("index", id, f"{key} does not list {id}")
        for key, id in listed - tagged:
            self.say(f"{key} lists {id}, which has another tag")

    def emitted(self, key: str, id: str, stream: str) -> None:
        if id not in self.x:
            self.find("orphan", key, f"{key} belongs to no execution")
        elif stream.isdigit() and stream.encode() not in self.s.hashes.get(f"v:{id}:streams", {}).values():
            self.say(f"{key} is no stream that {id} knows")

    def rest(self) -> None:
        for queue, entries in self.s.entries.items():
            if entries or self.s.pending[queue]:
                self.say(f"queue {queue} still has {entries}, {self.s.pending[queue]}")
        outliving = sum(child.outlives for steps in self.s.children.values() for child in steps.values())
        if outliving:
            self.say(f"{outliving} children are left that outlive their parents")
        if self.timer:
            self.say(f"timers are left: {self.timer}")
        for key in self.s.raw:
            if key.partition(":")[0] in ("w", "g", "n", "c", "d", "paused", "held", "unserved"):
                self.say(f"{key} is left")
        for id, x in self.x.items():
            if x["status"] not in FINAL:
                self.say(f"{id} is {x['status']}")


LASTING = {"q", "b", "s", "u", "queues", "buckets", "workers", "worker_info", "meta", "pause_rules", "purged_epoch"} | {
    "heartbeats",
    "rejoined",
    "traced",
    "limits",
    "mail",
    "cancelled_starts",
}
"""Keys that may be there when no execution is."""


def leftovers(snapshot: Snapshot) -> list[str]:
    """Keys that have outlived all executions, whose retention is over."""
    return sorted(key for key in snapshot.raw if key.partition(":")[0] not in LASTING)


def _steps(members: Iterable[str]) -> set[tuple[str, str, str]]:
    """The scheduled steps among the members of `timers` or of a rule's `paused`: (id, scope, name)."""
    return {tuple(json.loads(member[1:])) for member in members if member.startswith("s")}
