"""Ad-hoc callables (lambdas, closures, notebook functions) as bytes that only a process with the secret can load.

A sealed callable is an HMAC-SHA256 and the cloudpickle it covers. The HMAC also covers a context, such as
execution, run and step name, so that one copied to another place in Redis is refused. Declared steps are not
sealed: they travel as a name and arguments.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final

from zart_redis.errors import ConfigurationError, SerializationError, UntrustedPayload

_DOMAIN: Final = "zart-redis ad-hoc callable 1"  # signatures made for other purposes are not valid here
_MAC_BYTES: Final = 32


def seal(fn: Callable[..., Any], *, secrets: Sequence[str], context: tuple[str, ...]) -> bytes:
    """A callable as bytes, signed for this context with the first of the secrets.

    Raises ``UntrustedPayload`` if there is no secret, ``SerializationError`` if the callable cannot be
    pickled.
    """
    import cloudpickle  # type: ignore[import-untyped]  # here, as most processes never seal a callable

    key = _keys(secrets)[0]
    try:
        payload: bytes = cloudpickle.dumps(fn)
    except Exception as error:  # pickling runs code of users
        raise SerializationError(f"{fn!r} cannot be pickled: {error}. Does it use a file or a lock?") from error
    return _mac(key, context, payload) + payload


def open_sealed(data: bytes, *, secrets: Sequence[str], context: tuple[str, ...]) -> Callable[..., Any]:
    """The callable in these bytes. Nothing is loaded before the signature has been verified for the context.

    Raises ``UntrustedPayload`` if no secret matches, ``SerializationError`` if the callable cannot be loaded.
    """
    mac, payload = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if not any(hmac.compare_digest(mac, _mac(key, context, payload)) for key in _keys(secrets)):
        raise UntrustedPayload(
            "this ad-hoc callable is not signed with any secret known here, so it was not loaded. "
            "Do the client and the worker have the same ZART_SECRET?"
        )
    try:
        fn = pickle.loads(payload)  # noqa: S301 - authenticated above
    except Exception as error:  # it imports modules, which may be missing here
        raise SerializationError(f"the ad-hoc callable cannot be loaded here: {error}") from error
    if not callable(fn):
        raise SerializationError("the sealed object is not callable")
    return fn  # type: ignore[no-any-return]


def _keys(secrets: Sequence[str]) -> list[bytes]:
    if isinstance(secrets, str):  # its letters would each be a secret
        raise ConfigurationError("secrets is a list of secrets, not one text")
    keys = [secret.encode() for secret in secrets if secret]
    if not keys:
        raise UntrustedPayload("ad-hoc callables need a secret: set ZART_SECRET, or declare a @zart_step instead")
    return keys


def _mac(key: bytes, context: tuple[str, ...], payload: bytes) -> bytes:
    """Each part is hashed with its length, so that no two lists of parts have the same hash."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in (_DOMAIN.encode(), *(name.encode() for name in context), payload):
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.digest()
