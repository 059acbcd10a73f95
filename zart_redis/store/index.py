"""Lists of executions by the index, never by scanning keys.

A partition's index is a sorted set of ids by creation time for each status and bucket; a bucket is a pair of task and
queue. A page merges the sets that a filter selects. With tags it walks the smallest of their sets instead, with an id
prefix the set of all ids, and leaves out what the filter does not select: such a page may be short.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from zart_redis.errors import SerializationError
from zart_redis.layout import Field, Key
from zart_redis.logs import get_logger
from zart_redis.model import ExecutionStatus
from zart_redis.store.decoding import read_all_tags
from zart_redis.store.reads import Reads

log = get_logger()


class _BucketName(msgspec.Struct, array_like=True):
    task: str
    queue: str
    version: int | None = None


_read_bucket = msgspec.json.Decoder(_BucketName).decode


@dataclass(frozen=True, slots=True)
class Bucket:
    number: str
    task: str
    queue: str
    version: int | None = None
    """The version that its runs are bound to; None if they are bound to version 1, or have not begun."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions; None is any. The times of creation are ms, both included."""

    status: ExecutionStatus | None = None
    task: str | None = None
    queue: str | None = None
    id_prefix: str | None = None
    earliest: int | None = None
    latest: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def statuses(self) -> list[ExecutionStatus]:
        return list(ExecutionStatus) if self.status is None else [self.status]

    def matches(self, bucket: Bucket) -> bool:
        return self.task in (None, bucket.task) and self.queue in (None, bucket.queue)

    def takes(self, execution_id: str, x: Mapping[str, bytes]) -> bool:
        """Whether the filter selects an execution with these fields."""
        try:
            created = int(x[Field.CREATED])
            status, task, queue = (x[name].decode() for name in (Field.STATUS, Field.TASK, Field.QUEUE))
            tags = read_all_tags(x.get(Field.TAGS, b""))
        except (KeyError, ValueError, SerializationError):
            return False  # damaged: `doctor` names it
        return (
            execution_id.startswith(self.id_prefix or "")
            and self.tags.items() <= tags.items()
            and (self.status is None or status == self.status)
            and self.task in (None, task)
            and self.queue in (None, queue)
            and (self.earliest is None or created >= self.earliest)
            and (self.latest is None or created <= self.latest)
        )


Position = tuple[int, str]
"""A place in a list: creation time in ms, then id."""

Between = tuple[int | None, int | None]
"""The earliest and the latest time of creation in ms."""

BATCH = 200
MAX_CANDIDATES = 1_000
"""Executions that one page looks at, if it has to look at each of them."""


class Page(NamedTuple):
    rows: list[tuple[Position, dict[str, bytes]]]
    walked_to: Position | None = None
    """The last place that was looked at, if there may be more behind it."""


class Index:
    """The lists of one partition."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._prefix = reads.prefix

    async def buckets(self) -> list[Bucket]:
        (flat,) = await self._reads.ask([("HGETALL", Key.BUCKETS.of(self._prefix))])
        buckets = (_bucket(name, number) for name, number in zip(flat[::2], flat[1::2], strict=True))
        return [bucket for bucket in buckets if bucket is not None]

    def key(self, status: ExecutionStatus, bucket: Bucket) -> str:
        return Key.INDEX.of(self._prefix, status, bucket.number)

    async def page(self, wanted: Filter, most: int, newest_first: bool, after: Position | None) -> Page:
        """Executions in order of creation, beginning behind `after`, with their fields. With an id prefix and no tags
        they are in order of their ids."""
        if wanted.tags:
            return await self._page_by_tag(wanted, most, newest_first, after)
        if wanted.id_prefix is not None:
            return await self._page_by_id(wanted, wanted.id_prefix, most, newest_first, after)
        sets = [
            self.key(status, bucket)
            for bucket in await self.buckets()
            if wanted.matches(bucket)
            for status in wanted.statuses()
        ]
        between = (wanted.earliest, wanted.latest)
        ranges = [command for key in sets for command in _ranges(key, most, newest_first, after, between)]
        found: set[Position] = set()
        for answer in await self._reads.ask(ranges):
            found.update(_positions(answer))
        positions = _behind(found, after, newest_first)[:most]
        fields = await self._fields([execution_id for _, execution_id in positions])
        return Page([(position, x) for position, x in zip(positions, fields, strict=True) if x])

    async def _page_by_tag(self, wanted: Filter, most: int, newest_first: bool, after: Position | None) -> Page:
        keys = [Key.TAG.of(self._prefix, tag, value) for tag, value in wanted.tags.items()]
        sizes = await self._reads.ask([("ZCARD", key) for key in keys])
        smallest = min(zip(sizes, keys, strict=True))[1]
        rows: list[tuple[Position, dict[str, bytes]]] = []
        between = (wanted.earliest, wanted.latest)
        for _ in range(0, MAX_CANDIDATES, BATCH):
            positions = await self._index_rows(smallest, BATCH, after, newest_first, between)
            fields = await self._fields([execution_id for _, execution_id in positions])
            rows += [(p, x) for p, x in zip(positions, fields, strict=True) if x and wanted.takes(p[1], x)]
            if len(positions) < BATCH:
                return Page(rows[:most])
            after = positions[-1]
            if len(rows) >= most:
                break
        return Page(rows[:most], after)

    async def _page_by_id(
        self, wanted: Filter, prefix: str, most: int, descending: bool, after: Position | None
    ) -> Page:
        rows: list[tuple[Position, dict[str, bytes]]] = []
        low, high = f"[{prefix}".encode(), f"[{prefix}".encode() + b"\xff"
        ids_key = Key.IDS.of(self._prefix)
        behind = None if after is None else f"({after[1]}".encode()
        last = after
        for _ in range(0, MAX_CANDIDATES, BATCH):
            if descending:
                command = ("ZREVRANGEBYLEX", ids_key, behind or high, low, "LIMIT", 0, BATCH)
            else:
                command = ("ZRANGEBYLEX", ids_key, behind or low, high, "LIMIT", 0, BATCH)
            (members,) = await self._reads.ask([command])
            ids = [member.decode(errors="replace") for member in members]
            fields = await self._fields(ids)
            rows += [((0, i), x) for i, x in zip(ids, fields, strict=True) if x and wanted.takes(i, x)]
            if len(ids) < BATCH:
                return Page(rows[:most])
            behind, last = b"(" + members[-1], (0, ids[-1])
            if len(rows) >= most:
                break
        return Page(rows[:most], last)

    async def _fields(self, ids: Sequence[str]) -> list[dict[str, bytes]]:
        """The fields of each; {} for one that is not there, or is no hash."""
        answers = await self._reads.ask_each(
            [("HGETALL", Key.EXECUTION.of(self._prefix, execution_id)) for execution_id in ids]
        )
        flats = [[] if isinstance(answer, Exception) else answer for answer in answers]
        return [
            {field.decode(errors="replace"): value for field, value in zip(flat[::2], flat[1::2], strict=True)}
            for flat in flats
        ]

    async def counts(self) -> list[tuple[Bucket, ExecutionStatus, int]]:
        """How many executions have each status, by task and queue."""
        cells = [(bucket, status) for bucket in await self.buckets() for status in ExecutionStatus]
        sizes = await self._reads.ask([("ZCARD", self.key(status, bucket)) for bucket, status in cells])
        return [(bucket, status, size) for (bucket, status), size in zip(cells, sizes, strict=True) if size]

    async def finished_by(self, cutoff_ms: int, status: ExecutionStatus | None, most: int) -> AsyncIterator[list[str]]:
        """Ids of executions that have ended by a moment, in batches."""
        for bucket in await self.buckets():
            for final in (status for status in ExecutionStatus if status.is_final):
                if status not in (None, final):
                    continue
                after: Position | None = None
                while rows := await self._index_rows(self.key(final, bucket), most, after):
                    after = rows[-1]
                    ids = [execution_id for _, execution_id in rows]
                    ended = await self._reads.ask_each(
                        [("HGET", Key.EXECUTION.of(self._prefix, i), Field.FINISHED) for i in ids]
                    )
                    ends = zip(ids, ended, strict=True)
                    batch = [i for i, end in ends if isinstance(end, bytes) and end.isdigit() and int(end) <= cutoff_ms]
                    if batch:
                        yield batch

    async def _index_rows(
        self,
        key: str,
        most: int,
        after: Position | None,
        newest_first: bool = False,
        between: Between = (None, None),
    ) -> list[Position]:
        """A batch of one index in order, beginning behind `after`."""
        found: set[Position] = set()
        for answer in await self._reads.ask(_ranges(key, most, newest_first, after, between)):
            found.update(_positions(answer))
        return _behind(found, after, newest_first)[:most]


def _behind(found: set[Position], after: Position | None, newest_first: bool) -> list[Position]:
    """Those behind a place, in order."""
    left = (p for p in found if after is None or (p < after if newest_first else p > after))
    return sorted(left, reverse=newest_first)


def _ranges(key: str, most: int, newest_first: bool, after: Position | None, between: Between) -> list[tuple[Any, ...]]:
    """Scores have ms resolution: re-reads the cursor's whole millisecond, to filter by id, then `most` later rows."""
    command = "ZREVRANGEBYSCORE" if newest_first else "ZRANGEBYSCORE"
    low, high = ("-inf" if between[0] is None else between[0]), ("+inf" if between[1] is None else between[1])
    begin, end = (high, low) if newest_first else (low, high)
    if after is None:
        return [(command, key, begin, end, "WITHSCORES", "LIMIT", 0, most)]
    further = (command, key, f"({after[0]}", end, "WITHSCORES", "LIMIT", 0, most)
    return [(command, key, after[0], after[0], "WITHSCORES"), further]


def _positions(answer: Sequence[bytes]) -> Iterator[Position]:
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return ((int(float(score)), member.decode(errors="replace")) for member, score in pairs)


def _bucket(name: bytes, number: bytes) -> Bucket | None:
    try:
        read = _read_bucket(name)
        return Bucket(number.decode(), read.task, read.queue, read.version)
    except (msgspec.MsgspecError, ValueError) as error:
        log.error("a pair of task and queue cannot be read, and lists nothing", bucket=repr(name), reason=str(error))
        return None
