"""Dumps of all keys of a namespace, as an older version wrote them, and a way to load one into a Redis.

`unversioned_1.json` and `unversioned_3.json` hold the same executions in one and in three partitions, one in every
state that the code before layout 1.0 (commit cc9ba0c) knew. They were made once and cannot be generated any more:

- A worker of that commit ran `handlers.py` on a clock that began at 2023-11-14 and was moved by hand, until everything
  that could rest did: parked on sleeps, events, retries, scheduled steps and pause rules, returned, finished, purged.
- While `handlers.gate` was closed, it was killed holding the executions `held-recorded`, `told` and `undoing-held` and
  a step of `steps-gated`. Nobody reclaimed them.
- The rest was made by calling the transitions as a worker does: claimed by a worker `aaaaaaaa` that never returned;
  claimed by `bbbbbbbb` and `cccccccc` and reclaimed (queued again, or failed for crashes); handed back; postponed. The
  clock was moved past the deadlines of `deadline` and `deadline-undo`. Three pause rules were resumed, and what they
  hold has not been released yet.
- One scheduled step of `damaged` was overwritten with garbage.

Values are raw bytes in base64, by type; streams have their last id, entries, groups and pending entries.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from zart_redis import layout

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Dump:
    now: int
    """The time in ms at which it was taken, on the clock of its workers and clients."""
    partitions: int
    keys: list[dict[str, Any]]

    def restore(self, client: redis.Redis, namespace: str) -> None:
        """Write all keys. The leases in it have expired, whatever the present time is."""
        for item in self.keys:
            key = layout.prefix(namespace, item["partition"]).encode() + b64decode(item["key"])
            _WRITERS[item["type"]](client, key, item["value"])


def load(partitions: int) -> Dump:
    """The dump of the unversioned layout with this number of partitions, 1 or 3."""
    return Dump(**json.loads((FOLDER / f"unversioned_{partitions}.json").read_text()))


def _write_hash(client: redis.Redis, key: bytes, value: list[list[str]]) -> None:
    client.hset(key, mapping={b64decode(field): b64decode(text) for field, text in value})


def _write_sorted_set(client: redis.Redis, key: bytes, value: list[tuple[str, float]]) -> None:
    client.zadd(key, {b64decode(member): score for member, score in value})


def _write_set(client: redis.Redis, key: bytes, value: list[str]) -> None:
    client.sadd(key, *map(b64decode, value))


def _write_list(client: redis.Redis, key: bytes, value: list[str]) -> None:
    client.rpush(key, *map(b64decode, value))


def _write_string(client: redis.Redis, key: bytes, value: str) -> None:
    client.set(key, b64decode(value))


def _write_stream(client: redis.Redis, key: bytes, value: dict[str, Any]) -> None:
    """Claims with FORCE put the entries that had been delivered back into the pending lists of their consumers."""
    execute: Any = client.execute_command
    for group in value["groups"]:
        execute("XGROUP", "CREATE", key, group["name"], "0", "MKSTREAM")
    for entry, fields in value["entries"]:
        execute("XADD", key, entry, *map(b64decode, fields))
    if value["last"] != "0-0":
        execute("XSETID", key, value["last"])
    for group in value["groups"]:
        execute("XGROUP", "SETID", key, group["name"], group["last"])
        for consumer in group["consumers"]:
            execute("XGROUP", "CREATECONSUMER", key, group["name"], consumer)
        for entry, consumer, count in group["pending"]:
            execute("XCLAIM", key, group["name"], consumer, 0, entry, "RETRYCOUNT", count, "FORCE")


_WRITERS: dict[str, Callable[[redis.Redis, bytes, Any], None]] = {
    "hash": _write_hash,
    "zset": _write_sorted_set,
    "set": _write_set,
    "list": _write_list,
    "string": _write_string,
    "stream": _write_stream,
}
