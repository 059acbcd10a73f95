"""All keys of a partition at one moment, decoded as far as the invariants need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from zart_redis.engine.journal import read_note

_DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  local pending = {}
  if kind == 'hash' then
    value = redis.call('HGETALL', key)
    local letter = string.sub(key, #ARGV[1] + 1, #ARGV[1] + 2)
    if letter == 'c:' or letter == 'd:' or letter == 'h:' then
      for i = 2, #value, 2 do
        local flat = {}
        if value[i - 1] ~= '' then -- which holds the queue of dropped steps
          for name, item in (letter == 'h:' and ipairs or pairs)(cmsgpack.unpack(value[i])) do
            if letter ~= 'h:' then flat[#flat + 1] = name end
            flat[#flat + 1] = tostring(item)
          end
        end
        value[i] = flat
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


LANES = ("?", ">", "!", "")
"""The marks of entries: of suspects, of what was handed to its worker, of what came back, of what is new."""
_MARKS = {"s": "?", "u": ">", "b": "!", "q": ""}


def lane_of(entry: str) -> str:
    return entry[0] if entry[:1] in ("?", ">", "!") else ""


def stream_key(queue: str, entry: str) -> tuple[str, str]:
    """The key of the stream of an entry, without the prefix, and its id there."""
    (letter,) = (letter for letter, mark in _MARKS.items() if mark == lane_of(entry))
    return f"{letter}:{queue}", entry.lstrip("?>!")


@dataclass(frozen=True)
class Child:
    entry: str
    fence: str
    attempts: int
    paused_by: str
    holds: int
    unserved: str
    blame: bytes
    queue: str
    """"" for that of its execution."""
    stands_for: str
    """The id of the execution that it stands for, if that is a child, else ""."""
    parent: str
    """As the field of that execution has it."""
    outlives: bool


@dataclass
class Snapshot:
    """All keys of a partition at one moment, decoded as far as the laws need."""

    raw: dict[str, Any]
    """Key -> what it holds, for comparing."""
    hashes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    zsets: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    entries: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """Queue -> entry -> its fields; those of b: and s: are marked, as everywhere."""
    pending: dict[str, dict[str, str]] = field(default_factory=dict)
    children: dict[tuple[str, str], dict[str, Child]] = field(default_factory=dict)
    dropped: dict[str, dict[tuple[str, str, str], Child]] = field(default_factory=dict)
    """Scheduled steps that were set aside to be removed: key -> (id, scope, name) -> step."""
    history: dict[str, dict[int, dict[str, bytes]]] = field(default_factory=dict)
    """Id -> earlier run -> its fields."""

    def executions(self) -> dict[str, dict[str, str]]:
        """Every x: hash, its fields as text (what is not text is left out)."""
        found = {}
        for key, fields in self.hashes.items():
            if key.startswith("x:"):
                found[key[2:]] = {name: as_text(value) for name, value in fields.items()}
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


def _children(flat: list[Any]) -> dict[str, Child]:
    return {
        name.decode(): _child(dict(zip(step[::2], step[1::2], strict=True)))
        for name, step in zip(flat[::2], flat[1::2], strict=True)
    }


def _child(step: dict[bytes, bytes]) -> Child:
    entry, fence, paused_by = (step.get(name, b"").decode() for name in (b"entry", b"fence", b"paused_by"))
    holds, blame = int(step.get(b"holds", 0)), step.get(b"blame", b"")
    unserved = step.get(b"unserved", b"").decode()
    return Child(
        entry,
        fence,
        int(step.get(b"failed_attempts", 0)),
        paused_by,
        holds,
        unserved,
        blame,
        step.get(b"queue", b"").decode(),
        step.get(b"child", b"").decode(),
        step.get(b"parent", b"").decode(),
        bool(step.get(b"outlives")),
    )


def take_snapshot(client: redis.Redis, prefix: str) -> Snapshot:
    """Blocks; one script, so nothing moves meanwhile."""
    answer: Any = client.eval(_DUMP, 0, prefix)
    snapshot = Snapshot({})
    for key_bytes, kind, value, pending in answer:
        key = key_bytes.decode()
        snapshot.raw[key] = (value, pending) if kind != b"hash" and kind != b"set" else sorted(_pairs(value))
        if kind == b"hash" and key.startswith("c:"):
            owner, _, scope = key[2:].rpartition(":")
            snapshot.children[owner, scope] = _children(value)
        elif kind == b"hash" and key.startswith("d:"):
            owner, scope, _ = key[2:].rsplit(":", 2)
            dropped = snapshot.dropped.setdefault(key, {})
            dropped |= {(owner, scope, name): child for name, child in _children(value).items() if name}
        elif kind == b"hash" and key.startswith("h:"):
            runs = {int(run): zip(x[::2], x[1::2], strict=True) for run, x in zip(value[::2], value[1::2], strict=True)}
            snapshot.history[key[2:]] = {run: {n.decode(): v for n, v in x} for run, x in runs.items()}
        elif kind == b"hash":
            snapshot.hashes[key] = {n.decode(): v for n, v in zip(value[::2], value[1::2], strict=True)}
        elif kind == b"zset":
            snapshot.zsets[key] = {
                n.decode(errors="surrogateescape"): float(v) for n, v in zip(value[::2], value[1::2], strict=True)
            }
        elif kind == b"set":
            snapshot.sets[key] = {member.decode() for member in value}
        elif kind == b"stream" and not key.startswith("v:"):
            queue, mark = key[2:], _MARKS[key[0]]
            entries = {f"{mark}{i.decode()}": tuple(f.decode() for f in fields) for i, fields in value}
            snapshot.entries.setdefault(queue, {}).update(entries)
            snapshot.pending.setdefault(queue, {}).update({f"{mark}{i.decode()}": by.decode() for i, by in pending})
    return snapshot


def as_text(value: bytes) -> str:
    return value.decode(errors="replace")


def _pairs(flat: list[Any]) -> list[Any]:
    if len(flat) % 2:
        return [repr(item) for item in flat]
    return [repr(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
