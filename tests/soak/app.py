"""The handler that the soak runs. Each run of a step's code makes a new token and leaves a trace with it, so that a
second run, a second result and a result made from another one than is recorded can all be seen afterwards."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import zart_redis as zart
from tests.soak.history import Trace
from tests.soak.orders import LINKS, Order
from zart_redis import zart_durable, zart_step

_traces = -1


def leave_traces_in(path: Path) -> None:
    """In a file that all workers append to."""
    global _traces
    _traces = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@dataclass(frozen=True, slots=True)
class Receipt:
    tokens: dict[str, str]
    """By the names of the steps that gave them."""
    event: str | None


async def _work(after: str | None, ms: int, fail: bool) -> str:
    info, token = zart.context(), secrets.token_hex(6)
    assert info.step is not None
    began = time.time_ns() // 1_000_000
    trace = Trace(os.getpid(), began, info.execution_id, info.run, info.step, info.current_attempt + 1, token, after)
    os.write(_traces, trace.line())
    await asyncio.sleep(ms / 1000)
    if fail and not info.is_retry():
        raise ConnectionError("at the first attempt")
    return token


@zart_step("link-{number}", retry="fixed(2, 20ms)")
async def link(number: int, after: str | None, ms: int, fail: bool) -> str:
    return await _work(after, ms, fail)


@zart_step("part-{number}", retry="fixed(2, 20ms)")
async def part(number: int, after: str, fail: bool) -> str:
    return await _work(after, 2, fail)


@zart_durable("soak-order")
async def fulfil(order: Order) -> Receipt:
    tokens: dict[str, str] = {}
    parts: list[zart.StepHandle[str]] = []
    last, event = None, None
    for number in range(1, LINKS + 1):
        last = tokens[f"link-{number}"] = await link(number, last, order.link_ms, order.flaky and number == 4)
        if number == 1 and order.nap_ms:
            await zart.sleep("nap", order.nap_ms / 1000)
        elif number == 2:
            parts = [zart.schedule(part(n, last, order.flaky)) for n in range(order.parts)]
        elif number == 3:
            results = await zart.wait(parts)
            tokens |= {handle.name: result.unwrap() for handle, result in zip(parts, results, strict=True)}
            event = await zart.wait_for_event("go", type=str) if order.event else None
    return Receipt(tokens, event)
