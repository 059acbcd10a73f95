"""Reading what is there, without changing it: records of steps, lists of executions, counts.

Lists go by the index, never by scanning keys. A partition's index is a sorted set of ids by creation time for each
status and facet; a facet is a pair of task and queue. A page merges the sets that a filter selects.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from redis import exceptions

from zart_redis.errors import RedisUnavailable
from zart_redis.logs import get_logger
from zart_redis.model import ExecutionStatus, PauseRule, WorkerInfo, from_ms
from zart_redis.store.connections import Backoff, Connections, retryable
from zart_redis.store.keys import GROUP, streams

log = get_logger()


class _Rule(msgspec.Struct):
    """A pause rule as the scripts read it, too."""

    created: int
    execution: str | None = None
    task: str | None = None
    step: str | None = None
    extend: bool | None = None


_read_rule = msgspec.json.Decoder(_Rule).decode
_read_facet = msgspec.json.Decoder(tuple[str, str]).decode


@dataclass(frozen=True, slots=True)
class Facet:
    number: str
    task: str
    queue: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions; None is any. The times of creation are ms, both included."""

    status: ExecutionStatus | None = None
    task: str | None = None
    queue: str | None = None
    id_prefix: str | None = None
    earliest: int | None = None
    latest: int | None = None

    def statuses(self) -> list[ExecutionStatus]:
        return list(ExecutionStatus) if self.status is None else [self.status]

    def matches(self, facet: Facet) -> bool:
        return self.task in (None, facet.task) and self.queue in (None, facet.queue)

    def takes(self, x: Mapping[str, bytes]) -> bool:
        """Whether an execution of these fields is wanted, whatever its id."""
        try:
            created = int(x["created"])
            status, task, queue = (x[name].decode() for name in ("status", "task", "queue"))
        except (KeyError, ValueError):
            return False  # damaged: `doctor` names it
        return (
            (self.status is None or status == self.status)
            and self.task in (None, task)
            and self.queue in (None, queue)
            and (self.earliest is None or created >= self.earliest)
            and (self.latest is None or created <= self.latest)
        )


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue's stream: entries that no worker has taken, entries that workers hold, and the oldest one's age."""

    queued: int
    held: int
    oldest_ms: int | None

    def __add__(self, other: QueueDepth) -> QueueDepth:
        ages = [age for age in (self.oldest_ms, other.oldest_ms) if age is not None]
        return QueueDepth(self.queued + other.queued, self.held + other.held, max(ages, default=None))


Position = tuple[int, str]
"""A place in a list: creation time in ms, then id."""


class Queries:
    """The queries of one partition."""

    def __init__(self, connections: Connections, prefix: str, patience: float | None) -> None:
        """`patience` is as for `Commits`: reading again does no harm."""
        self._connections = connections
        self._prefix = prefix
        self._patience = patience

    async def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Raises RedisUnavailable when patience has run out, and redis-py's error if Redis refuses a command."""
        answers = await self._try(commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _try(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """As `_ask`, but with the error of a command that is refused in its place."""
        if not commands:
            return []
        began, backoff = time.monotonic(), Backoff()
        while True:
            try:
                answers = await self._connections.exchange(self._prefix, commands)
                for answer in answers:
                    if isinstance(answer, Exception) and retryable(answer):
                        raise answer
                return answers
            except exceptions.RedisError as error:
                if not retryable(error):
                    raise
                if self._patience is not None and time.monotonic() - began >= self._patience:
                    raise RedisUnavailable(str(error)) from error
                await self._connections.relocate(error)
                await backoff.wait()

    async def records(self, execution_id: str, scope: str, names: Sequence[str]) -> dict[str, bytes]:
        """The records of the named steps, as far as there are any."""
        (values,) = await self._ask([("HMGET", f"{self._prefix}r:{execution_id}:{scope}", *names)])
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    async def now(self) -> int:
        """The time by Redis's clock, in ms."""
        (now,) = await self._ask([("TIME",)])
        return _ms(now)

    async def workers(self) -> list[WorkerInfo]:
        """The workers that keep a lease, by how recently they were heard of."""
        about, leases, now = await self._ask(
            [("HGETALL", f"{self._prefix}about"), ("ZRANGE", f"{self._prefix}workers", 0, -1, "WITHSCORES"), ("TIME",)]
        )
        now_ms = _ms(now)
        told = dict(zip(about[::2], about[1::2], strict=True))
        found = []
        for worker, end in zip(leases[::2], leases[1::2], strict=True):
            left = int(float(end)) - now_ms
            if worker in told and left > 0:  # a dead one stays until another worker buries it
                info = msgspec.json.decode(told[worker], type=WorkerInfo)
                found.append(replace(info, heartbeat_age_ms=max(0, info.lease_ms - left)))
        return sorted(found, key=lambda info: info.heartbeat_age_ms)

    async def pause_rules(self) -> list[PauseRule]:
        """The pause rules that this partition knows."""
        (flat,) = await self._ask([("HGETALL", f"{self._prefix}rules")])
        rules = (_pause_rule(rule, text) for rule, text in zip(flat[::2], flat[1::2], strict=True))
        return [rule for rule in rules if rule is not None]

    async def pending(self, queue: str, worker: str, most: int) -> list[str]:
        """Entries of a queue that have been delivered to a worker and not acked."""
        found = []
        for mark, key in streams(self._prefix, queue).items():
            (items,) = await self._ask([("XPENDING", key, GROUP, "-", "+", most, worker)])
            found += [mark + item[0].decode() for item in items]
        return found

    async def strays(self) -> list[str]:
        """Consumers of which no worker keeps a lease."""
        names, workers = await self._ask(
            [("SMEMBERS", f"{self._prefix}queues"), ("ZRANGE", f"{self._prefix}workers", 0, -1)]
        )
        strays = set()
        for key in (
            key for name in names for key in streams(self._prefix, name.decode(errors="surrogateescape")).values()
        ):
            try:
                (consumers,) = await self._ask([("XINFO", "CONSUMERS", key.encode(errors="surrogateescape"), GROUP)])
            except exceptions.ResponseError:
                continue  # the stream or its group is gone
            strays |= {consumer[1] for consumer in consumers} - set(workers)
        return [stray.decode(errors="surrogateescape") for stray in strays]

    async def finished_by(self, cutoff_ms: int, status: ExecutionStatus | None, most: int) -> AsyncIterator[list[str]]:
        """Ids of executions that have ended by a moment, in lots."""
        for facet in await self.facets():
            for final in (status for status in ExecutionStatus if status.is_final):
                if status not in (None, final):
                    continue
                after: Position | None = None
                while rows := await self._index_rows(self._index(final, facet), most, after):
                    after = rows[-1]
                    ids = [execution_id for _, execution_id in rows]
                    ended = await self._try([("HGET", f"{self._prefix}x:{i}", "finished") for i in ids])
                    ends = zip(ids, ended, strict=True)
                    lot = [i for i, end in ends if isinstance(end, bytes) and end.isdigit() and int(end) <= cutoff_ms]
                    if lot:
                        yield lot

    async def _index_rows(self, key: str, most: int, after: Position | None) -> list[Position]:
        """A lot of one index in order, beginning behind `after`."""
        found: set[Position] = set()
        for answer in await self._ask(_ranges(key, most, False, after)):
            found.update(_positions(answer))
        return sorted(position for position in found if after is None or position > after)[:most]

    async def known_ids(self, lot: int) -> AsyncIterator[list[str]]:
        """Every id that is listed, expires, has a timer or has fields, in lots; some of them more than once."""
        sets = [f"{self._prefix}ids", f"{self._prefix}expiring", f"{self._prefix}timers"]
        sets += [self._index(status, facet) for facet in await self.facets() for status in ExecutionStatus]
        for key in sets:
            async for members in self._scan("ZSCAN", key, lot):
                names = list(_texts(members[::2]))
                if key.endswith("}:timers"):
                    names = [name[1:] for name in names if name[0] == "x"]
                if names:
                    yield names
        async for fields in self._scan("HSCAN", f"{self._prefix}damaged", lot):
            yield list(_texts(fields[::2]))
        async for keys in self._scan("SCAN", None, lot, "MATCH", f"{_escaped(self._prefix)}x:*"):
            yield [key.removeprefix(f"{self._prefix}x:") for key in _texts(keys)]

    async def orphans(self, lot: int) -> AsyncIterator[list[tuple[str, str, str]]]:
        """Keys of a run that its execution does not have, in lots: (key without the prefix, id, run)."""
        for kind in "rceawgh":
            async for keys in self._scan("SCAN", None, lot, "MATCH", f"{_escaped(self._prefix)}{kind}:*"):
                parts = [_owner(kind, key.removeprefix(self._prefix)) for key in _texts(keys)]
                runs = await self._try([("HGET", f"{self._prefix}x:{i}", "run") for _, i, _ in parts])
                orphans = [part for part, run in zip(parts, runs, strict=True) if _is_orphan(part[2], run)]
                if orphans:
                    yield orphans

    async def _scan(self, command: str, key: str | None, lot: int, *options: str) -> AsyncIterator[list[bytes]]:
        cursor: Any = 0
        while True:
            where = [] if key is None else [key]
            ((cursor, members),) = await self._ask([(command, *where, cursor, *options, "COUNT", lot)])
            if members:
                yield members
            if int(cursor) == 0:
                return

    async def facets(self) -> list[Facet]:
        (flat,) = await self._ask([("HGETALL", f"{self._prefix}facets")])
        facets = (_facet(name, number) for name, number in zip(flat[::2], flat[1::2], strict=True))
        return [facet for facet in facets if facet is not None]

    def _index(self, status: ExecutionStatus, facet: Facet) -> str:
        return f"{self._prefix}i:{status}:{facet.number}"

    async def page(
        self, wanted: Filter, most: int, newest_first: bool, after: Position | None
    ) -> list[tuple[Position, dict[str, bytes]]]:
        """Executions in order of creation, beginning behind `after`, with their fields. With an id prefix they are in
        order of their ids."""
        if wanted.id_prefix is not None:
            return await self._page_by_id(wanted, wanted.id_prefix, most, newest_first, after)
        sets = [
            self._index(status, facet)
            for facet in await self.facets()
            if wanted.matches(facet)
            for status in wanted.statuses()
        ]
        between = (wanted.earliest, wanted.latest)
        ranges = [command for key in sets for command in _ranges(key, most, newest_first, after, between)]
        found: set[Position] = set()
        for answer in await self._ask(ranges):
            found.update(_positions(answer))
        if after is not None:
            found = {p for p in found if (p < after if newest_first else p > after)}
        positions = sorted(found, reverse=newest_first)[:most]
        fields = await self._fields([execution_id for _, execution_id in positions])
        return [(position, x) for position, x in zip(positions, fields, strict=True) if x]

    async def _page_by_id(
        self, wanted: Filter, prefix: str, most: int, descending: bool, after: Position | None
    ) -> list[tuple[Position, dict[str, bytes]]]:
        rows: list[tuple[Position, dict[str, bytes]]] = []
        low, high = f"[{prefix}".encode(), f"[{prefix}".encode() + b"\xff"
        behind = None if after is None else f"({after[1]}".encode()
        while len(rows) < most:
            lot = max(most, 200)
            if descending:
                command = ("ZREVRANGEBYLEX", f"{self._prefix}ids", behind or high, low, "LIMIT", 0, lot)
            else:
                command = ("ZRANGEBYLEX", f"{self._prefix}ids", behind or low, high, "LIMIT", 0, lot)
            (members,) = await self._ask([command])
            ids = [member.decode(errors="replace") for member in members]
            fields = await self._fields(ids)
            rows += [((0, i), x) for i, x in zip(ids, fields, strict=True) if x and wanted.takes(x)]
            if len(ids) < lot:
                break
            behind = b"(" + members[-1]
        return rows[:most]

    async def _fields(self, ids: Sequence[str]) -> list[dict[str, bytes]]:
        """The fields of each; {} for one that is not there, or is no hash."""
        answers = await self._try([("HGETALL", f"{self._prefix}x:{execution_id}") for execution_id in ids])
        flats = [[] if isinstance(answer, Exception) else answer for answer in answers]
        return [
            {field.decode(errors="replace"): value for field, value in zip(flat[::2], flat[1::2], strict=True)}
            for flat in flats
        ]

    async def counts(self) -> list[tuple[Facet, ExecutionStatus, int]]:
        """How many executions stand in each status, by task and queue."""
        cells = [(facet, status) for facet in await self.facets() for status in ExecutionStatus]
        sizes = await self._ask([("ZCARD", self._index(status, facet)) for facet, status in cells])
        return [(facet, status, size) for (facet, status), size in zip(cells, sizes, strict=True) if size]

    async def queues(self) -> dict[str, QueueDepth]:
        """Every queue that was ever read or started on, with its depth."""
        read, now = await self._ask([("SMEMBERS", f"{self._prefix}queues"), ("TIME",)])
        now_ms = _ms(now)
        depths = {}
        for name in sorted({*_texts(read)} | {facet.queue for facet in await self.facets()}):
            both = [await self._depth(key, now_ms) for key in streams(self._prefix, name).values()]
            depths[name] = both[0] + both[1]
        return depths

    async def _depth(self, key: str, now_ms: int) -> QueueDepth:
        length, first = await self._ask([("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1)])
        try:
            ((held, *_),) = await self._ask([("XPENDING", key, GROUP)])
        except exceptions.ResponseError:
            held = 0  # there is no stream, or no group before the first worker reads it
        oldest = now_ms - int(first[0][0].split(b"-")[0]) if first else None
        return QueueDepth(length - held, held, oldest)


def _ms(now: Sequence[bytes]) -> int:
    """What TIME answers, in ms."""
    return int(now[0]) * 1000 + int(now[1]) // 1000


def _ranges(
    key: str,
    most: int,
    newest_first: bool,
    after: Position | None,
    between: tuple[int | None, int | None] = (None, None),
) -> list[tuple[Any, ...]]:
    """Behind `after`: all of its own millisecond, of which some are behind it by id, and `most` further ones."""
    command = "ZREVRANGEBYSCORE" if newest_first else "ZRANGEBYSCORE"
    low, high = ("-inf" if between[0] is None else between[0]), ("+inf" if between[1] is None else between[1])
    begin, end = (high, low) if newest_first else (low, high)
    if after is None:
        return [(command, key, begin, end, "WITHSCORES", "LIMIT", 0, most)]
    further = (command, key, f"({after[0]}", end, "WITHSCORES", "LIMIT", 0, most)
    return [(command, key, after[0], after[0], "WITHSCORES"), further]


def _owner(kind: str, key: str) -> tuple[str, str, str]:
    """A key, the execution it belongs to, and the run, if it is of one."""
    name = key.removeprefix(f"{kind}:")
    if kind in "wgh":
        return key, name, ""
    execution_id, _, scope = name.rpartition(":")
    return key, execution_id, scope.removesuffix("f")


def _escaped(prefix: str) -> str:
    """For MATCH, in which a namespace is no pattern."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix)


def _positions(answer: Sequence[bytes]) -> Iterator[Position]:
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return ((int(float(score)), member.decode(errors="replace")) for member, score in pairs)


def describe_rule(rule: PauseRule) -> bytes:
    """A pause rule as the scripts read it."""
    description = {
        "execution": rule.execution_id,
        "task": rule.task_name,
        "step": rule.step_pattern,
        "extend": rule.extend_deadlines or None,
        "created": round(rule.created_at.timestamp() * 1000),
    }
    return json.dumps({key: value for key, value in description.items() if value is not None}).encode()


def _pause_rule(rule_id: bytes, text: bytes) -> PauseRule | None:
    """None, and a word to the log, if it is none that `describe_rule` wrote."""
    try:
        rule = _read_rule(text)
        return PauseRule(
            rule_id.decode(), rule.execution, rule.task, rule.step, bool(rule.extend), from_ms(rule.created)
        )
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError) as error:
        log.error("a pause rule cannot be read, and holds nothing", rule=repr(rule_id), reason=str(error))
        return None


def _facet(name: bytes, number: bytes) -> Facet | None:
    try:
        task, queue = _read_facet(name)
        return Facet(number.decode(), task, queue)
    except (msgspec.MsgspecError, ValueError) as error:
        log.error("a pair of task and queue cannot be read, and lists nothing", facet=repr(name), reason=str(error))
        return None


def _is_orphan(of_run: str, run: bytes | Exception | None) -> bool:
    """Whether a key belongs to no run of the execution that has this field `run`."""
    if run is None:
        return True
    if isinstance(run, Exception) or not run.isdigit():
        return False  # it is damaged, which is another finding
    return of_run != "" and not (of_run.isdigit() and int(of_run) <= int(run))


def _texts(names: Iterable[bytes]) -> Iterator[str]:
    """Those that are text, as all of ours are."""
    for name in names:
        try:
            yield name.decode()
        except UnicodeDecodeError:
            log.warning("a name that is no text was found, and passed over", name=repr(name))
