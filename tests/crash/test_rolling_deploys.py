"""Two incompatible versions of an application, deployed forth and back under load, in real processes."""

import asyncio
import functools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import zart_redis as zart
from tests.crash import deploy_app
from tests.crash.conftest import Traces
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

Deploy = Callable[[int], subprocess.Popen[bytes]]
NAMES = {
    "pinned": {1: ["a", "b", "c", "last"], 2: ["x", "y", "last"]},
    "careless": {1: ["quote", "p", "q"], 2: ["quote", "p", "q"]},
}
LONG = "60s"


@pytest.fixture
def deploy(redis_url: str, namespace: str, scheduler: zart.DurableScheduler) -> Iterator[Deploy]:
    """Starts a pool of two processes of a version of the application."""
    pools: list[subprocess.Popen[bytes]] = []

    def start(version: int) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "zart-worker"), "--app", "tests.crash.deploy_app"]
        settings = {"ZART_REDIS_URL": redis_url, "ZART_NAMESPACE": namespace, "DEPLOYED": str(version)}
        pools.append(
            subprocess.Popen([*command, "--processes", "2"], env=os.environ | settings, stderr=subprocess.DEVNULL)
        )
        return pools[-1]

    yield start
    for pool in pools:
        pool.kill()
        pool.wait(timeout=30)


class Load:
    """Starts executions of both handlers one after the other, and offers each its event some time later."""

    def __init__(self, client: zart.DurableScheduler, folder: str) -> None:
        self._client = client
        self._folder = folder
        self.started: list[str] = []
        self.offered = 0
        self.is_over = False

    async def run(self) -> None:
        while not self.is_over:
            handler = (deploy_app.pinned, deploy_app.careless)[len(self.started) % 2]
            execution_id = f"{handler.name}-{len(self.started)}"
            await self._client.start_for(handler, execution_id, self._folder)
            self.started.append(execution_id)
            if len(self.started) - self.offered > 60:
                await self.offer()
            await asyncio.sleep(0.01)
        while self.offered < len(self.started):
            await self.offer()

    async def offer(self) -> None:
        await self._client.offer_event(self.started[self.offered], "go")
        self.offered += 1


@asynccontextmanager
async def under_load(client: zart.DurableScheduler, folder: str) -> AsyncIterator[Load]:
    load = Load(client, folder)
    task = asyncio.create_task(load.run())
    yield load
    load.is_over = True
    await task


async def stop(pool: subprocess.Popen[bytes]) -> None:
    pool.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(pool.wait, 40) == 0


def version_of(traces: Traces) -> dict[str, int]:
    """The version that ran the first step of each execution."""
    found: dict[str, int] = {}
    for word in traces.words():
        execution_id, _, version = word.split("/")
        found.setdefault(execution_id, int(version))
    return found


async def takes_new_ones(load: Load, traces: Traces, version: int) -> None:
    """Executions of both handlers that are started from now on begin on this version."""
    earlier = {*load.started}

    def began() -> bool:
        new = [id for id, by in version_of(traces).items() if by == version and id not in earlier]
        return all(sum(id.startswith(name) for id in new) >= 10 for name in NAMES)

    await until(began, 30)


async def has_begun(scheduler: zart.DurableScheduler, traces: Traces, execution_id: str) -> bool:
    """Whether it has run a step, or the first version has bound it and was stopped before it could."""
    if execution_id in version_of(traces):
        return True
    return execution_id.startswith("pinned") and (await scheduler.status(execution_id)).version == 1


async def complete(scheduler: zart.DurableScheduler, execution_ids: Iterable[str]) -> None:
    for execution_id in execution_ids:
        await scheduler.wait_completion(execution_id, LONG)


async def test_deploys_forth_and_back_lose_and_double_nothing(
    scheduler: zart.DurableScheduler, deploy: Deploy, traces: Traces
) -> None:
    pool = deploy(1)
    async with under_load(scheduler, traces.folder) as load:
        await takes_new_ones(load, traces, 1)
        for version in (2, 1, 2):
            new = deploy(version)  # beside the one that it replaces
            await takes_new_ones(load, traces, version)
            await stop(pool)
            pool = new
            await takes_new_ones(load, traces, version)
    await stop(pool)
    pool = deploy(2)  # tries at once what the first version holds
    for execution_id in load.started:
        await until(functools.partial(has_begun, scheduler, traces, execution_id))
    await complete(scheduler, (id for id, version in version_of(traces).items() if version == 2))
    await stop(pool)
    pool = deploy(1)
    await complete(scheduler, load.started)
    await stop(pool)

    for execution_id, version in version_of(traces).items():
        name, _ = execution_id.split("-")
        done = (await scheduler.status(execution_id)).output
        assert [step.split() for step in done] == [[step, str(version)] for step in NAMES[name][version]]
    effects = Counter(word.rsplit("/", 1)[0] for word in traces.words())
    assert [effect for effect, times in effects.items() if times > 1] == []
    assert await scheduler.doctor() == []
