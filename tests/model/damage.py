"""Damage to a copy of what is stored: the doctor and the invariants must find the same, and repair must cure it.

The copy has a namespace of its own, so that the model and its partition of Redis continue undisturbed.
"""

from __future__ import annotations

from collections.abc import Iterator

import redis

from tests.invariants import FINAL
from tests.snapshot import Snapshot, stream_key

Damage = tuple[str, ...]
"""One command: its name, the key without the prefix, and other arguments."""

SPARED = ("h", "meta", "workers", "worker_info", "queues", "buckets", "purged_epoch", "damaged",
          "heartbeats", "rejoined", "traced", "limits", "counters", "rates", "m")  # fmt: skip
"""Kinds of keys that are not damaged here: the invariants do not look at them, and the doctor needs some of them to
find executions. Neither are fields of x:, which `bad_input` damages."""


def copy(client: redis.Redis, prefix: str, to: str) -> None:
    """Copy all keys, with the groups and pending entries of the streams."""
    for key in client.scan_iter(f"{prefix}*", count=1000):
        client.copy(key, to.encode() + key.removeprefix(prefix.encode()), replace=True)


def delete_all(client: redis.Redis, prefix: str) -> None:
    keys = list(client.scan_iter(f"{prefix}*", count=1000))
    if keys:
        client.delete(*keys)


def do(client: redis.Redis, prefix: str, damage: Damage) -> None:
    command, key, *arguments = damage
    client.execute_command(command, prefix + key, *arguments)  # type: ignore[no-untyped-call]


def possible_damages(snapshot: Snapshot) -> list[Damage]:
    """Everything that can be removed from what is stored, and what can wrongly be added to an index."""
    damages = [*_removals(snapshot), *_removed_entries(snapshot), *_additions(snapshot)]
    return sorted(damage for damage in damages if damage[1].partition(":")[0] not in SPARED)


def _removals(snapshot: Snapshot) -> Iterator[Damage]:
    yield from (("DEL", key) for key in snapshot.raw)
    for key, fields in snapshot.hashes.items():
        if not key.startswith("x:"):
            yield from (("HDEL", key, field) for field in fields)
    for (id, scope), steps in snapshot.children.items():
        yield from (("HDEL", f"c:{id}:{scope}", name) for name in steps)
    for key, members in snapshot.zsets.items():
        yield from (("ZREM", key, member) for member in members)


def _removed_entries(snapshot: Snapshot) -> Iterator[Damage]:
    for queue, entries in snapshot.entries.items():
        yield from (("XDEL", *stream_key(queue, entry)) for entry in entries)
        for entry in snapshot.pending[queue]:
            key, number = stream_key(queue, entry)
            yield "XACK", key, "zart", number


def _additions(snapshot: Snapshot) -> Iterator[Damage]:
    for id, x in snapshot.executions().items():
        is_final = x["status"] in FINAL
        yield "ZADD", f"i:{'waiting' if is_final else 'failed'}:{x['bucket']}", "1", id
        yield ("ZADD", "timers", "1e15", f"x{id}") if is_final else ("ZADD", "expiring", "1e15", id)
