"""A producer process: `python -m tests.soak.producer URL HISTORY SEED FIRST STEP END SECONDS`.

Starts the orders FIRST, FIRST + STEP, ... below END, spread over SECONDS, sends their events and cancels, waits for the
results of some, and notes each answer in HISTORY. It says `sent` when it has nothing more to send.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import redis
import uvloop

import zart_redis as zart
from tests.soak.app import fulfil
from tests.soak.history import Acknowledged
from tests.soak.orders import Fate, Order, make_order

T = TypeVar("T")


class Producer:
    def __init__(self, scheduler: zart.DurableScheduler, history: BinaryIO) -> None:
        self._scheduler = scheduler
        self._history = history

    async def produce(self, seed: int, numbers: range, seconds: float) -> None:
        began = time.monotonic()
        sending: list[asyncio.Task[None]] = []
        async with asyncio.TaskGroup() as waiting:
            for position, number in enumerate(numbers):
                await asyncio.sleep(max(0.0, began + seconds * position / len(numbers) - time.monotonic()))
                order, fate = make_order(seed, number)
                sending.append(waiting.create_task(self._send(order, fate, waiting)))
            await asyncio.gather(*sending)
            print("sent", flush=True)

    async def _send(self, order: Order, fate: Fate, waiting: asyncio.TaskGroup) -> None:
        await self._start(order)
        if fate.awaited:
            waiting.create_task(self._await_result(order))
        async with asyncio.TaskGroup() as group:
            if fate.offer_after is not None:
                group.create_task(self._offer(order, fate.offer_after))
            if fate.cancel_after is not None:
                group.create_task(self._cancel(order, fate.cancel_after))

    async def _start(self, order: Order) -> None:
        try:
            await _insist(lambda: self._scheduler.start_for(fulfil, order.id, order))
        except zart.ExecutionAlreadyExists:
            pass  # by an earlier call of ours, which was never answered
        self._note("start", order, None)

    async def _offer(self, order: Order, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await _insist(lambda: self._scheduler.offer_event(order.id, "go", order.payload))
        except (zart.ExecutionFinished, zart.ExecutionNotFound):
            return  # it was cancelled, or lost
        self._note("event", order, order.payload)

    async def _cancel(self, order: Order, after: float) -> None:
        await asyncio.sleep(after)
        try:
            self._note("cancel", order, await _insist(lambda: self._scheduler.cancel(order.id)))
        except zart.ExecutionNotFound:
            return  # it was lost

    async def _await_result(self, order: Order) -> None:
        try:
            record = await _insist(lambda: self._scheduler.wait(order.id))
        except zart.ExecutionNotFound:
            return  # it was lost
        self._note("result", order, [record.status, record.output])

    def _note(self, what: str, order: Order, answer: Any) -> None:
        self._history.write(Acknowledged(what, order.id, time.time_ns() // 1_000_000, answer).line())
        self._history.flush()


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except (zart.RedisUnavailable, redis.ConnectionError):  # the latter while it has never been reached
            await asyncio.sleep(0.1)


async def main(url: str, history: str, seed: str, first: str, step: str, end: str, seconds: str) -> None:
    with Path(history).open("ab") as file:
        async with aclosing(zart.DurableScheduler(url)) as scheduler:
            numbers = range(int(first), int(end), int(step))
            await Producer(scheduler, file).produce(int(seed), numbers, float(seconds))


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
