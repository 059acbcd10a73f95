"""Parses Redis URLs: the servers that a URL names, and the options of the connections to them.

Errors say what is wrong without showing any part of a password, whatever the URL looks like.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from zart_redis.errors import ConfigurationError
from zart_redis.urls import REDIS_SCHEMES, redacted_url

Address = tuple[str, int]


class Kind(Enum):
    """What a URL describes."""

    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


_KINDS: Final = {"": Kind.SINGLE, "+cluster": Kind.CLUSTER, "+sentinel": Kind.SENTINEL}
_ALIASES: Final = {"valkey": "redis", "valkeys": "rediss"}
_PORTS: Final = {Kind.SINGLE: 6379, Kind.CLUSTER: 6379, Kind.SENTINEL: 26379}
_MAX_PORT: Final = 65_535
_MIN_SECRET: Final = 6

_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:\[\]@]*))(?::(\d{1,5}))?")
_UNENCODED: Final = re.compile(r"[/?#\[\]@\s\x00-\x1f\x7f]|%(?![0-9A-Fa-f]{2})")

_IGNORED: Final = {
    "socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry_on_timeout", "max_connections",
    "health_check_interval", "protocol", "decode_responses", "timeout",
}  # fmt: skip
"""Options of redis-py that this library sets itself."""


@dataclass(frozen=True, slots=True, repr=False)
class RedisUrl:
    """A URL that has been read."""

    shown: str
    """The URL without its passwords."""
    kind: Kind
    is_tls: bool
    seeds: tuple[Address, ...]
    """The servers that the URL names; none for a unix socket."""
    path: str | None
    master: str | None
    """The name of the master at the sentinels."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of redis-py, for the connections to the servers that hold the data."""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict)
    """The credentials of the sentinels."""

    @property
    def connection_options(self) -> Mapping[str, Any]:
        """`options`, if they fit the scheme.

        Raises:
            ConfigurationError: there are TLS options, and the scheme is without TLS.
        """
        for name in self.options:
            if name.startswith("ssl_") and not self.is_tls:
                raise ConfigurationError(f"Redis URL {self.shown}: {name} needs TLS: write rediss:// for redis://")
        return self.options

    @property
    def passwords(self) -> frozenset[str]:
        """The passwords in it, except those so short that they occur in other words."""
        options = [*self.options.items(), *self.sentinel_options.items()]
        return frozenset(value for name, value in options if "password" in name and len(value) >= _MIN_SECRET)

    def __repr__(self) -> str:
        return f"<Redis URL {self.shown}>"


def read(url: str) -> RedisUrl:
    """Read a URL.

    Raises:
        ConfigurationError: it cannot be read, or has an unknown option.
    """
    return _Reader(url).read()


class _Reader:
    def __init__(self, url: str) -> None:
        self._url = url
        self._shown = redacted_url(url)

    def read(self) -> RedisUrl:
        scheme, _, rest = self._url.partition("://")
        if f"{scheme.lower()}://" not in REDIS_SCHEMES:
            raise ConfigurationError(f"a Redis URL begins with one of {', '.join(REDIS_SCHEMES)}")
        base, plus, suffix = scheme.lower().partition("+")
        base = _ALIASES.get(base, base)
        kind = _KINDS[plus + suffix]
        is_unix = base == "unix"
        credentials, rest = self._credentials(rest, is_unix)
        rest, _, query = rest.partition("?")
        hosts, slash, tail = ("", "/", rest.removeprefix("/")) if is_unix else rest.partition("/")
        seeds = () if is_unix else self._seeds(hosts, kind)
        options = {**self._options(query), **credentials}
        if is_unix and not tail:
            raise self._refusal("it names no socket: unix:///path/to/redis.sock")
        master = self._path(kind, tail, options) if slash and not is_unix else None
        if kind is Kind.SENTINEL and not master:
            raise self._refusal("it does not name the master: redis+sentinel://host1,host2/mymaster/0")
        if kind is Kind.CLUSTER and options.get("db"):
            raise self._refusal("a cluster has no database but 0")
        sentinel = {
            name: options.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in options
        }
        if sentinel and kind is not Kind.SENTINEL:
            raise self._refusal(f"sentinel_{next(iter(sentinel))} is an option of redis+sentinel://")
        return RedisUrl(
            self._shown,
            kind,
            base == "rediss",
            seeds,
            unquote(f"/{tail}") if is_unix else None,
            master,
            options,
            sentinel,
        )

    def _refusal(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"Redis URL {self._shown}: {why}")

    def _credentials(self, rest: str, is_unix: bool) -> tuple[dict[str, str], str]:
        """The credentials in front of the last @, and what follows it."""
        if "@" not in rest or (is_unix and rest.startswith("/")):
            if "#" in rest:
                raise self._refusal("a # must be percent-encoded, as %23")
            return {}, rest
        text, _, rest = rest.rpartition("@")
        if _UNENCODED.search(text) or "#" in rest:
            raise self._refusal(
                "special characters in a user name or a password must be percent-encoded, as / by %2F, @ by %40, "
                "# by %23, ? by %3F and % by %25: urllib.parse.quote(password, safe='') does it"
            )
        user, colon, password = text.partition(":")
        found = {"username": unquote(user)} if user else {}
        if colon:
            found["password"] = unquote(password)
        return found, rest

    def _seeds(self, hosts: str, kind: Kind) -> tuple[Address, ...]:
        seeds = []
        for host in hosts.split(","):
            match = _HOST.fullmatch(host.strip())
            if match is None or (port := int(match[3] or _PORTS[kind])) > _MAX_PORT:
                raise self._refusal("it must name its servers as host or host:port, with a port of up to 65535")
            seeds.append((match[1] or unquote(match[2]) or "localhost", port))
        if kind is Kind.SINGLE and len(seeds) > 1:
            raise self._refusal("several servers are those of a cluster, redis+cluster://, or of redis+sentinel://")
        return tuple(seeds)

    def _path(self, kind: Kind, path: str, options: dict[str, Any]) -> str | None:
        """The name of the master. The number of the database becomes an option."""
        master = None
        if kind is Kind.SENTINEL:
            name, _, path = path.partition("/")
            master = unquote(name)
        number = path.strip("/")
        if number and "db" not in options:
            options["db"] = self._database(number)
        return master

    def _database(self, text: str) -> int:
        if not (text.isascii() and text.isdigit()):
            raise self._refusal("the database behind the / must be a number, as in redis://localhost:6379/0")
        return int(text)

    def _options(self, query: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name in _IGNORED:
                continue
            if name == "db":
                found[name] = self._database(text)
            elif name not in _OPTIONS:
                known = ", ".join(sorted(["db", *_OPTIONS]))
                raise self._refusal(f"there is no option {name!r:.100}; it takes {known}")
            else:
                parse, accepts = _OPTIONS[name]
                value = parse(text)
                if value is None:
                    raise self._refusal(f"{name} must be {accepts}")
                found[name] = value
        return found


def _text(value: str) -> str | None:
    return value or None


def _cert_reqs(value: str) -> str | None:
    word = value.lower().removeprefix("cert_")
    return word if word in ("none", "optional", "required") else None


def _flag(value: str) -> bool | None:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return words.get(value.lower())


def _tls_version(value: str) -> ssl.TLSVersion | None:
    version = value.lower().removeprefix("tls").removeprefix("v").replace("_", ".")
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}.get(version)


_A_FILE: Final = (_text, "the path of a file")
_SOME_TEXT: Final = (_text, "some text")

_OPTIONS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "username": _SOME_TEXT,
    "password": _SOME_TEXT,
    "client_name": _SOME_TEXT,
    "sentinel_username": _SOME_TEXT,
    "sentinel_password": _SOME_TEXT,
    "ssl_ca_certs": _A_FILE,
    "ssl_ca_path": (_text, "the path of a folder"),
    "ssl_ca_data": (_text, "certificates as PEM"),
    "ssl_certfile": _A_FILE,
    "ssl_keyfile": _A_FILE,
    "ssl_password": _SOME_TEXT,
    "ssl_cert_reqs": (_cert_reqs, "CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE"),
    "ssl_check_hostname": (_flag, "true or false"),
    "ssl_min_version": (_tls_version, "TLSv1_2 or TLSv1_3"),
    "ssl_ciphers": _SOME_TEXT,
}
