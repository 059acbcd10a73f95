"""The second law and its kin, checked on all keys of a partition as they stood at one moment.

Written from `store/README.md`, not from the scripts, and stricter than `zart doctor`: nothing may lie about that no
live execution needs, every entry stands for something, every timer and every counter is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from zart_redis.engine.journal import read_note

FINAL = ("completed", "failed", "cancelled")
LIVE = ("scheduled", "running", "waiting")

_DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  local pending = {}
  if kind == 'hash' then
    value = redis.call('HGETALL', key)
    local letter = string.sub(key, #ARGV[1] + 1, #ARGV[1] + 2)
    if letter == 'c:' or letter == 'h:' then
      for i = 2, #value, 2 do
        value[i] = cmsgpack.unpack(value[i])
        for j, item in ipairs(value[i]) do value[i][j] = tostring(item) end
      end
    end
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'string' then value = redis.call('GET', key)
  elseif kind == 'stream' then
    value = redis.call('XRANGE', key, '-', '+')
    local found = redis.pcall('XPENDING', key, 'zart', '-', '+', 100000)
    if not found.err then
      for i, item in ipairs(found) do pending[i] = { item[1], item[2] } end
    end
  end
  out[#out + 1] = { string.sub(key, #ARGV[1] + 1), kind, value, pending }
end
return out
"""


@dataclass(frozen=True)
class Child:
    entry: str
    fence: str
    attempts: int
    held: str


@dataclass
class Snapshot:
    """All keys of a partition at one moment, decoded as far as the laws need."""

    raw: dict[str, Any]
    """Key -> what it holds, for comparing."""
    hashes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    zsets: dict[str, dict[str, float]] = field(default_factory=dict)
    entries: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Queue -> entry -> its fields; those of b: are marked, as everywhere."""
    pending: dict[str, dict[str, str]] = field(default_factory=dict)
    children: dict[tuple[str, str], dict[str, Child]] = field(default_factory=dict)
    history: dict[str, dict[int, dict[str, bytes]]] = field(default_factory=dict)
    """Id -> earlier run -> its fields."""

    def executions(self) -> dict[str, dict[str, str]]:
        """Every x: hash, its fields as text (what is not text is left out)."""
        found = {}
        for key, fields in self.hashes.items():
            if key.startswith("x:"):
                found[key[2:]] = {name: _text(value) for name, value in fields.items()}
        return found

    def of(self, kind: str) -> Iterator[tuple[str, dict[str, bytes]]]:
        for key, fields in self.hashes.items():
            if key.startswith(f"{kind}:"):
                yield key[2:], fields

    def recorded(self) -> dict[tuple[str, str], bytes]:
        """(id:scope, name) -> record."""
        return {(owner, name): record for owner, records in self.of("r") for name, record in records.items()}

    def failed_attempts(self) -> Counter[tuple[str, str]]:
        """How many are logged, by id:scope and step ("" for attempts of the body)."""
        logs = ((key[2:], value[0]) for key, value in self.raw.items() if key.startswith("a:"))
        return Counter((owner, read_note(note).step) for owner, notes in logs for note in notes)


def take_snapshot(client: redis.Redis, prefix: str) -> Snapshot:
    """Blocks; one script, so nothing moves meanwhile."""
    answer: Any = client.eval(_DUMP, 0, prefix)
    snapshot = Snapshot({})
    for key_bytes, kind, value, pending in answer:
        key = key_bytes.decode()
        snapshot.raw[key] = (value, pending) if kind != b"hash" and kind != b"set" else sorted(_pairs(value))
        if kind == b"hash" and key.startswith("c:"):
            owner, _, scope = key[2:].rpartition(":")
            snapshot.children[owner, scope] = {
                name.decode(): Child(_text(c[1]), _text(c[2]), int(c[3]), _text(c[7]))
                for name, c in zip(value[::2], value[1::2], strict=True)
            }
        elif kind == b"hash" and key.startswith("h:"):
            runs = {int(run): zip(x[::2], x[1::2], strict=True) for run, x in zip(value[::2], value[1::2], strict=True)}
            snapshot.history[key[2:]] = {run: {n.decode(): v for n, v in x} for run, x in runs.items()}
        elif kind == b"hash":
            snapshot.hashes[key] = {n.decode(): v for n, v in zip(value[::2], value[1::2], strict=True)}
        elif kind == b"zset":
            snapshot.zsets[key] = {n.decode(): float(v) for n, v in zip(value[::2], value[1::2], strict=True)}
        elif kind == b"stream":
            queue, mark = key[2:], "!" if key.startswith("b:") else ""
            entries = {f"{mark}{i.decode()}": tuple(f.decode() for f in fields) for i, fields in value}
            snapshot.entries.setdefault(queue, {}).update(entries)
            snapshot.pending.setdefault(queue, {}).update({f"{mark}{i.decode()}": by.decode() for i, by in pending})
    return snapshot


def broken_laws(snapshot: Snapshot, *, at_rest: bool = False) -> list[str]:
    """What is wrong, in words; at rest, when all has ended, nothing may be queued, set or registered either."""
    checks = _Checks(snapshot)
    for execution_id, x in snapshot.executions().items():
        checks.execution(execution_id, x)
    checks.streams()
    checks.timers()
    checks.owners()
    if at_rest:
        checks.rest()
    return checks.wrong


class _Checks:
    def __init__(self, snapshot: Snapshot) -> None:
        self.s = snapshot
        self.wrong: list[str] = []
        self.x = snapshot.executions()
        self.timer = snapshot.zsets.get("timers", {})
        self.step_timers = _steps(self.timer)

    def say(self, problem: str) -> None:
        self.wrong.append(problem)

    def execution(self, id: str, x: Mapping[str, str]) -> None:
        places = [key for key, members in self.s.zsets.items() if key.startswith("i:") and id in members]
        expected = f"i:{x.get('status')}:{x.get('facet')}"
        if places != [expected]:
            self.say(f"{id} is indexed in {places}, not in {expected}")
        elif self.s.zsets[expected][id] != float(x["created"]):
            self.say(f"{id} is indexed under another time than its creation")
        if x["status"] in LIVE:
            self.live(id, x)
        elif x["status"] in FINAL:
            self.final(id, x)
        else:
            self.say(f"{id} has the status {x['status']!r}")

    def final(self, id: str, x: Mapping[str, str]) -> None:
        if id not in self.s.zsets.get("expiring", {}):
            self.say(f"{id} has ended and never expires")
        for name in ("entry", "deadline", "finishing", "doom", "held", "remaining"):
            if x.get(name):
                self.say(f"{id} has ended and still has {name}={x[name]!r}")
        if "@" not in x["fence"] or x["fence"].split("@")[1]:
            self.say(f"{id} has ended and its fence is {x['fence']!r}")
        if f"x{id}" in self.timer:
            self.say(f"{id} has ended and has a timer")
        for kind in ("w", "g"):
            if f"{kind}:{id}" in self.s.hashes:
                self.say(f"{id} has ended and still has {kind}:")
        for owner, scope in self.s.children:
            if owner == id:
                self.say(f"{id} has ended and still has c: of scope {scope}")

    def live(self, id: str, x: Mapping[str, str]) -> None:
        if id in self.s.zsets.get("expiring", {}):
            self.say(f"{id} is live and expires")
        waits = {name: _text(wait) for name, wait in self.s.hashes.get(f"w:{id}", {}).items()}
        children = self.s.children.get((id, x["scope"]), {})
        for owner, scope in self.s.children:
            if owner == id and scope != x["scope"]:
                self.say(f"{id} still has scheduled steps of scope {scope}, and is in {x['scope']}")
        holds = [
            *self.entry(id, x),
            *self.held(id, x, waits),
            *self.due(id, x, waits),
            *(f"event {name}" for name, wait in waits.items() if wait == "w"),
            *self.groups(id, children),
        ]
        if x.get("finishing") and children:
            holds.append("finishing")
        if not holds:
            self.say(f"LOST: {id} is {x['status']} and nothing will ever wake it: {dict(x)} {waits}")
        if not x.get("entry") and x["status"] == "running":
            self.say(f"{id} is running and has no entry")
        if not x.get("entry") and not x["fence"].endswith("@"):
            self.say(f"{id} is parked, and its fence {x['fence']!r} names an owner")
        if x.get("entry") and x["status"] == "waiting":
            self.say(f"{id} is waiting, and has an entry")
        for name, child in children.items():
            self.child(id, x, name, child)

    def entry(self, id: str, x: Mapping[str, str]) -> Iterator[str]:
        entry = x.get("entry")
        if not entry:
            return
        if self.s.entries.get(x["queue"], {}).get(entry) != ("x", id):
            self.say(f"LOST: the entry {entry} of {id} is not in its stream")
            return
        yield "entry"
        owner = x["fence"].partition("@")[2]
        consumer = self.s.pending.get(x["queue"], {}).get(entry)
        if owner and consumer != owner:
            self.say(f"{id} is held by {owner}, and its entry pends for {consumer}")
        if owner and owner not in self.s.zsets.get("workers", {}):
            self.say(f"{id} is held by {owner}, who has no lease")

    def held(self, id: str, x: Mapping[str, str], waits: Mapping[str, str]) -> Iterator[str]:
        rules = {wait[1:] for wait in waits.values() if wait.startswith("p")} | (
            {x["held"]} if x.get("held") else set()
        )
        for rule in rules:
            if f"x{id}" in self.s.zsets.get(f"held:{rule}", {}):
                yield f"rule {rule}"
                if rule not in self.s.hashes.get("rules", {}) and f"r{rule}" not in self.timer:
                    self.say(f"LOST: {id} is held by rule {rule}, which does not exist any more")
            else:
                self.say(f"{id} says that it is held by rule {rule}, which does not know it")

    def due(self, id: str, x: Mapping[str, str], waits: Mapping[str, str]) -> Iterator[str]:
        due = [int(wait[1:]) for wait in waits.values() if wait[1:] and wait[0] in "swadu"]
        if x.get("deadline"):
            due.append(int(float(x["deadline"])))
        set_to = self.timer.get(f"x{id}")
        if due and set_to is not None:
            yield "timer"
        # One that comes too early is put right when it comes; one that comes too late, or never, is a lost wait.
        if due and (set_to is None or set_to > min(due)):
            self.say(f"the timer of {id} is set to {set_to}, and first due is {sorted(due)}: {waits}")
        elif set_to is not None and not due and not x.get("entry"):
            self.say(f"the timer of {id} is set to {set_to}, and nothing is due: {waits}")

    def groups(self, id: str, children: Mapping[str, Child]) -> Iterator[str]:
        waited = {n: _text(v) for n, v in self.s.hashes.get(f"g:{id}", {}).items()}
        missing: Counter[str] = Counter()
        for name, groups in waited.items():
            if name.startswith("="):
                missing.update(filter(None, groups.split(",")))
                if name[1:] not in children:
                    self.say(f"{id} waits for the scheduled step {name[1:]!r}, which is none")
        for name, count in waited.items():
            if name.startswith("#"):
                if int(count) != missing[name[1:]]:
                    self.say(f"group {name[1:]} of {id} misses {count} and names {missing[name[1:]]}")
                if int(count) > 0:
                    yield f"group {name[1:]}"

    def child(self, id: str, x: Mapping[str, str], name: str, child: Child) -> None:
        step = (id, x["scope"], name)
        if child.entry:
            expected = ("s", id, "scope", x["scope"], "name", name)
            if self.s.entries.get(x["queue"], {}).get(child.entry) != expected:
                self.say(f"LOST: the entry of the scheduled step {name!r} of {id} is not in its stream")
            owner = child.fence.partition("@")[2]
            if owner and self.s.pending.get(x["queue"], {}).get(child.entry) != owner:
                self.say(f"step {name!r} of {id} is held by {owner}, for whom its entry does not pend")
        elif child.held:
            if step not in _steps(self.s.zsets.get(f"held:{child.held}", {})):
                self.say(f"LOST: step {name!r} of {id} is held by rule {child.held}, which does not know it")
        elif step not in self.step_timers:
            self.say(f"LOST: nothing will wake the scheduled step {name!r} of {id}")

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
        return child is not None and child.entry == entry

    def timers(self) -> None:
        for member in self.timer:
            if member[0] == "x":
                stands = self.x.get(member[1:], {}).get("status") in LIVE
            elif member[0] == "r":
                stands = True
            else:
                id, scope, name = json.loads(member[1:])
                child = self.s.children.get((id, str(scope)), {}).get(name)
                stands = child is not None and not child.entry and not child.held
            if not stands:
                self.say(f"the timer {member} stands for nothing")

    def owners(self) -> None:
        """Whatever belongs to an execution belongs to one that there is."""
        for key in self.s.raw:
            kind, _, rest = key.partition(":")
            if kind in ("r", "a", "e", "c"):
                id, _, scope = rest.rpartition(":")
                if id not in self.x or int(scope.removesuffix("f")) > int(self.x[id]["run"]):
                    self.say(f"{key} belongs to no execution, or to a run that was not")
            elif kind in ("w", "g", "h") and rest not in self.x:
                self.say(f"{key} belongs to no execution")
            elif kind == "i":
                for id in self.s.zsets[key]:
                    if id not in self.x:
                        self.say(f"{key} lists {id}, which is none")
        for id in self.s.zsets.get("expiring", {}):
            if id not in self.x:
                self.say(f"{id} expires and is none")

    def rest(self) -> None:
        for queue, entries in self.s.entries.items():
            if entries or self.s.pending[queue]:
                self.say(f"queue {queue} still has {entries}, {self.s.pending[queue]}")
        if self.timer:
            self.say(f"timers are left: {self.timer}")
        for key in self.s.raw:
            if key.partition(":")[0] in ("w", "g", "c", "held"):
                self.say(f"{key} is left")
        for id, x in self.x.items():
            if x["status"] not in FINAL:
                self.say(f"{id} is {x['status']}")


LASTING = {"q", "b", "queues", "facets", "workers", "about", "meta", "rules", "epoch"}
"""Keys that may be there when no execution is."""


def leftovers(snapshot: Snapshot) -> list[str]:
    """Keys that have outlived all executions, whose retention is over."""
    return sorted(key for key in snapshot.raw if key.partition(":")[0] not in LASTING)


def _steps(members: Iterable[str]) -> set[tuple[str, str, str]]:
    """The scheduled steps among the members of `timers` or of a rule's `held`: (id, scope, name)."""
    return {tuple(json.loads(member[1:])) for member in members if member.startswith("s")}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _pairs(flat: list[Any]) -> list[Any]:
    if len(flat) % 2:
        return [repr(item) for item in flat]
    return [repr(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
