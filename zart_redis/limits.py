"""Limits: how many runs may be live at a time, and how often one may begin, over all workers."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from zart_redis.durations import format_ms, to_ms
from zart_redis.errors import InvalidInput
from zart_redis.layout import KEY_SEPARATOR
from zart_redis.names import check_name

_RATE: Final = re.compile(r"([0-9]+)\s*/\s*(.+)")
_MAX: Final = 1_000_000_000

declared: dict[str, Limit] = {}
"""The limits of this process by name."""


class Limit:
    """A limit on what is decorated with it: `@zart_durable(limits=[...])`.

    It counts over all workers. What it holds back occupies no worker, and begins in the order in which it came.

    Args:
        name: what identifies the limit. Two limits of one name must have the same numbers.
        concurrency: how many may run at a time.
        rate: how many may begin in a time, as "500/1m".
        burst: how many of them may begin at once, after a time without any.

    Raises:
        InvalidInput: an argument cannot be used, or the process has a limit of this name with other numbers.

    Example:
        >>> openai = Limit("openai", concurrency=20, rate="500/1m", burst=50)
        >>> tenant = Limit("tenant", concurrency=2)
        >>> tenant.by("account")
        <limit 'tenant' by 'account'>
    """

    def __init__(
        self, name: str, *, concurrency: int | None = None, rate: str | None = None, burst: int | None = None
    ) -> None:
        self.name = check_name(name, "the name of a limit")
        if concurrency is None and rate is None:
            raise InvalidInput(f"limit {name!r} limits nothing: give it concurrency=, rate=, or both")
        self.concurrency = None if concurrency is None else _whole(concurrency, 1, f"the concurrency of limit {name!r}")
        self.rate = rate
        self._rate = stored_rate(rate, burst, f"limit {name!r}")
        other = declared.setdefault(self.name, self)
        if other.numbers != self.numbers:
            raise InvalidInput(
                f"limit {name!r} is declared twice with different numbers: {other.in_words}, and {self.in_words}"
            )

    def by(self, path: str) -> LimitUse:
        """This limit for each value of a field of the input, as "account" or "customer.id"; of a step, for each value
        of a parameter.

        Raises:
            InvalidInput: this cannot name a field.
        """
        parts = path.split(".") if isinstance(path, str) else [""]
        if not all(part.isidentifier() and not part.startswith("_") for part in parts):
            raise InvalidInput(
                f'limit {self.name!r}: by() takes a field, as "account" or "customer.id", not {path!r:.100}'
            )
        return LimitUse(self, path)

    @property
    def numbers(self) -> str:
        """As they are stored."""
        return f"{'' if self.concurrency is None else self.concurrency},{self._rate}"

    @property
    def in_words(self) -> str:
        return f"concurrency {self.concurrency}, rate {rate_in_words(self._rate)}"

    def __repr__(self) -> str:
        return f"<limit {self.name!r}>"


@dataclass(frozen=True, slots=True, repr=False)
class LimitUse:
    """A limit, and the field whose values are counted apart."""

    limit: Limit
    path: str | None = None

    def counter(self, root: Any) -> str:
        """What counts for an input, or for the arguments of a step by name.

        Raises:
            InvalidInput: the field is missing, None, or no text or number.
        """
        name = self.limit.name
        if self.path is None:
            return name
        value = root
        for part in self.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
        return counter_of(name, _key(value, f"limit {name!r} counts by {self.path!r}"))

    def __repr__(self) -> str:
        return f"<limit {self.limit.name!r}{f' by {self.path!r}' if self.path else ''}>"


def limit_uses(limits: Iterable[Limit | LimitUse], what: str) -> tuple[LimitUse, ...]:
    """The limits of a declaration, in order.

    Raises:
        InvalidInput: something else is among them, or one twice.
    """
    if isinstance(limits, Limit | LimitUse | str) or not isinstance(limits, Iterable):
        raise InvalidInput(f"limits= of {what} takes a list of limits, not {limits!r:.100}")
    found = [LimitUse(limit) if isinstance(limit, Limit) else limit for limit in limits]
    for use in found:
        if not isinstance(use, LimitUse):
            raise InvalidInput(f"limits= of {what} takes zart.Limit objects, not {use!r:.100}")
    if len(set(found)) < len(found):
        raise InvalidInput(f"limits= of {what} names one limit twice")
    return tuple(found)


def encode_counters(uses: Iterable[LimitUse], root: Any) -> str:
    """The counters of an input, with the numbers of their limits, as scripts take them; equal ones once.

    Raises:
        InvalidInput: as `LimitUse.counter`.
    """
    counters = {use.counter(root): use.limit.numbers for use in uses}
    return "".join(f"{counter}\n{numbers}\n" for counter, numbers in counters.items())


def counter_of(name: str, key: str | None) -> str:
    return name if key is None else f"{name}{KEY_SEPARATOR}{key}"


def read_counter(counter: str) -> tuple[str, str | None]:
    """The name of the limit, and the key."""
    name, separator, key = counter.partition(KEY_SEPARATOR)
    return name, key if separator else None


def limit_in_words(counter: str) -> str:
    return " ".join(part for part in read_counter(counter) if part is not None)


def stored_rate(rate: str | None, burst: int | None, what: str) -> str:
    """A rate as it is stored, "" for none.

    Raises:
        InvalidInput: it is malformed, or there is only a burst.
    """
    if rate is None:
        if burst is not None:
            raise InvalidInput(f"{what} has a burst and no rate")
        return ""
    match = _RATE.fullmatch(rate.strip()) if isinstance(rate, str) else None
    period = to_ms(match[2], what=f"the rate of {what}") if match else 0
    if match is None or not period or not 1 <= int(match[1][:20]) <= _MAX:
        raise InvalidInput(f'the rate of {what} is a number and a duration, as "500/1m", not {rate!r:.100}')
    return f"{int(match[1])}/{period}/{_whole(1 if burst is None else burst, 1, f'the burst of {what}')}"


def rate_in_words(stored: str) -> str | None:
    """A stored rate as users write it."""
    if not stored:
        return None
    count, period, _ = stored.split("/")
    return f"{count}/{format_ms(int(period))}"


def _whole(value: object, least: int, what: str) -> int:
    if type(value) is not int or not least <= value <= _MAX:
        raise InvalidInput(f"{what} is a whole number from {least} to {_MAX}, not {value!r:.100}")
    return value


def check_concurrency(value: object, what: str) -> int:
    """An operator's number, which may be 0. Raises InvalidInput."""
    return _whole(value, 0, what)


def _key(value: Any, what: str) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        raise InvalidInput(f"{what}, which the input lacks")
    if isinstance(value, bool):
        value = str(value).lower()
    elif not isinstance(value, str):
        if not isinstance(value, int | float | Decimal | UUID | datetime.date):
            raise InvalidInput(f"{what}, which must be text or a number, not {type(value).__name__}")
        value = str(value)
    return check_name(value, f"{what}: the value")
