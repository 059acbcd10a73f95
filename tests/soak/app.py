"""The handler that the soak runs. Each run of a step's code makes a new token and leaves a trace with it, so that a
second run, a second result and a result made from another one than is recorded can all be seen afterwards."""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
import time
from dataclasses import dataclass

import zart_redis as zart
from tests.soak.history import Trace
from tests.soak.orders import LINKS, Order
from zart_redis import StepCall, zart_durable, zart_step

GRIP_SECONDS = 3.0
VERSION = int(os.environ.get("SOAK_VERSION", "1"))
"""Of the code that this process runs. No version continues the runs of the other."""
_traces = -1

if "SOAK_TRACES" in os.environ:  # in a worker: all append to one file
    _traces = os.open(os.environ["SOAK_TRACES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@dataclass(frozen=True, slots=True)
class Receipt:
    tokens: dict[str, str]
    """By the names of the steps that gave them."""
    event: str | None


def leave_trace(after: str | None) -> str:
    info, token = zart.context(), secrets.token_hex(6)
    assert info.step is not None
    began = time.time_ns() // 1_000_000
    trace = Trace(os.getpid(), began, info.execution_id, info.run, info.step, info.current_attempt + 1, token, after)
    os.write(_traces, trace.line())
    return token


async def _work(after: str | None, ms: int, fail: bool) -> str:
    token = leave_trace(after)
    await asyncio.sleep(ms / 1000)
    if fail and not zart.context().is_retry():
        raise ConnectionError("at the first attempt")
    return token


@zart_step("link-{number}", retry="fixed(2, 20ms)")
async def link(number: int, after: str | None, ms: int, fail: bool) -> str:
    return await _work(after, ms, fail)


@zart_step("link-1")
async def die() -> str:
    leave_trace(None)
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@zart_step("link-2")
def grip(after: str) -> str:
    token = leave_trace(after)
    ctypes.PyDLL(None).usleep(int(GRIP_SECONDS * 1e6))  # C code that keeps the interpreter's lock
    return token


@zart_step("part-{number}", retry="fixed(2, 20ms)")
async def part(number: int, after: str, fail: bool) -> str:
    return await _work(after, 2, fail)


def _link(order: Order, number: int, last: str | None) -> StepCall[str]:
    if order.poison:
        return die()
    if order.grip and number == 2 and last is not None:
        return grip(last)
    return link(number, last, order.link_ms, order.flaky and number == 4)


@zart_durable("soak-order", version=VERSION, compatible_from=VERSION)
async def fulfil(order: Order) -> Receipt:
    tokens: dict[str, str] = {}
    parts: list[zart.StepHandle[str]] = []
    last, event = None, None
    for number in range(1, LINKS + 1):
        last = tokens[f"link-{number}"] = await _link(order, number, last)
        if number == 1 and order.nap_ms:
            await zart.sleep("nap", order.nap_ms / 1000)
        elif number == 2:
            parts = [zart.schedule(part(n, last, order.flaky)) for n in range(order.parts)]
        elif number == 3:
            results = await zart.wait(parts)
            tokens |= {handle.name: result.unwrap() for handle, result in zip(parts, results, strict=True)}
            event = await zart.wait_for_event("go", type=str) if order.event else None
    return Receipt(tokens, event)
