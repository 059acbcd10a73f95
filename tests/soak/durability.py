"""What each level of `ack` costs, and what is lost of what it has acknowledged when Redis dies: measured.

A start is acknowledged to the client that asks for it, a result to the worker that writes it. The client that waits for
a result reads it, which confirms nothing, and may see it before any replica has it.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

import zart_redis as zart
from tests.soak.app import Receipt, fulfil
from tests.soak.orders import Order
from tests.soak.processes import WorkerPool
from tests.soak.topologies import Death, server_setup
from tests.support.servers import RedisProcess
from zart_redis.handlers import definition_of

CALLERS = 50
"""At a time, of each kind: those that start what is not due yet, and those that start and await a result."""
READING_SECONDS = 0.05
"""How long clients may read what Redis had answered when it died."""


class Case(NamedTuple):
    death: Death
    appendfsync: str
    ack: str


CASES = (
    Case(Death.KILL, "everysec", "memory"),
    Case(Death.KILL, "everysec", "fsync"),
    Case(Death.POWER_CUT, "everysec", "memory"),
    Case(Death.KILL, "always", "memory"),
    Case(Death.KILL, "always", "fsync"),
    Case(Death.FAILOVER, "everysec", "memory"),
    Case(Death.FAILOVER, "everysec", "replicas:1"),
    Case(Death.FAILOVER, "always", "fsync"),
    Case(Death.FAILOVER, "always", "replicas:1"),
)
"""A power cut is staged only where it may cost anything: what is fsynced stays."""


class Answer(NamedTuple):
    """That an execution was started, or what came of it."""

    at: float
    id: str
    receipt: Receipt | None


@dataclass
class Figures:
    """Of one case, over all rounds."""

    seconds: float = 0.0
    given: Counter[str] = field(default_factory=Counter)
    """Answers, by what was acknowledged: a start or a result."""
    lost: Counter[str] = field(default_factory=Counter)
    oldest: float = 0.0
    """How many seconds before the death the oldest lost answer came."""
    refused: bool = False
    """The server cannot give this `ack`."""

    @property
    def rate(self) -> float:
        return self.given.total() / self.seconds if self.seconds else 0.0

    def add(self, answers: Sequence[Answer], lost: Sequence[Answer], seconds: float, died: float) -> None:
        self.seconds += seconds
        self.given.update(_kind(answer) for answer in answers)
        self.lost.update(_kind(answer) for answer in lost)
        self.oldest = max([self.oldest, *(died - answer.at for answer in lost)])


def _kind(answer: Answer) -> str:
    return "start" if answer.receipt is None else "result"


async def measure(
    binary: Path, rounds: int, seconds: float, say: Callable[[str], None], cases: Sequence[Case] = CASES
) -> dict[Case, Figures]:
    """All cases in each round, so that a busy moment of the machine meets them alike."""
    found = {case: Figures() for case in cases}
    for number, (case, figures) in itertools.product(range(rounds), found.items()):
        say(f"round {number + 1}: {', '.join(case)}")
        folder = Path(tempfile.mkdtemp(prefix="zart-soak-"))
        try:
            await _die_once(case, figures, binary, seconds, folder)
        except zart.ConfigurationError:
            figures.refused = True
        finally:
            shutil.rmtree(folder)
    return found


async def _die_once(case: Case, figures: Figures, binary: Path, seconds: float, folder: Path) -> None:
    async with server_setup(case.death, case.appendfsync, binary) as setup:
        url = setup.primary.url
        async with zart.DurableScheduler(url, ack=case.ack) as scheduler:
            pool = WorkerPool(url, folder, case.ack)
            await pool.start()
            await scheduler.start_and_wait_for(fulfil, "warm-up", _order(0), "30s")
            load = _Load(scheduler)
            began = time.time()
            callers = [asyncio.create_task(call()) for call in (load.start, load.finish) for _ in range(CALLERS)]
            await asyncio.sleep(seconds)
            died = time.time()
            dying = asyncio.create_task(setup.die())
            await asyncio.sleep(READING_SECONDS)
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
            await pool.close()
            figures.add(load.answers, _lost(await dying, load.answers), died - began, died)


class _Load:
    """Callers that go on until they are cancelled, and what was acknowledged to them."""

    def __init__(self, scheduler: zart.DurableScheduler) -> None:
        self.answers: list[Answer] = []
        self._scheduler = scheduler
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        while True:
            await self._start("1h")

    async def finish(self) -> None:
        while True:
            id = await self._start(None)
            receipt = await self._scheduler.wait_for(fulfil, id)
            self.answers.append(Answer(time.time(), id, receipt))

    async def _start(self, delay: str | None) -> str:
        order = _order(next(self._numbers))
        await self._scheduler.start_for(fulfil, order.id, order, delay=delay)
        self.answers.append(Answer(time.time(), order.id, None))
        return order.id


def _order(number: int) -> Order:
    return Order(number, link_ms=0, parts=0, nap_ms=0, event=False, flaky=False)


def _lost(server: RedisProcess, answers: Sequence[Answer]) -> list[Answer]:
    """Those that this server knows nothing of, or otherwise."""
    output = definition_of(fulfil).output
    with server.connect() as client:
        pipeline = client.pipeline(transaction=False)
        for answer in answers:
            pipeline.hmget(f"{{zart:0}}:x:{answer.id}", "status", "output")
        found = pipeline.execute()
    return [
        answer
        for answer, (status, data) in zip(answers, found, strict=True)
        if status is None or (answer.receipt and (data is None or output.decode(data, "") != answer.receipt))
    ]


def as_table(found: dict[Case, Figures], title: str) -> Table:
    columns = ("how Redis dies", "appendfsync", "ack", "answers/s", "of memory", "starts lost", "results lost")
    caption = "refused: `ack=fsync` needs appendfsync always"
    table = Table(*columns, "oldest loss", title=title, title_justify="left", caption=caption)
    for case, figures in found.items():
        if figures.refused:
            table.add_row(*case, "refused")
            continue
        base = found.get(case._replace(ack="memory"))
        ratio = f"{figures.rate / base.rate:.2f}" if base else ""
        losses = (f"{figures.lost[kind]} of {figures.given[kind]}" for kind in ("start", "result"))
        oldest = f"{figures.oldest * 1000:.0f} ms" if figures.lost else ""
        table.add_row(*case, f"{figures.rate:.0f}", ratio, *losses, oldest)
    return table
