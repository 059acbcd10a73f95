"""Settings: each is declared once, with its default, what it accepts and where it may come from.

Arguments take precedence over `ZART_*` variables, which take precedence over `[tool.zart]` in the `pyproject.toml` of
the current folder.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from zart_redis import redis_url
from zart_redis.durations import to_ms
from zart_redis.errors import ConfigurationError
from zart_redis.names import check_name
from zart_redis.urls import REDIS_SCHEMES, redacted_url

MAX_NAMESPACE = 128  # bytes: it begins every key
MAX_PARTITIONS = 16_384  # a cluster has no more hash slots

Parse = Callable[[Any], Any]


def _setting(
    default: Any,
    parse: Parse,
    accepts: str,
    *,
    variable: str | None = None,
    in_file: bool = True,
    show: Callable[[Any], str] = repr,
) -> Any:
    """A field of ``Settings``.

    `parse` converts a value, text or typed, and raises ValueError or TypeError if it is not what `accepts` says. `show`
    formats a value without its secrets.
    """
    how = {"parse": parse, "accepts": accepts, "variable": variable, "in_file": in_file, "show": show}
    return field(default=default, metadata=how)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _redis_url(value: Any) -> str:
    url = _text(value)
    if not url.lower().startswith(REDIS_SCHEMES):
        raise ValueError
    redis_url.read(url)
    return url


def _namespace(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode()) <= MAX_NAMESPACE:
        raise ValueError
    if not value.isprintable() or set("{}") & set(value):
        raise ValueError
    return value


def _whole(lowest: int, highest: int | None = None) -> Parse:
    def parse(value: Any) -> int:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise TypeError
        number = int(value)
        if number < lowest or (highest is not None and number > highest):
            raise ValueError
        return number

    return parse


def _duration(lowest: int) -> Parse:
    """Milliseconds. A number, also as text, counts seconds."""

    def parse(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            value = float(value)
        ms = to_ms(value)
        if ms < lowest:
            raise ValueError
        return ms

    return parse


def _flag(value: Any) -> bool:
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if isinstance(value, bool):
        return value
    try:
        return words[_text(value).lower()]
    except KeyError:
        raise ValueError from None


def _one_of(*words: str) -> Parse:
    def parse(value: Any) -> str:
        word = _text(value).lower()
        if word not in words:
            raise ValueError
        return word

    return parse


def _ack(value: Any) -> str:
    word = _text(value).lower()
    if word not in ("memory", "fsync") and not re.fullmatch(r"replicas:[1-9][0-9]?", word):
        raise ValueError
    return word


def _names(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    names = tuple(dict.fromkeys(map(_text, parts)))
    if not names:
        raise ValueError
    return names


def _queues(value: Any) -> tuple[str, ...]:
    return tuple(check_name(name, "the name of a queue") for name in _names(value))


def _secrets(value: Any) -> tuple[str, ...]:
    return () if value in ("", [], ()) else _names(value)


_A_DURATION = "a duration such as '250ms', '30s' or '7d', or a number of seconds"


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The settings of a worker, a client or a command. Durations are whole milliseconds."""

    redis_url: str | None = _setting(
        None,
        _redis_url,
        f"a URL that begins with one of {', '.join(REDIS_SCHEMES)}",
        show=lambda url: repr(url and redacted_url(str(url))),
    )
    """URL of Redis. None: the embedded server of the current folder."""

    namespace: str = _setting(
        "zart", _namespace, f"1 to {MAX_NAMESPACE} bytes of printable text without the braces {{}}"
    )
    """Separates applications that share one Redis. It is part of every key."""

    partitions: int | None = _setting(None, _whole(1, MAX_PARTITIONS), f"a whole number from 1 to {MAX_PARTITIONS}")
    """Number of hash slots that executions spread over in a cluster. Fixed when the namespace is first used. None: the
    number that the namespace has, or 1 if it is new."""

    ack: str = _setting("memory", _ack, "memory, fsync, or replicas:N with N of at least 1")
    """What a write must have reached before it is acknowledged: the server's memory, its disk, or also the memory of N
    replicas. The wait is shared by all writes of a batch."""

    max_payload: int = _setting(1024 * 1024, _whole(1), "a whole number of bytes, at least 1")
    """Maximum size of an encoded input, result, event or error."""

    max_stream: int = _setting(10_000, _whole(1), "a whole number, at least 1")
    """How many of the newest items of each stream of an execution are kept; up to twice as many for a while."""

    max_mailbox: int = _setting(10_000, _whole(1), "a whole number, at least 1")
    """How many messages may wait for an execution. Their payloads may together have 64 times `max_payload`."""

    secrets: tuple[str, ...] = _setting(
        (),
        _secrets,
        "one or more secrets, separated by commas",
        variable="ZART_SECRET",
        in_file=False,  # a file that is committed is no place for a secret
        show=lambda secrets: f"<{len(secrets)} hidden>" if isinstance(secrets, tuple) else "<hidden>",
    )
    """Keys that sign ad-hoc callables. The first one signs, all of them verify."""

    lease: int = _setting(4_000, _duration(100), f"{_A_DURATION}, at least 100ms")
    """How long a silent worker keeps its work before others take it over."""

    stall: int = _setting(600_000, _duration(1_000), f"{_A_DURATION}, at least 1s")
    """How long a worker process may give no sign of life, for instance because C code keeps the interpreter's lock,
    before its pool kills it."""

    retention: int = _setting(7 * 24 * 3_600_000, _duration(1), f"{_A_DURATION}, more than zero")
    """How long a finished execution is kept."""

    max_deliveries: int = _setting(5, _whole(1), "a whole number, at least 1")
    """How many worker processes a body or a step may kill before it is failed with `HandlerCrashed`."""

    concurrency: int = _setting(100, _whole(1), "a whole number, at least 1")
    """Maximum number of bodies and steps that one process runs at once."""

    warm: int = _setting(200, _whole(0), "a whole number")
    """Number of parked bodies that a worker process keeps in memory. They need no replay when it claims them again."""

    grace: int = _setting(30_000, _duration(0), _A_DURATION)
    """How long running steps may take to finish after SIGTERM."""

    queues: tuple[str, ...] = _setting(
        ("default",), _queues, "one or more names without control characters, separated by commas or in a list"
    )
    """Queues that a worker takes work from."""

    app: str | None = _setting(None, _text, "the name of a module or package")
    """Module or package with the handlers. None: `workers` in the current folder."""

    allow_eviction: bool = _setting(False, _flag, "true or false")
    """Start on a Redis whose eviction policy may delete unfinished work when memory is full."""

    log_level: str = _setting(
        "info",
        _one_of("debug", "info", "warning", "error", "critical"),
        "one of debug, info, warning, error and critical",
    )
    """Minimum level of log lines."""

    log_format: str = _setting("auto", _one_of("auto", "json", "console"), "one of auto, json and console")
    """Format of log lines. auto: console where stderr is a terminal, else JSON."""

    @classmethod
    def load(cls, **arguments: Any) -> Self:
        """The settings of this process. An argument that is None counts as not given.

        Raises:
            ConfigurationError: a value is invalid. The message says where it came from and what is accepted.
        """
        known = {each.name: each.metadata for each in fields(cls)}
        if unknown := arguments.keys() - known.keys():
            raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
        in_file = _tool_table(Path("pyproject.toml"), {name for name, how in known.items() if how["in_file"]})
        values = {}
        for name, how in known.items():
            variable = how["variable"] or f"ZART_{name.upper()}"
            if arguments.get(name) is not None:
                origin, given = f"argument {name}", arguments[name]
            elif variable in os.environ:
                origin, given = f"environment variable {variable}", os.environ[variable]
            elif name in in_file:
                origin, given = f"[tool.zart] {name} in pyproject.toml", in_file[name]
            else:
                continue
            try:
                values[name] = how["parse"](given)
            except ConfigurationError as error:
                raise ConfigurationError(f"{origin}: {error}") from None
            except (ValueError, TypeError):
                shown = how["show"](given)
                raise ConfigurationError(f"{origin}: {shown} is not {how['accepts']}") from None
        return cls(**values)

    @property
    def hidden(self) -> frozenset[str]:
        """Texts that no log may show: the secrets, and the passwords in the Redis URL."""
        url = None if self.redis_url is None else redis_url.read(self.redis_url)
        return frozenset(self.secrets) | (frozenset() if url is None else url.passwords)

    def __repr__(self) -> str:
        shown = (f"{each.name}={each.metadata['show'](getattr(self, each.name))}" for each in fields(self))
        return f"Settings({', '.join(shown)})"


def _tool_table(path: Path, known: set[str]) -> Mapping[str, Any]:
    """The values in `[tool.zart]` by field name. Keys may be written with dashes."""
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("zart", {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path.name}: tool.zart is not a table")
    found = {key.replace("-", "_"): value for key, value in table.items()}
    if unknown := found.keys() - known:
        raise ConfigurationError(
            f"[tool.zart] in {path.name} has no setting {', '.join(sorted(unknown))}; "
            f"it takes {', '.join(sorted(known))}"
        )
    return found
