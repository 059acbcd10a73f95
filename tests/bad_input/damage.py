"""Handlers that stand still in each state that an execution can be in, and ways to damage what is stored of one."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

import zart_redis as zart
from tests.support.waiting import Gate
from zart_redis import zart_durable, zart_step

ran: Counter[str] = Counter()


class Flaky(Exception):
    pass


@zart_step("damage-one")
async def one() -> int:
    ran[zart.context().execution_id] += 1
    return 1


@zart_step("damage-leaf-{number}", retry="fixed(2, 1500ms)")
async def leaf(number: int) -> int:
    """Fails once, so that it is between two attempts while it is damaged."""
    if not zart.context().is_retry():
        raise Flaky
    return number


@zart_step("damage-always")
async def always_fails() -> None:
    raise Flaky


@zart_durable("damage-queued", timeout="1h")
async def queued() -> int:
    return await one()


@zart_durable("damage-parked", timeout="1h")
async def parked() -> int:
    total = await one()
    total += await zart.capture("two", lambda: 2, type=int)
    await zart.sleep("nap", "1ms")
    total += await zart.wait_for_event("early", type=int)
    return total + await zart.wait_for_event("go", "1h", type=int)


@zart_durable("damage-fanned")
async def fanned() -> int:
    results = await zart.wait([zart.schedule(leaf(number)) for number in (1, 2)])
    return sum(result.unwrap() for result in results)


@zart_durable("damage-retrying")
async def retrying() -> int:
    return await leaf(3)


async def undo(failure: zart.Failure) -> int:
    return await zart.wait_for_event("go", type=int)


@zart_durable("damage-failing", on_failure=lambda data, failure: undo(failure))
async def failing() -> int:
    await always_fails()
    return 0


@zart_durable("damage-returned")
async def returned() -> int:
    zart.schedule(leaf(4))
    return 4


@zart_durable("damage-done")
async def done() -> int:
    return await one()


gate = Gate()
"""Holds the steps of `held`; each test sets its own."""


@zart_step("damage-gated")
async def gated() -> int:
    ran[zart.context().execution_id] += 1
    await gate.wait()
    return 5


@zart_durable("damage-held", timeout="1h")
async def held() -> int:
    return await gated() + await one()


OUTPUTS = {"queued": 1, "delayed": 1, "parked": 13, "fanned": 3, "retrying": 3, "failing": 5, "returned": 4, "done": 1,
           "again": 13, "held": 6}  # fmt: skip

FIELDS: list[tuple[str, Callable[[bytes], bytes | None]]] = [
    ("missing", lambda value: None),
    ("garbage", lambda value: b"\xff\xfe\x00\xc1"),
    ("empty", lambda value: b""),
    ("number", lambda value: b"-1e300"),
    ("cut", lambda value: value[: len(value) // 2]),
]

WRONG_TYPES = {b"hash": ("SET", "LPUSH"), b"list": ("SET", "HSET"), b"zset": ("SET", "HSET")}


@dataclass(frozen=True)
class Damage:
    """A kind of key of an execution, which field of it ("" the key), and how it is damaged."""

    key: str
    field: bytes
    how: str

    @property
    def name(self) -> str:
        return f"{self.key} {self.field.decode(errors='replace')} {self.how}"


def damages(raw: redis.Redis, prefix: str, sample: str) -> Iterator[Damage]:
    """Every damage that can be done to an execution such as this one."""
    for key in sorted(raw.scan_iter(f"{prefix}?:*", count=1000)):
        name = key.decode().removeprefix(prefix)
        kind, _, rest = name.partition(":")
        if rest != sample and not rest.startswith(f"{sample}:"):
            continue
        pattern = f"{kind}:<id>{rest.removeprefix(sample)}"
        yield Damage(pattern, b"", "missing")
        kind_of_key: Any = raw.type(key)
        for command in WRONG_TYPES[kind_of_key]:
            yield Damage(pattern, b"", command)
        if kind_of_key == b"hash":
            fields: Any = raw.hkeys(key)
            for field in sorted(fields):
                for how, _ in FIELDS:
                    yield Damage(pattern, field, how)
            yield Damage(pattern, b"\xff\xfe", "added")
    timers: Any = raw.zrange(f"{prefix}timers", 0, -1)
    for member in sorted(timers):
        if _is_timer_of(member, sample):
            yield Damage("timer", member.replace(sample.encode(), b"<id>"), "missing")
            yield Damage("timer", member.replace(sample.encode(), b"<id>"), "endless")
            yield Damage("timer", member.replace(sample.encode(), b"<id>"), "early")
    if raw.hget(f"{prefix}x:{sample}", "entry"):
        yield Damage("entry", b"", "missing")
        yield Damage("entry", b"", "twice")


def _is_timer_of(member: bytes, execution_id: str) -> bool:
    if member[:1] == b"x":
        return member[1:].decode() == execution_id
    return member[:1] == b"s" and json.loads(member[1:])[0] == execution_id


def do(raw: redis.Redis, prefix: str, execution_id: str, damage: Damage) -> None:
    """Damage an execution."""
    if damage.key == "entry":
        entry: Any = raw.hget(f"{prefix}x:{execution_id}", "entry")
        if damage.how == "missing":
            raw.xdel(f"{prefix}q:default", entry)
        else:
            raw.xadd(f"{prefix}q:default", {"x": execution_id})
        return
    if damage.key == "timer":
        member = damage.field.replace(b"<id>", execution_id.encode())
        if damage.how == "missing":
            raw.zrem(f"{prefix}timers", member)
        else:
            raw.zadd(f"{prefix}timers", {member: float("inf") if damage.how == "endless" else 1.0})
        return
    key = prefix + damage.key.replace("<id>", execution_id)
    if damage.field == b"" and damage.how == "missing":
        raw.delete(key)
    elif damage.field == b"" and damage.how in ("SET", "LPUSH", "HSET"):
        raw.delete(key)
        write: Any = raw.execute_command
        write(damage.how, key, *(["field"] if damage.how == "HSET" else []), "rubbish")
    elif damage.how == "added":
        raw.hset(key, damage.field, b"\xc1")
    else:
        value: Any = raw.hget(key, damage.field)
        changed = dict(FIELDS)[damage.how](value or b"")
        if changed is None:
            raw.hdel(key, damage.field)
        else:
            raw.hset(key, damage.field, changed)
