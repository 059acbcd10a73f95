"""Redis URLs: the accepted schemes, and their text without passwords. `redis_url` reads them."""

import re

REDIS_SCHEMES = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+cluster://",
    "rediss+cluster://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "valkey://",
    "valkeys://",
)

_SECRET_OPTION = re.compile(r"(?i)([?&](?:ssl_|sentinel_)?password=)[^&]*")
_CREDENTIALS = re.compile(r"(?i)^([a-z+]+:/*)([^:]*):.*@", re.DOTALL)
_SERVER = re.compile(r"(?:\[[^\]@]*\]|[^:@\[\]]*)(?::\d{0,5})?")
_URL = re.compile(rf"(?i)(?:{'|'.join(map(re.escape, REDIS_SCHEMES))})[^\s\"'<>]*[^\s\"'<>:,.;)]")


def redacted_url(url: str) -> str:
    """The URL without its passwords, for logs, errors and reprs: nothing behind the first colon of the credentials.

    Whatever cannot be read as a host and a port is taken for a password.
    """
    url = _SECRET_OPTION.sub(r"\1***", url)
    if _CREDENTIALS.match(url):  # up to the last @: the password may contain one
        return _CREDENTIALS.sub(r"\1\2:***@", url)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return f"{url.partition(':')[0]}:***" if ":" in url else url
    servers = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if scheme.lower() == "unix" or all(map(_SERVER.fullmatch, servers.split(","))):
        return url
    return f"{scheme}://{rest.partition(':')[0]}:***"


def redacted_text(text: str) -> str:
    """The text, with the passwords of the Redis URLs in it replaced."""
    return _URL.sub(lambda url: redacted_url(url[0]), text)
