"""How often a failed attempt is made again, and after what delay. Counting the attempts is not done here."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final

from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput

_TEXT: Final = re.compile(r"(fixed|exponential)\s*\(\s*([0-9]+)\s*,\s*([^,()]+?)\s*\)")
_MAX_DOUBLINGS: Final = 50  # past any max_delay, yet a small number


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """A retry policy: up to ``retries`` further attempts after the first one.

    Made by ``none``, ``fixed`` and ``exponential``, or from text:

    >>> RetryConfig.parse("fixed(3, 1s)") == RetryConfig.fixed(3, "1s")
    True

    Errors that are instances of a type in ``no_retry`` are final at once. A delay is drawn evenly from
    between ``1 - jitter`` and 1 times its nominal length: jitter 0 is exact, 1 is "full jitter",
    ``max_delay_ms`` holds.
    """

    retries: int = 0
    base_ms: int = 0
    factor: int = 1
    """What each further delay is multiplied with: 1 or 2."""
    max_delay_ms: int = 0
    jitter: float = 0.0
    no_retry: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.retries, int) or isinstance(self.retries, bool) or self.retries < 0:
            raise InvalidInput(f"retry: the number of retries is a whole number from 0, not {self.retries!r}")
        if not isinstance(self.jitter, (int, float)) or not 0 <= self.jitter <= 1:
            raise InvalidInput(f"retry: jitter is a share from 0 to 1, not {self.jitter!r}")
        if not isinstance(self.no_retry, tuple) or not all(map(_is_error_type, self.no_retry)):
            raise InvalidInput(
                f"retry: no_retry is a tuple of exception types, as in (CardDeclined,), not {self.no_retry!r}"
            )

    @classmethod
    def none(cls, *, no_retry: tuple[type[BaseException], ...] = ()) -> RetryConfig:
        """One attempt only."""
        return cls(no_retry=no_retry)

    @classmethod
    def fixed(cls, retries: int, delay: Duration, *, no_retry: tuple[type[BaseException], ...] = ()) -> RetryConfig:
        """``retries`` further attempts, each ``delay`` after the last one failed."""
        delay_ms = to_ms(delay, what="retry delay")
        return cls(retries, delay_ms, max_delay_ms=delay_ms, no_retry=no_retry)

    @classmethod
    def exponential(
        cls,
        retries: int,
        base: Duration,
        *,
        max_delay: Duration = "1h",
        jitter: float = 0.5,
        no_retry: tuple[type[BaseException], ...] = (),
    ) -> RetryConfig:
        """``retries`` further attempts, the first after ``base``, then doubling up to ``max_delay``."""
        base_ms = to_ms(base, what="retry base delay")
        max_delay_ms = to_ms(max_delay, what="retry max_delay")
        return cls(retries, base_ms, 2, max_delay_ms, jitter, no_retry)

    @classmethod
    def parse(cls, policy: RetryConfig | str | None) -> RetryConfig:
        """A policy in any form; None is no retry. Raises ``InvalidInput`` if the text cannot be read."""
        if policy is None:
            return cls.none()
        if isinstance(policy, RetryConfig):
            return policy
        match = _TEXT.fullmatch(policy.strip()) if isinstance(policy, str) else None
        if match is None:
            raise InvalidInput(
                f"retry: cannot read {policy!r}. Use 'fixed(3, 1s)' or 'exponential(5, 2s)', or a RetryConfig"
            )
        kind, retries, delay = match.groups()
        return cls.fixed(int(retries), delay) if kind == "fixed" else cls.exponential(int(retries), delay)

    def delay_ms(self, retry: int) -> int:
        """Milliseconds to wait before retry number ``retry``, counted from 1. Drawn again at each call."""
        nominal: int = min(self.base_ms * self.factor ** min(retry - 1, _MAX_DOUBLINGS), self.max_delay_ms)
        return round(nominal * (1 - self.jitter * random.random()))

    def retryable(self, error: BaseException) -> bool:
        """Whether another attempt may help after this error."""
        return not isinstance(error, self.no_retry)


def _is_error_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
