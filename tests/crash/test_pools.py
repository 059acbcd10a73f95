"""Pools of worker processes: who is failed, who runs twice, and for what."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis

import zart_redis as zart
from tests.crash import pool_app
from tests.crash.conftest import Traces
from tests.support.servers import RedisProcess
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

StartPool = Callable[..., subprocess.Popen[bytes]]
LONG = "60s"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    """A server of their own: they freeze it."""
    with RedisProcess() as server:
        yield server


@pytest.fixture
async def client(server: RedisProcess) -> AsyncIterator[zart.DurableScheduler]:
    with server.connect() as raw:
        raw.flushall()
    async with zart.DurableScheduler(server.url) as client:
        yield client


@pytest.fixture
def pools(server: RedisProcess) -> Iterator[StartPool]:
    """Starts pools, each a process group of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(processes: int = 2, url: str = server.url, **settings: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "zart-worker"), "--app", "tests.crash.pool_app"]
        variables = {f"ZART_{name.upper()}": value for name, value in settings.items()}
        environment = os.environ | {"ZART_REDIS_URL": url, "ZART_GRACE": "2s"} | variables
        command += ["--processes", str(processes)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True))
        return started[-1]

    yield start
    for pool in started:
        for number in (signal.SIGCONT, signal.SIGTERM):
            if pool.poll() is None:
                os.killpg(pool.pid, number)
        pool.wait(timeout=30)


async def start_innocents(client: zart.DurableScheduler, traces: Traces, words: list[str], seconds: float) -> None:
    for word in words:
        await client.start_for(pool_app.innocent, word, (traces.folder, word, seconds))
    await until(lambda: len(traces.words()) == len(words))


async def all_complete(client: zart.DurableScheduler, words: list[str]) -> None:
    for word in words:
        assert await client.wait_for(pool_app.innocent, word, LONG) == word


async def test_poisons_are_failed_and_their_neighbours_complete(
    client: zart.DurableScheduler, pools: StartPool, traces: Traces
) -> None:
    pools(max_deliveries="2")
    words = [f"innocent-{number}" for number in range(12)]
    await start_innocents(client, traces, words, 2)
    await client.start_for(pool_app.poison, "exits", (traces.folder, "exit-0"))
    await client.start_for(pool_app.poison_in_step, "faults", (traces.folder, "segv"))
    await all_complete(client, words)
    with pytest.raises(zart.ExecutionFailed) as raised:
        await client.wait_for(pool_app.poison, "exits", LONG)
    error = raised.value.error
    assert isinstance(error, zart.HandlerCrashed)
    assert (error.deliveries, error.deaths.count("exit code 0 (pid ")) == (2, 2)
    told = await client.wait_for(pool_app.poison_in_step, "faults", LONG)
    assert told.count("signal SIGSEGV (pid ") == 2
    # One death makes each a suspect; two more count.
    assert [Counter(traces.words())[kind] for kind in ("exit-0", "segv")] == [3, 3]


async def test_a_body_that_is_killed_again_and_again_from_outside_is_failed(
    client: zart.DurableScheduler, pools: StartPool, traces: Traces
) -> None:
    pools(max_deliveries="1")
    await client.start_for(pool_app.poison, "killed", (traces.folder, "sigkill"))
    with pytest.raises(zart.ExecutionFailed, match="signal SIGKILL"):
        await client.wait_for(pool_app.poison, "killed", LONG)
    assert traces.words() == ["sigkill"] * 3  # the first one is blamed on nothing, the second makes it a suspect


async def test_the_work_of_a_killed_process_resumes_before_its_lease_ends(
    client: zart.DurableScheduler, pools: StartPool, traces: Traces
) -> None:
    pools(lease="10m")
    await start_innocents(client, traces, ["one"], 0.5)
    ((_, pid),) = [line.split() for line in Path(traces.folder, "effects").read_text().splitlines()]
    os.kill(int(pid), signal.SIGKILL)
    await all_complete(client, ["one"])
    assert traces.words() == ["one", "one"]


async def test_code_that_keeps_the_interpreter_for_several_leases_is_run_once(
    client: zart.DurableScheduler, pools: StartPool, traces: Traces
) -> None:
    pools(lease="500ms")
    await start_innocents(client, traces, ["beside-1", "beside-2"], 4)
    await client.start_for(pool_app.gripping, "grip", (traces.folder, 3.0))
    assert await client.wait_for(pool_app.gripping, "grip", LONG) == "let go"
    await all_complete(client, ["beside-1", "beside-2"])
    assert set(Counter(traces.words()).values()) == {1}


async def test_code_that_gives_no_sign_of_life_for_too_long_is_a_death(
    client: zart.DurableScheduler, pools: StartPool, traces: Traces
) -> None:
    pools(lease="400ms", stall="1s", max_deliveries="1")
    await client.start_for(pool_app.gripping, "grip", (traces.folder, 60.0))
    with pytest.raises(zart.ExecutionFailed, match="without a sign of life for 1 s"):
        await client.wait_for(pool_app.gripping, "grip", LONG)


async def test_a_redis_that_is_away_again_and_again_fails_nobody_and_repeats_nothing(
    client: zart.DurableScheduler, pools: StartPool, server: RedisProcess, traces: Traces
) -> None:
    pools(lease="1s", max_deliveries="1")
    pools(processes=1, lease="1s", max_deliveries="1")
    words = [*(f"innocent-{number}" for number in range(6)), *(f"thread-{number}" for number in range(2))]
    await start_innocents(client, traces, words, 11)
    for _ in range(6):
        server.freeze()
        await asyncio.sleep(1.5)
        server.unfreeze()
        await asyncio.sleep(0.4)
    await all_complete(client, words)
    assert Counter(traces.words()) == Counter(words)


async def test_a_redis_that_is_busy_with_a_script_for_several_leases_repeats_nothing(
    client: zart.DurableScheduler, pools: StartPool, server: RedisProcess, traces: Traces
) -> None:
    pools(lease="500ms")
    await start_innocents(client, traces, ["one", "two"], 4)
    with server.connect() as raw, server.connect() as killer:
        raw.config_set("lua-time-limit", 100)
        spinning = asyncio.create_task(asyncio.to_thread(spin, raw))
        await asyncio.sleep(2)
        killer.script_kill()
        await spinning
    await all_complete(client, ["one", "two"])
    assert Counter(traces.words()) == Counter(["one", "two"])


def spin(raw: redis.Redis) -> None:
    with pytest.raises(redis.ResponseError, match="killed by user"):
        raw.eval("while true do end", 0)


async def test_pools_that_are_stopped_in_turn_and_come_back_are_not_convicted(
    client: zart.DurableScheduler, pools: StartPool, traces: Traces
) -> None:
    by_group = {pool.pid: pool for pool in (pools(1, lease="500ms", max_deliveries="1") for _ in range(2))}
    await start_innocents(client, traces, ["long"], 1.5)
    for turn in range(1, 4):
        group = os.getpgid(int(Path(traces.folder, "effects").read_text().splitlines()[turn - 1].split()[1]))
        os.killpg(group, signal.SIGSTOP)
        await until(lambda turn=turn: len(traces.words()) > turn)  # type: ignore[misc]
        os.killpg(group, signal.SIGCONT)
        await asyncio.sleep(0.1)
        assert group in by_group
    await all_complete(client, ["long"])


@pytest.mark.parametrize("how", ["dead", "frozen"])
async def test_a_pool_whose_redis_is_away_ends_in_order(pools: StartPool, traces: Traces, how: str) -> None:
    with RedisProcess() as own:
        pool = pools(1, url=own.url)
        async with zart.DurableScheduler(own.url) as client:
            await start_innocents(client, traces, ["long"], 60)
        if how == "dead":
            own.kill9()
        else:
            own.freeze()
        await asyncio.sleep(0.5)
        pool.terminate()
        assert await asyncio.to_thread(pool.wait, 20) == 0  # it would be 1 if a process had to be killed
        if how == "frozen":
            own.unfreeze()
