"""Queries that change nothing: records of steps, workers, pause rules, queues."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import msgspec
from redis import exceptions

from zart_redis.layout import GROUP, UNCLAIMED, Field, Key, Lane, Timer, streams
from zart_redis.model import PauseRule, WorkerInfo
from zart_redis.store.decoding import mapping
from zart_redis.store.index import Index
from zart_redis.store.pause_rules import decode_rule
from zart_redis.store.reads import Reads, texts, time_ms


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue's stream: entries that no worker has taken, entries that workers hold, and the oldest one's age."""

    queued: int
    held: int
    oldest_ms: int | None

    def __add__(self, other: QueueDepth) -> QueueDepth:
        ages = [age for age in (self.oldest_ms, other.oldest_ms) if age is not None]
        return QueueDepth(self.queued + other.queued, self.held + other.held, max(ages, default=None))


class Queries:
    """The queries of one partition."""

    def __init__(self, reads: Reads, index: Index) -> None:
        self._reads = reads
        self._index = index
        self._prefix = reads.prefix

    async def records(self, execution_id: str, scope: str, names: Sequence[str]) -> dict[str, bytes]:
        """The records of the named steps, as far as there are any."""
        (values,) = await self._reads.ask([("HMGET", Key.RECORDS.of(self._prefix, execution_id, scope), *names)])
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    async def value(self, execution_id: str, key: str) -> tuple[bool, bytes | None]:
        """Whether there is such an execution, and what it has set last for a key."""
        exists, value = await self._reads.ask(
            [
                ("EXISTS", Key.EXECUTION.of(self._prefix, execution_id)),
                ("HGET", Key.VALUES.of(self._prefix, execution_id), key),
            ]
        )
        return bool(exists), value

    async def values(self, execution_id: str) -> dict[str, bytes] | None:
        """All that an execution has set, by key; None if there is no such execution."""
        exists, flat = await self._reads.ask(
            [
                ("EXISTS", Key.EXECUTION.of(self._prefix, execution_id)),
                ("HGETALL", Key.VALUES.of(self._prefix, execution_id)),
            ]
        )
        return mapping(flat) if exists else None

    async def hash(self, key: Key, *parameters: str) -> list[bytes]:
        """The fields and values of a hash, in turn."""
        (flat,) = await self._reads.ask([("HGETALL", key.of(self._prefix, *parameters))])
        return list(flat)

    async def session(self, digest: str) -> bytes | None:
        """A session of the HTTP API; None if it has ended."""
        (found,) = await self._reads.ask([("GET", Key.SESSION.of(self._prefix, digest))])
        return None if found is None else bytes(found)

    async def members(self, key: Key) -> list[bytes]:
        """The members of a set."""
        (found,) = await self._reads.ask([("SMEMBERS", key.of(self._prefix))])
        return list(found)

    async def status(self, execution_id: str) -> bytes | None:
        """The status of an execution; None if there is none."""
        (found,) = await self._reads.ask([("HGET", Key.EXECUTION.of(self._prefix, execution_id), Field.STATUS)])
        return None if found is None else bytes(found)

    async def has_timer(self, kind: Timer, name: str) -> bool:
        (due,) = await self._reads.ask([("ZSCORE", Key.TIMERS.of(self._prefix), kind + name)])
        return due is not None

    async def now(self) -> int:
        """The time by Redis's clock, in ms."""
        (now,) = await self._reads.ask([("TIME",)])
        return time_ms(now)

    async def workers(self) -> list[WorkerInfo]:
        """The workers that keep a lease, by how recently they were heard of."""
        infos, leases, now = await self._reads.ask(
            [
                ("HGETALL", Key.WORKER_INFO.of(self._prefix)),
                ("ZRANGE", Key.WORKERS.of(self._prefix), 0, -1, "WITHSCORES"),
                ("TIME",),
            ]
        )
        now_ms = time_ms(now)
        encoded = dict(zip(infos[::2], infos[1::2], strict=True))
        found = []
        for worker, end in zip(leases[::2], leases[1::2], strict=True):
            left = int(float(end)) - now_ms
            if worker in encoded and left > 0:  # a dead one stays until its work has been reclaimed
                info = msgspec.json.decode(encoded[worker], type=WorkerInfo)
                found.append(replace(info, heartbeat_age_ms=max(0, info.lease_ms - left)))
        return sorted(found, key=lambda info: info.heartbeat_age_ms)

    async def pause_rules(self) -> list[PauseRule]:
        """The pause rules that this partition knows."""
        (flat,) = await self._reads.ask([("HGETALL", Key.PAUSE_RULES.of(self._prefix))])
        rules = (decode_rule(rule, text) for rule, text in zip(flat[::2], flat[1::2], strict=True))
        return [rule for rule in rules if rule is not None]

    async def pending(self, queue: str, worker: str, most: int, lanes: Collection[Lane]) -> list[str]:
        """Entries of a queue that have been delivered to a worker and not acked."""
        keys = streams(self._prefix, queue)
        replies = await self._reads.ask_each(
            [("XPENDING", keys[lane], GROUP, "-", "+", most, worker) for lane in lanes]
        )
        found = []
        for lane, items in zip(lanes, replies, strict=True):
            if not isinstance(items, Exception):  # else the lane has no stream or no group yet
                found += [lane + item[0].decode() for item in items]
        return found

    async def suspects_waiting(self, queue: str) -> int:
        """How many suspects wait in a queue for a quarantine process."""
        return (await self._depth(Key.SUSPECTS.of(self._prefix, queue), 0)).queued

    async def consumers_without_lease(self) -> list[str]:
        """Consumers whose worker holds no lease."""
        names, workers = await self._reads.ask(
            [("SMEMBERS", Key.QUEUES.of(self._prefix)), ("ZRANGE", Key.WORKERS.of(self._prefix), 0, -1)]
        )
        found = set()
        queues = (name.decode(errors="surrogateescape") for name in names)
        for key in (key for queue in queues for key in streams(self._prefix, queue).values()):
            try:
                (consumers,) = await self._reads.ask(
                    [("XINFO", "CONSUMERS", key.encode(errors="surrogateescape"), GROUP)]
                )
            except exceptions.ResponseError:
                continue  # the stream or its group is gone
            found |= {consumer[1] for consumer in consumers} - {*workers, UNCLAIMED.encode()}
        return [consumer.decode(errors="surrogateescape") for consumer in found]

    async def held(self) -> int:
        """How many bodies and scheduled steps need code that no worker here has had."""
        (number,) = await self._reads.ask([("HLEN", Key.HELD.of(self._prefix))])
        return int(number)

    async def queues(self) -> dict[str, QueueDepth]:
        """Every queue that was ever read or started on, with its depth."""
        read, now = await self._reads.ask([("SMEMBERS", Key.QUEUES.of(self._prefix)), ("TIME",)])
        now_ms = time_ms(now)
        depths = {}
        for name in sorted({*texts(read)} | {bucket.queue for bucket in await self._index.buckets()}):
            first, *others = [await self._depth(key, now_ms) for key in streams(self._prefix, name).values()]
            depths[name] = functools.reduce(QueueDepth.__add__, others, first)
        return depths

    async def _depth(self, key: str, now_ms: int) -> QueueDepth:
        length, first = await self._reads.ask([("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1)])
        try:
            ((held, *_),) = await self._reads.ask([("XPENDING", key, GROUP)])
        except exceptions.ResponseError:
            held = 0  # there is no stream, or no group before the first worker reads it
        oldest = now_ms - int(first[0][0].split(b"-")[0]) if first else None
        return QueueDepth(length - held, held, oldest)
