"""Service health: checks many URLs at once, on all workers; some may fail without the others noticing.

zart start check-health --data '["https://www.python.org", "https://redis.io", "http://localhost:1"]' --wait
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import zart_redis as zart


@dataclass
class Health:
    """What a check of all services found: milliseconds by URL that responded, reasons by URL that did not."""

    up: dict[str, int]
    down: dict[str, str]


class Unhealthy(Exception):
    """The service responds, but with an error."""


@zart.zart_step("check {url}", retry="fixed(1, 500ms)", timeout="15s")
def check(url: str) -> int:
    """How many milliseconds the response took. A plain def: it runs in a thread, where it may block."""
    if not url.startswith(("http://", "https://")):
        raise Unhealthy("only http and https can be checked")
    began = time.perf_counter()
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 checked above
    except urllib.error.HTTPError as error:
        error.close()
        raise Unhealthy(f"status {error.code}") from None
    return round((time.perf_counter() - began) * 1000)


@zart.zart_durable("check-health", timeout="5m")
async def check_health(urls: list[str]) -> Health:
    """Fan out, and gather what came back."""
    urls = list(dict.fromkeys(urls))
    results = await zart.wait([zart.schedule(check(url)) for url in urls])
    health = Health({}, {})
    for url, result in zip(urls, results, strict=True):
        match result:
            case zart.Ok(ms):
                health.up[url] = ms
            case zart.Err(error):
                health.down[url] = str(error.own_error)
    return health
