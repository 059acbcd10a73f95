"""Limits, as operators see and set them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from zart_redis import names
from zart_redis.client.connection import Client
from zart_redis.errors import InvalidInput
from zart_redis.limits import check_concurrency, counter_of, rate_in_words, read_counter, stored_rate


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A limit, or one key of it, with the numbers that count now."""

    name: str
    key: str | None
    """None for the limit itself: without a key, or for the keys without a number."""
    held: int
    """How many hold a slot."""
    waiting: int
    concurrency: int | None
    rate: str | None
    """As "500/1m"."""


class Limits(Client):
    async def set_limit(
        self,
        name: str,
        *,
        key: str | None = None,
        concurrency: int | None = None,
        rate: str | None = None,
        burst: int | None = None,
    ) -> None:
        """Override the declared numbers of a limit: of one key, or of all keys without a number.

        It survives deploys, until `reset_limit`. What is not given stays as it is. A higher number lets in at once what
        waits; a lower one takes nothing away from what has begun.

        Args:
            concurrency: how many may run at a time; 0 lets nothing begin.
            rate: how many may begin in a time, as "500/1m".
            burst: how many of them may begin at once; 1 by default.

        Raises:
            InvalidInput: an argument cannot be used.
        """
        counter = _counter(name, key)
        if concurrency is None and rate is None:
            raise InvalidInput("set_limit takes a concurrency, a rate, or both")
        many = "" if concurrency is None else str(check_concurrency(concurrency, f"the concurrency of limit {name!r}"))
        often = stored_rate(rate, burst, f"limit {name!r}")
        for partition in (await self._open()).partitions:
            await partition.transitions.set_limit(name, counter, many, often)

    async def reset_limit(self, name: str, *, key: str | None = None) -> bool:
        """Remove what `set_limit` has set, of one key or of the limit itself. Returns True if anything was set."""
        counter = _counter(name, key)
        partitions = (await self._open()).partitions
        return any([await partition.transitions.set_limit(name, counter, "-", "") for partition in partitions])

    async def limits(self) -> list[LimitRecord]:
        """The limits, and those of their keys that are in use or an operator has set numbers for."""
        found: dict[str, LimitRecord] = {}
        for partition in (await self._open()).partitions:
            rows = [row async for row in partition.transitions.read_limits("numbers")]
            rows += [row async for row in partition.transitions.read_limits("counters")]
            for row in {row.counter: row for row in rows}.values():
                name, key = read_counter(row.counter)
                record = LimitRecord(name, key, row.held, row.waiting, row.concurrency, rate_in_words(row.rate))
                if (before := found.get(row.counter)) is not None:
                    held, waiting = before.held + record.held, before.waiting + record.waiting
                    record = replace(record, held=held, waiting=waiting)
                found[row.counter] = record
        return [found[counter] for counter in sorted(found)]

    async def _waiting_for_limits(self) -> Counter[str]:
        """How many wait, by the name of the limit."""
        waiting: Counter[str] = Counter()
        for partition in (await self._open()).partitions:
            rows = {row.counter: row.waiting async for row in partition.transitions.read_limits("counters")}
            for counter, number in rows.items():
                waiting[read_counter(counter)[0]] += number
        return +waiting


def _counter(name: str, key: str | None) -> str:
    names.check_name(name, "the name of a limit")
    names.check_optional(key, "the key of a limit")
    return counter_of(name, key)
