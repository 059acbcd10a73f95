"""The same view of the model and of a snapshot of Redis, so that one can be compared with the other."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.crash.places.laws import Snapshot
from tests.model.model import Model
from tests.model.state import Child, Entry, Event, Execution, Wait
from zart_redis.model import BodyClaim, StepClaim

View = dict[str, Any]
"""What is seen, by what it is of: "x <id>", "records <id>:<scope>", "queue <name>", ..."""

_FIELDS = (
    "status run attempt scope task queue input created deadline remaining doom held finishing output error failure"
)


def of_model(model: Model) -> View:
    view: View = {"ids": sorted(model.executions)}
    held = defaultdict(set)
    for id, x in model.executions.items():
        view[f"x {id}"] = _execution(x)
        view |= {f"records {id}:{scope}": records for scope, records in x.records.items() if records}
        view |= {f"events {id}:{run}": events for run, events in x.events.items() if events}
        view |= {f"waits {id}": {name: _wait(wait) for name, wait in x.waits.items()}} if x.waits else {}
        view |= {f"groups {id}": x.groups} if x.groups else {}
        view |= {f"child {id}:{x.scope} {name}": _child(child) for name, child in x.children.items()}
        view |= {f"past {id}": x.past} if x.past else {}
        for rule in x.rules():
            held[rule].add(f"x {id}")
        for child in x.children.values():
            if child.held:
                held[child.held].add(f"child {id}:{x.scope} {child.name}")
    for queue, entries in model.queues.items():
        for back in (True, False):
            seen = [of_entry(entry) for entry in entries if entry.back == back]
            view |= {f"queue {queue}{' back' if back else ''}": seen} if seen else {}
    return view | {f"held {rule}": members for rule, members in held.items()}


def _execution(x: Execution) -> View:
    fields = {name: _written(getattr(x, name)) for name in _FIELDS.split()}
    return fields | {"holder": x.claim.worker if x.claim else "", "queued": bool(x.entry), "expires": x.expires}


def _written(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()


def _wait(wait: Wait) -> str:
    return f"{wait.letter}{'' if wait.due is None else wait.due}{wait.rule}"


def _child(child: Child) -> View:
    return {
        "attempts": child.attempts,
        "held": child.held or "",
        "holder": child.claim.worker if child.claim else "",
        "queued": bool(child.entry),
        "due": child.due,
    }


def of_entry(entry: Entry) -> tuple[str, str]:
    work = entry.work
    if isinstance(work, Execution):
        return f"x {work.id}", entry.reader
    return f"child {work.parent.id}:{work.parent.scope} {work.name}", entry.reader


def of_work(work: Execution | Child) -> View:
    """What a claim must hand out."""
    x = work if isinstance(work, Execution) else work.parent
    seen: View = {"id": x.id, "scope": x.scope, "task": x.task, "attempt": x.attempt, "input": x.input}
    if isinstance(work, Child):
        step = {"name": work.name, "failed": work.attempts, "deadline": work.deadline, "spec": work.spec}
        return seen | step | {"crashes": work.crashes}
    body = {"created": x.created, "doom": x.doom, "failure": x.failure or b"", "records": dict(x.records[x.scope])}
    rest = {"events": dict(x.events[x.run]), "children": set(x.children), "has_deadline": x.deadline is not None}
    return seen | body | rest


def of_claim(claim: BodyClaim | StepClaim) -> View:
    """What a claim does hand out."""
    seen: View = {"id": claim.execution_id, "scope": claim.scope, "task": claim.task}
    seen |= {"attempt": claim.attempt, "input": claim.input}
    if isinstance(claim, StepClaim):
        step = {"name": claim.name, "failed": claim.failed_attempts, "deadline": claim.deadline, "spec": claim.spec}
        return seen | step | {"crashes": claim.crashes}
    body = {"created": claim.created, "doom": claim.doom, "failure": claim.failure, "records": claim.records}
    events = {name: stored_event(value) for name, value in claim.events.items()}
    return seen | body | {"events": events, "children": claim.children, "has_deadline": claim.has_deadline}


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
            case "w":
                view[f"waits {owner}"] = {name: wait.decode() for name, wait in fields.items()}
            case "g":
                view[f"groups {owner}"] = _stored_groups(fields)
    for id, runs in snapshot.history.items():
        view[f"past {id}"] = {run: fields["status"].decode() for run, fields in runs.items()}
    view |= _stored_children(snapshot)
    view |= dict(_stored_queues(snapshot))
    for key, members in snapshot.zsets.items():
        if key.startswith("held:"):
            view[f"held {key[5:]}"] = {_member(member) for member in members}
    return view


def stored_event(value: bytes) -> Event:
    return Event(value[15:], value[8:9] == b"D", int.from_bytes(value[9:15], "big"))


def _stored_execution(id: str, fields: dict[str, bytes], snapshot: Snapshot) -> View:
    seen: View = {name: fields.get(name, b"") for name in _FIELDS.split()}
    return seen | {
        "holder": fields["fence"].decode().partition("@")[2],
        "queued": bool(fields.get("entry")),
        "expires": snapshot.zsets.get("expiring", {}).get(id),
    }


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
            view[key] = {"attempts": child.attempts, "held": child.held, "holder": holder}
            view[key] |= {"queued": bool(child.entry), "due": due.get(key)}
    return view


def _stored_queues(snapshot: Snapshot) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for queue, entries in snapshot.entries.items():
        for mark in ("!", ""):
            seen = [
                (f"x {fields[1]}" if fields[0] == "x" else f"child {fields[1]}:{fields[3]} {fields[5]}", reader)
                for entry, fields in entries.items()
                if entry.startswith("!") == bool(mark)
                for reader in [snapshot.pending[queue].get(entry, "")]
            ]
            if seen:
                yield f"queue {queue}{' back' if mark else ''}", seen


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
