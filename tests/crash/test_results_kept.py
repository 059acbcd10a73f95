"""What a step has returned is kept while Redis takes no writes, for whatever reason, and recorded once it does."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from redis import exceptions

import zart_redis as zart
from tests.crash.conftest import Traces
from tests.crash.test_pools import StartPool, all_complete, start_innocents
from tests.crash.test_pools import pools as pools
from tests.support.servers import RedisProcess, free_port
from tests.support.waiting import SECONDS, block_until

pytestmark = pytest.mark.anyio

Refusal = Callable[[Any, Path], AbstractContextManager[None]]
USER = ("app", "on", ">secret", "~*", "&*", "+@all")
REFUSED_SECONDS = 2.5
"""Longer than the steps take."""


@contextmanager
def password_changed(raw: Any, folder: Path) -> Iterator[None]:
    raw.execute_command("ACL", "SETUSER", "app", "resetpass", ">other")
    raw.execute_command("CLIENT", "KILL", "USER", "app")
    yield
    raw.execute_command("ACL", "SETUSER", "app", ">secret")


@contextmanager
def rights_taken(raw: Any, folder: Path) -> Iterator[None]:
    raw.execute_command("ACL", "SETUSER", "app", "-@scripting")
    yield
    raw.execute_command("ACL", "SETUSER", "app", "+@all")


@contextmanager
def snapshots_fail(raw: Any, folder: Path) -> Iterator[None]:
    rmtree(folder)  # MISCONF
    with suppress(exceptions.ResponseError):
        raw.bgsave()
    block_until(lambda: raw.info("persistence")["rdb_last_bgsave_status"] == "err")
    yield
    raw.config_set("stop-writes-on-bgsave-error", "no")


@contextmanager
def replica_only(raw: Any, folder: Path) -> Iterator[None]:
    raw.replicaof("127.0.0.1", free_port())  # READONLY
    yield
    raw.replicaof("NO", "ONE")


@contextmanager
def memory_full(raw: Any, folder: Path) -> Iterator[None]:
    raw.config_set("maxmemory", "100kb")
    yield
    raw.config_set("maxmemory", "0")


@contextmanager
def busy(raw: Any, folder: Path) -> Iterator[None]:
    raw.config_set("lua-time-limit", 50)

    def keep_busy() -> None:
        with suppress(exceptions.RedisError), raw.client() as client:
            client.eval("while true do end", 0)

    thread = threading.Thread(target=keep_busy)
    thread.start()
    yield
    raw.script_kill()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the server takes its snapshots."""
    (tmp_path / "snapshots").mkdir()
    return tmp_path / "snapshots"


@pytest.fixture
def server(folder: Path) -> Iterator[RedisProcess]:
    with RedisProcess(port=free_port(), options=("--dir", str(folder), "--save", "3600 1000000")) as server:
        with server.connect() as raw:
            raw.execute_command("ACL", "SETUSER", *USER)
        yield server


@pytest.mark.parametrize("refused", [password_changed, rights_taken, snapshots_fail, replica_only, memory_full, busy])
async def test_results_are_kept_and_a_pool_ends_in_order(
    refused: Refusal, server: RedisProcess, pools: StartPool, folder: Path, traces: Traces
) -> None:
    pool = pools(url=f"redis://app:secret@127.0.0.1:{server.port}", lease="1s")
    words = ["coroutine-1", "coroutine-2", "thread-1", "thread-2"]
    async with zart.DurableScheduler(server.url) as client:
        with server.connect() as raw:
            await start_innocents(client, traces, words, 1)
            with refused(raw, folder):
                await asyncio.sleep(REFUSED_SECONDS)
            await all_complete(client, words)
            assert sorted(traces.words()) == words
            folder.mkdir(exist_ok=True)
            with refused(raw, folder):
                pool.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(pool.wait, 20) == 0


async def test_a_worker_can_be_stopped_while_it_waits_for_redis() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1") as silent:
        port = silent.sockets[0].getsockname()[1]
        worker = zart.Worker(f"redis://127.0.0.1:{port}")
        running = asyncio.create_task(worker.run())
        _, pending = await asyncio.wait([running], timeout=0.2)
        assert pending
        worker.stop()
        async with asyncio.timeout(SECONDS):
            await running
        assert not worker.ready.is_set()
        again = asyncio.create_task(zart.Worker(f"redis://127.0.0.1:{port}").run())
        await asyncio.sleep(0.2)
        again.cancel()
        with pytest.raises(asyncio.CancelledError):
            await again
