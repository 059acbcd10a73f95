"""Checks before the first work: whether the server can be trusted with it, and why it cannot be reached.

A setup that can never work raises a `ConfigurationError` with the cause and the remedy, instead of a timeout.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from redis import exceptions
from redis.asyncio import Redis, SSLConnection

from zart_redis.errors import ConfigurationError
from zart_redis.logs import get_logger
from zart_redis.redis_url import Address, Kind, RedisUrl
from zart_redis.store.redis_errors import is_forbidden

log = get_logger()

MIN_VERSION = (6, 2)
"""The Redis version that every script is written for."""
SUSPICIOUS_SECONDS = 0.8
"""How long the first contact may take before the protocol is checked: only one of the two sides may speak TLS."""
PROBE_SECONDS = 0.5


class Preflight:
    """`options` are those of a connection to the URL."""

    def __init__(self, url: RedisUrl, options: Mapping[str, Any], allow_eviction: bool) -> None:
        self._url = url
        self._options = options
        self._allow_eviction = allow_eviction

    async def run(self, check: Callable[[Preflight], Awaitable[None]]) -> None:
        """Run `check`, which connects. If it fails, or takes long, find out why.

        Raises:
            ConfigurationError: the server cannot be used.
            redis.RedisError: what `check` raises.
        """
        context = self._tls_context() if self._url.is_tls else None
        checking = asyncio.ensure_future(check(self))
        try:
            await asyncio.wait([checking], timeout=SUSPICIOUS_SECONDS)
            if not checking.done() or _is_mute(checking.exception()):
                await self._look_at_wire(context)
            await checking
        finally:
            checking.cancel()
            await asyncio.wait([checking])

    async def _look_at_wire(self, context: ssl.SSLContext | None) -> None:
        for seed in self._url.seeds:
            why = await asyncio.to_thread(_wire_problem, seed, context)
            if why is not None:
                raise ConfigurationError(f"{self._url.shown}: {why}")

    def _tls_context(self) -> ssl.SSLContext:
        """Raises ConfigurationError for files that cannot be used."""
        for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile"):
            path = self._options.get(name)
            if path is not None:
                try:
                    with suppress(IsADirectoryError), open(path, "rb"):
                        pass
                except OSError as error:
                    raise self._refusal(f"{name}={path} cannot be read: {error.strerror}") from None
        try:
            return SSLConnection(**self._options).ssl_context.get()
        except (ssl.SSLError, ValueError, OSError, exceptions.RedisError) as error:
            raise self._refusal(f"the certificate, its key or the CA file cannot be used: {error}") from None

    def _refusal(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._url.shown}: {why}")

    async def check_server(self, name: str, client: Redis) -> None:
        """Raises ConfigurationError if this server cannot be trusted with live work. Properties that the user may not
        read are not checked."""
        await client.ping()  # refused, unlike INFO, by a server that loads its data
        try:
            info: Mapping[str, Any] = await client.info()
        except exceptions.ResponseError as error:
            if not is_forbidden(error):
                raise
            log.info("the Redis user may not use INFO; version, role and eviction policy are not checked", redis=name)
            return
        self._check_kind(name, info)
        if info.get("maxmemory") and not self._allow_eviction:
            _check_eviction(name, str(info.get("maxmemory_policy", "noeviction")))

    def _check_kind(self, name: str, info: Mapping[str, Any]) -> None:
        version = str(info.get("redis_version", ""))
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < MIN_VERSION:
            raise ConfigurationError(f"{name} is Redis {version}: version 6.2 or later is needed")
        mode = info.get("redis_mode") or info.get("server_mode")  # the second is Valkey's
        if mode == "sentinel":
            raise ConfigurationError(_sentinel_at(name))
        if mode == "cluster" and self._url.kind is not Kind.CLUSTER:
            raise ConfigurationError(f"{name} is a node of a cluster: write its URL as redis+cluster://")
        if info.get("role") == "slave" and self._url.kind is Kind.SINGLE:
            master = f"{info.get('master_host')}:{info.get('master_port')}"
            raise ConfigurationError(
                f"{name} is a replica and accepts no writes: use the URL of its master, {master}, or redis+sentinel://"
            )


def _check_eviction(name: str, policy: str) -> None:
    """No key of ours has an expiry, so the policies that evict only such keys are harmless."""
    if policy == "noeviction" or policy.startswith("volatile-"):
        return
    raise ConfigurationError(
        f"{name} deletes unfinished work when its memory is full: its maxmemory-policy is {policy}. "
        "Set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in redis.conf), "
        "or accept the loss with allow_eviction=True (ZART_ALLOW_EVICTION=1)."
    )


def _sentinel_at(name: str) -> str:
    return f"{name} is a sentinel: write redis+sentinel://host:port/name-of-the-master/0"


def _is_mute(error: BaseException | None) -> bool:
    """Whether an error of the first contact may hide what is on the other side."""
    if isinstance(error, exceptions.BusyLoadingError):
        return False
    kinds = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.InvalidResponse)
    return isinstance(error, kinds) or "unknown command" in str(error).lower()


def _wire_problem(address: Address, context: ssl.SSLContext | None) -> str | None:
    """Why the URL is wrong for the server at this address; None if it is right, or if no server listens."""
    try:
        said = _say(address, b"INFO server\r\n")
    except (TimeoutError, ConnectionResetError, BrokenPipeError):
        said = b""
    except OSError:
        return None
    if said[:1] in (b"+", b"-", b"$"):  # it speaks Redis's protocol
        if b"redis_mode:sentinel" in said:
            return _sentinel_at("it")
        return None if context is None else "it speaks no TLS: write redis:// instead of rediss://"
    if context is not None:
        return _tls_problem(address, context)
    if _speaks_tls(address):
        return "it speaks TLS: write rediss:// instead of redis://"
    return "it is not a Redis server: it does not speak the protocol" if said else None


def _say(address: Address, text: bytes) -> bytes:
    with socket.create_connection(address, timeout=PROBE_SECONDS) as plain:
        plain.sendall(text)
        return plain.recv(4096)


def _speaks_tls(address: Address) -> bool:
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout=PROBE_SECONDS) as plain,
            anyone.wrap_socket(plain, server_hostname=address[0]),
        ):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it refuses the client certificate, or the version of TLS
    except OSError:
        return False


_CLOSED = "it closes TLS connections: does it demand a client certificate (ssl_certfile, ssl_keyfile)?"


def _tls_problem(address: Address, context: ssl.SSLContext) -> str | None:
    try:
        with (
            socket.create_connection(address, timeout=PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address[0]) as secure,
        ):
            secure.sendall(b"PING\r\n")
            return None if secure.recv(100) else _CLOSED  # with TLS 1.3 a refused certificate is seen only here
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is not trusted ({error.verify_message}): give the CA that signed it as "
            "ssl_ca_certs=/path/to/ca.pem, and a host name that the certificate holds"
        )
    except (ConnectionResetError, ssl.SSLEOFError):
        return _CLOSED
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        if "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason or "UNKNOWN_CA" in reason:
            return (
                f"it refuses the client certificate, or demands one ({reason}): "
                "give ssl_certfile=/path/to/client.crt and ssl_keyfile=/path/to/client.key, signed by its CA"
            )
        return f"the TLS handshake failed ({reason}): see ssl_min_version and ssl_ciphers"
    except OSError:
        return None
