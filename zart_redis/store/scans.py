"""Scans of a partition for the doctor, in batches: every known id, and keys that belong to no execution."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from zart_redis.layout import Field, Key, Timer, is_newer_record
from zart_redis.model import ExecutionStatus
from zart_redis.store.index import Index
from zart_redis.store.reads import Reads, texts

_OF_A_RUN = (Key.RECORDS, Key.STEPS, Key.EVENTS, Key.ATTEMPTS, Key.EMITTERS)
_OF_AN_ID = (Key.WAITS, Key.GROUPS, Key.NEWS, Key.HISTORY)
_OF_A_TIMER = (Key.DROPPED_STEPS,)
_OUTLIVING_RUNS = (Key.STREAM, Key.MAILBOX, Key.MESSAGES, Key.RECEIVERS, Key.MESSAGE_IDS)
"""The pattern of the first finds the keys of values, and of the names of streams, too."""

KEYS_AT_ONCE = 1000
"""Keys that one SCAN looks at; few of them may match."""


class Scans:
    """The scans of one partition."""

    def __init__(self, reads: Reads, index: Index) -> None:
        self._reads = reads
        self._index = index
        self._prefix = reads.prefix

    async def known_ids(self, batch: int) -> AsyncIterator[list[str]]:
        """Ids of executions, and ids that are listed, expire or have a timer although there is no execution, in
        batches; some of the latter more than once."""
        async for keys in self._scan("SCAN", None, batch, "MATCH", Key.EXECUTION.of(_escaped(self._prefix), "*")):
            yield [key.removeprefix(Key.EXECUTION.of(self._prefix, "")) for key in texts(keys)]
        async for ids in self._listed_ids(batch):
            if missing := await self._without_fields(ids):
                yield missing

    async def _listed_ids(self, batch: int) -> AsyncIterator[list[str]]:
        timers = Key.TIMERS.of(self._prefix)
        sets = [Key.IDS.of(self._prefix), Key.EXPIRING.of(self._prefix), timers]
        sets += [
            self._index.key(status, bucket) for bucket in await self._index.buckets() for status in ExecutionStatus
        ]
        for key in sets:
            async for members in self._scan("ZSCAN", key, batch):
                names = list(texts(members[::2]))
                if key == timers:
                    names = [name[1:] for name in names if name.startswith(Timer.EXECUTION)]
                if names:
                    yield names
        async for fields in self._scan("HSCAN", Key.DAMAGED.of(self._prefix), batch):
            yield list(texts(fields[::2]))

    async def _without_fields(self, ids: Sequence[str]) -> list[str]:
        keys = [Key.EXECUTION.of(self._prefix, i) for i in ids]
        if (await self._reads.ask([("EXISTS", *keys)]))[0] == len(keys):
            return []
        found = await self._reads.ask([("EXISTS", key) for key in keys])
        return [i for i, exists in zip(ids, found, strict=True) if not exists]

    async def all_keys(self, batch: int) -> AsyncIterator[list[str]]:
        """Every key of the partition, without the prefix, in batches."""
        async for keys in self._scan("SCAN", None, batch, "MATCH", f"{_escaped(self._prefix)}*"):
            yield [key.removeprefix(self._prefix) for key in texts(keys)]

    async def orphans(self, batch: int) -> AsyncIterator[list[tuple[str, str, str]]]:
        """Keys of a run that its execution does not have, in batches: (key without the prefix, id, run)."""
        for owned in _OF_A_RUN + _OF_AN_ID + _OF_A_TIMER + _OUTLIVING_RUNS:
            pattern = owned.of(_escaped(self._prefix), *("*" for _ in owned.parameters))
            async for keys in self._scan("SCAN", None, batch, "MATCH", pattern):
                parts = [_owner(owned, key.removeprefix(self._prefix)) for key in texts(keys)]
                runs = await self._reads.ask_each(
                    [("HGET", Key.EXECUTION.of(self._prefix, i), Field.RUN) for _, i, _ in parts]
                )
                orphans = [part for part, run in zip(parts, runs, strict=True) if _is_orphan(part[2], run)]
                if orphans:
                    yield orphans

    async def newer(self, batch: int) -> AsyncIterator[tuple[str, str]]:
        """What this version does not know, as (subject, detail): timers, entries that no worker has understood, and the
        kinds of records."""
        known = tuple(Timer)
        async for members in self._scan("ZSCAN", Key.TIMERS.of(self._prefix), batch):
            for member in members[::2]:
                name = member.decode(errors="replace")
                if name.startswith(Timer.ENTRY):
                    yield Key.TIMERS.of(self._prefix), f"stream entry {name[1:]}"
                elif not name.startswith(known):
                    yield Key.TIMERS.of(self._prefix), f"timer {name}"
        async for keys in self._scan("SCAN", None, batch, "MATCH", Key.RECORDS.of(_escaped(self._prefix), "*", "*")):
            cursors: dict[str, Any] = dict.fromkeys(texts(keys), 0)
            while cursors:
                commands = [("HSCAN", key, cursor, "COUNT", batch) for key, cursor in cursors.items()]
                replies = dict(zip(cursors, await self._reads.ask_each(commands), strict=True))
                # An error is a key of another type: that is another finding.
                scanned = {key: reply for key, reply in replies.items() if not isinstance(reply, Exception)}
                for key, (_, rows) in scanned.items():
                    for name in _newer_records(rows):
                        yield key, f"record {name}"
                cursors = {key: cursor for key, (cursor, _) in scanned.items() if int(cursor)}

    async def _scan(self, command: str, key: str | None, batch: int, *options: str) -> AsyncIterator[list[bytes]]:
        """The members of a key, or the keys of the partition if none is given, in batches of about this size."""
        cursor: Any = 0
        where, count = ([], KEYS_AT_ONCE) if key is None else ([key], batch)
        while True:
            ((cursor, members),) = await self._reads.ask([(command, *where, cursor, *options, "COUNT", count)])
            if key is not None and members:
                yield members  # pairs, and more of them at once if the key is small
            elif key is None:
                for start in range(0, len(members), batch):
                    yield members[start : start + batch]
            if int(cursor) == 0:
                return


def _newer_records(rows: Sequence[bytes]) -> Iterator[str]:
    """Names of records of a kind that this version does not know."""
    return (
        name.decode(errors="replace")
        for name, record in zip(rows[::2], rows[1::2], strict=True)
        if is_newer_record(record)
    )


def _owner(owned: Key, key: str) -> tuple[str, str, str]:
    """A key, the execution it belongs to, and the run, if it is of one."""
    name = key.partition(":")[2]
    if owned in _OF_AN_ID:
        return key, name, ""
    if owned in _OF_A_TIMER:
        return key, "", ""
    execution_id, _, scope = name.rpartition(":")
    if owned in _OUTLIVING_RUNS:
        return key, execution_id, ""
    return key, execution_id, scope.removesuffix("f")


def _escaped(prefix: str) -> str:
    """For MATCH, in which a namespace is no pattern."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", prefix)


def _is_orphan(of_run: str, run: bytes | Exception | None) -> bool:
    """Whether a key belongs to no run of the execution that has this field `run`."""
    if run is None:
        return True
    if isinstance(run, Exception) or not run.isdigit():
        return False  # it is damaged, which is another finding
    return of_run != "" and not (of_run.isdigit() and int(of_run) <= int(run))
