"""The same view of the model and of a snapshot of Redis, so that one can be compared with the other."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.model.model import Model
from tests.model.records import SEPARATOR, without_nonce
from tests.model.state import Blame, Child, Entry, Event, Execution, Loaded, Mailbox, News
from tests.snapshot import LANES, Snapshot, lane_of
from zart_redis.model import BodyClaim, StepClaim

View = dict[str, Any]
"""What is seen, by what it is of: "x <id>", "records <id>:<scope>", "queue <name>", ..."""

_FIELDS = (
    "status run attempt scope task queue input created deadline paused_deadline_ms fail_reason paused_by"
    " pending_retention output error failure completions clock_base parked_at kept_by started limits reason"
)


def of_model(model: Model) -> View:
    view: View = {"ids": sorted(model.executions)}
    paused = defaultdict(set)
    held: dict[str, str] = {}
    for id, x in model.executions.items():
        held |= {f"x {id}": x.hold.code} if x.hold else {}
        view[f"x {id}"] = _execution(x)
        view |= {f"records {id}:{scope}": records for scope, records in x.records.items() if records}
        view |= {f"events {id}:{run}": events for run, events in x.events.items() if events}
        view |= {f"waits {id}": x.waits} if x.waits else {}
        view |= {f"news {id}": x.news} if x.news else {}
        view |= {f"receivers {id}": x.receivers} if x.receivers else {}
        view |= {f"groups {id}": x.groups} if x.groups else {}
        view |= {f"child {id}:{x.scope} {name}": _child(child) for name, child in x.children.items()}
        view |= {f"past {id}": x.past} if x.past else {}
        for rule in x.rules():
            paused[rule].add(f"x {id}")
        for child in x.children.values():
            name = f"child {id}:{x.scope} {child.name}"
            if child.paused_by:
                paused[child.paused_by].add(name)
            held |= {name: child.hold.code} if child.hold and child.unrunnable else {}
    view |= {f"mailbox {id}": box for id, box in model.mailboxes.items() if box.number}
    view |= {"held": held} if held else {}
    view |= {f"slots {counter}": slots for counter, slots in model.slots.items() if slots}
    view |= {f"line {counter}": line for counter, line in model.lines.items() if line}
    for queue, entries in model.queues.items():
        for lane in LANES:
            seen = [of_entry(entry) for entry in entries if entry.lane == lane]
            view |= {f"queue {queue}{lane}": seen} if seen else {}
    return view | {f"paused {rule}": members for rule, members in paused.items()}


def _execution(x: Execution) -> View:
    fields = {name: _written(getattr(x, name)) for name in _FIELDS.split()} | {"completions": x.completions or 0}
    hold = (x.hold.times, x.hold.since, x.hold.reason) if x.hold else None
    return fields | {
        "hold": hold,
        "holder": x.claim.worker if x.claim else "",
        "queued": bool(x.entry),
        "expires": x.expires,
        "expiry": x.expiry.encode(),
        "blame": x.blame,
    }


def _written(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()


def _child(child: Child) -> View:
    return {
        "attempts": child.attempts,
        "paused_by": child.paused_by or "",
        "holder": child.claim.worker if child.claim else "",
        "queued": bool(child.entry),
        "due": child.due,
        "holds": child.hold.times if child.hold else 0,
        "blame": child.blame,
    }


def of_entry(entry: Entry) -> tuple[str, str]:
    work = entry.work
    if isinstance(work, Execution):
        return f"x {work.id}", entry.reader
    return f"child {work.parent.id}:{work.parent.scope} {work.name}", entry.reader


def of_work(model: Model, work: Execution | Child) -> View:
    """What a claim must hand out."""
    x = work if isinstance(work, Execution) else work.parent
    seen: View = {"id": x.id, "scope": x.scope, "task": x.task, "attempt": x.attempt, "input": x.input}
    if isinstance(work, Child):
        step = {"name": work.name, "failed": work.attempts, "deadline": work.deadline, "spec": work.spec}
        holds = work.hold.times if work.hold else 0
        return seen | step | {"suspect": bool(work.blame and work.blame.suspect), "holds": holds}
    assert x.claim
    is_kept, before = x.claim.is_kept, x.claim.before
    body = {
        "created": x.created,
        "fail_reason": x.fail_reason,
        "failure": x.failure or b"",
        "deadline": x.deadline,
        "has_begun": x.claim.has_begun,
        "hold": (before.times, before.since) if before else (0, None),
        "kept": is_kept,
        "completions": x.completions or 0,
        "clock_base": x.started if x.clock_base is None else x.clock_base,
        "parked_at": x.parked_at,
        "suspect": bool(x.blame and x.blame.suspect),
        "limits": x.limits,
        "news": model.news(x) if is_kept else [],
        "records": {} if is_kept else dict(x.records[x.scope]),
        "events": {} if is_kept else dict(x.events[x.run]),
        "steps": set() if is_kept else set(x.children),
        "waits": {} if is_kept else dict(x.waits),
    }
    return seen | body


def of_claim(claim: BodyClaim | StepClaim) -> View:
    """What a claim does hand out."""
    seen: View = {"id": claim.execution_id, "scope": claim.scope, "task": claim.task}
    seen |= {"attempt": claim.attempt, "input": claim.input}
    if isinstance(claim, StepClaim):
        step = {"name": claim.name, "failed": claim.failed_attempts, "deadline": claim.deadline, "spec": claim.spec}
        return seen | step | {"suspect": claim.blame.suspect, "holds": claim.holds}
    body = {
        "created": claim.created,
        "fail_reason": claim.fail_reason,
        "failure": claim.failure,
        "deadline": claim.deadline,
        "has_begun": claim.has_begun,
        "hold": (claim.holds, claim.held_since),
        "kept": bool(claim.kept_at),
        "completions": claim.completions,
        "clock_base": claim.clock_base,
        "parked_at": claim.parked_at,
        "suspect": claim.blame.suspect,
        "limits": claim.limits,
        "news": [(kind, name, without_nonce(record)) for kind, name, record in claim.news],
    }
    return seen | body | of_loaded(claim)._asdict()


def of_loaded(claim: BodyClaim) -> Loaded:
    """What is recorded of a body, as its worker reads it."""
    events = {name: stored_event(value) for name, value in claim.events.items()}
    waits = {letter + name: due for (letter, name), due in claim.waits.items()}
    return Loaded(claim.records, events, claim.steps, waits, claim.completions)


def of_redis(snapshot: Snapshot) -> View:
    view: View = {"ids": sorted(snapshot.zsets.get("ids", {}))}
    for key, fields in snapshot.hashes.items():
        kind, _, owner = key.partition(":")
        match kind:
            case "x":
                view[f"x {owner}"] = _stored_execution(owner, fields, snapshot)
            case "r":
                view[f"records {owner}"] = fields
            case "e":
                view[f"events {owner}"] = {name: stored_event(value) for name, value in fields.items()}
            case "m":
                view[f"mailbox {owner.removesuffix(':state')}"] = _stored_mailbox(
                    owner.removesuffix(":state"), snapshot
                )
            case "g":
                view[f"groups {owner}"] = _stored_groups(fields)
    if held := snapshot.hashes.get("held"):
        view["held"] = {_member(member): code.decode() for member, code in held.items()}
    for id, runs in snapshot.history.items():
        view[f"past {id}"] = {run: fields["status"].decode() for run, fields in runs.items()}
    view |= _stored_children(snapshot)
    view |= dict(_stored_queues(snapshot))
    for key, members in snapshot.zsets.items():
        if key.startswith("paused:"):
            view[f"paused {key[7:]}"] = {_member(member) for member in members}
        elif key.startswith("slots:"):
            view[f"slots {key[6:]}"] = {member[1:] for member in members}
        elif key.startswith("line:"):
            view[f"line {key[5:]}"] = [member[1:] for member in sorted(members, key=members.__getitem__)]
        elif key.startswith("m:") and key.endswith(":receivers"):
            view[f"receivers {key[2:-10]}"] = {_in_channel(member) for member in members}
        elif key.startswith("w:"):
            view[f"waits {key[2:]}"] = {wait: None if due == math.inf else int(due) for wait, due in members.items()}
    for key, (items, _) in ((key, raw) for key, raw in snapshot.raw.items() if key.startswith("n:")):
        view[f"news {key[2:]}"] = [_stored_news(item) for item in items]
    return view


def stored_event(value: bytes) -> Event:
    number, at = int.from_bytes(value[9:12], "big"), int.from_bytes(value[12:18], "big")
    return Event(value[18:], value[8:9] == b"D", number, at)


def _in_channel(member: str) -> tuple[str, int, str]:
    channel, _, rest = member.partition(SEPARATOR)
    return channel, int(rest[:16]), rest[16:]


def _stored_mailbox(id: str, snapshot: Snapshot) -> Mailbox:
    members = map(_in_channel, snapshot.zsets.get(f"m:{id}:messages", {}))
    messages = {(channel, number, payload.encode(errors="surrogateescape")) for channel, number, payload in members}
    size = int(snapshot.hashes[f"m:{id}:state"].get("bytes", 0))
    assert size == sum(len(payload) for *_, payload in messages)
    return Mailbox(
        int(snapshot.hashes[f"m:{id}:state"].get("number", 0)), messages, set(snapshot.zsets.get(f"m:{id}:ids", {}))
    )


def _stored_news(item: bytes) -> News:
    return News(int.from_bytes(item[:3], "big"), item[3:4].decode(), item[4:].decode())


def _stored_execution(id: str, fields: dict[str, bytes], snapshot: Snapshot) -> View:
    seen: View = {name: fields.get(name, b"") for name in _FIELDS.split()}
    seen["completions"] = int(seen["completions"] or 0)  # a counter of 0 may be there or not
    hold = (int(fields["holds"]), int(fields["held_since"]), fields["held"].decode()) if "held" in fields else None
    return seen | {
        "hold": hold,
        "holder": fields["fence"].decode().partition("@")[2],
        "queued": bool(fields.get("entry")),
        "expires": snapshot.zsets.get("expiring", {}).get(id),
        "expiry": fields.get("expires", b""),
        "blame": _stored_blame(fields.get("blame")),
    }


def _stored_blame(packed: bytes | None) -> Blame | None:
    if not packed:
        return None
    found = msgspec.msgpack.decode(packed)
    deaths = [(death["worker"], death.get("counts", False)) for death in found["deaths"]]
    head = (found.get("suspect", False), found["counted"], found.get("convicted", False), found.get("records", 0))
    return Blame(*head, list(found["together"]), deaths)


def _stored_groups(fields: dict[str, bytes]) -> dict[str, set[str]]:
    groups = defaultdict(set)
    for name, value in fields.items():
        if name.startswith("="):
            for group in value.decode().strip(",").split(","):
                groups[group].add(name[1:])
    return dict(groups)


def _stored_children(snapshot: Snapshot) -> View:
    due = {_member(member): at for member, at in snapshot.zsets.get("timers", {}).items() if member.startswith("s")}
    view: View = {}
    for (id, scope), children in snapshot.children.items():
        for name, child in children.items():
            key = f"child {id}:{scope} {name}"
            holder = child.fence.partition("@")[2]
            view[key] = {"attempts": child.attempts, "paused_by": child.paused_by, "holder": holder}
            view[key] |= {"queued": bool(child.entry), "due": due.get(key), "holds": child.holds}
            view[key] |= {"blame": _stored_blame(child.blame)}
    return view


def _stored_queues(snapshot: Snapshot) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for queue, entries in snapshot.entries.items():
        for lane in LANES:
            seen = [
                (f"x {fields[1]}" if fields[0] == "x" else f"child {fields[1]}:{fields[3]} {fields[5]}", reader)
                for entry, fields in entries.items()
                if lane_of(entry) == lane
                for reader in [snapshot.pending[queue].get(entry, "")]
            ]
            if seen:
                yield f"queue {queue}{lane}", seen


def _member(member: str) -> str:
    if member.startswith("x"):
        return f"x {member[1:]}"
    id, scope, name = json.loads(member[1:])
    return f"child {id}:{scope} {name}"


def differences(model: View, redis: View) -> list[str]:
    """What the two do not agree about, in words."""
    found = []
    for key in sorted(model.keys() | redis.keys()):
        wanted, seen = model.get(key), redis.get(key)
        if wanted == seen:
            continue
        if isinstance(wanted, dict) and isinstance(seen, dict):
            found += [f"{key}: {part}" for part in differences(wanted, seen)]
        else:
            found.append(f"{key}: the model has {wanted!r}, Redis has {seen!r}")
    return found
