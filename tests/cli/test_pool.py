"""Pools of worker processes: what happens when they are told to stop, and when they are not told."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Pools, Zart, is_alive, kill
from tests.support.waiting import block_until


def test_killed_process_is_replaced_and_its_work_goes_on(zart: Zart, pools: Pools, environment: dict[str, str]) -> None:
    environment["ZART_LEASE"] = "2m"  # so that nobody can have waited for its end
    pool = pools("--concurrency", "4", processes=2)
    zart("start", "cli-fan", "--id", "f-1", "--data", "1")
    block_until(lambda: pool.said("napping, says a library") == 8)  # each process holds four naps
    victim = pool.children()[0]
    kill(victim)
    done = zart("wait", "f-1", "--json", "--timeout", "30s")
    assert victim not in json.loads(done.stdout)["output"]
    block_until(lambda: pool.said("worker started") == 3)
    assert len(pool.children()) == 2


def test_machine_that_is_lost_is_noticed_by_its_heartbeat(zart: Zart, pools: Pools) -> None:
    lost, other = pools("--concurrency", "4"), pools("--concurrency", "4")
    zart("start", "cli-fan", "--id", "f-1", "--data", "0.5")
    block_until(lambda: lost.said("napping, says a library") and other.said("napping, says a library"))
    children = lost.children()
    for pid in [lost.process.pid, *children]:
        kill(pid)
    other_lines = other.said("napping, says a library")
    block_until(lambda: other.said("recovered the work of a dead worker"))
    block_until(lambda: other.said("napping, says a library") > other_lines)
    assert zart("wait", "f-1").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain_records_the_running_step_and_hands_the_body_back(
    zart: Zart, pools: Pools, environment: dict[str, str], number: signal.Signals
) -> None:
    environment["ZART_LEASE"] = "2m"  # so that nobody can have waited for its end
    pool = pools("--grace", "60s", processes=2)
    zart("start", "cli-naps", "--id", "n-1", "--data", "1")
    block_until(lambda: pool.said("napping, says a library"))
    for pid in [pool.process.pid, *pool.children()]:
        os.kill(pid, number)  # to all, as a terminal and a supervisor do
    assert pool.process.wait(30) == 0
    assert json.loads(zart("status", "n-1", "--json").stdout)["status"] == "running"

    other = pools()
    first, second = json.loads(zart("wait", "n-1", "--json", "--timeout", "30s").stdout)["output"]
    assert first != second
    assert [p.said("napping, says a library") for p in (pool, other)] == [1, 1]


def test_step_that_outlasts_the_grace_is_handed_back(zart: Zart, pools: Pools) -> None:
    pool = pools("--grace", "3s")
    zart("start", "blocks", "--id", "b-1", "--data", "60")
    block_until(lambda: pool.said("blocking, says a thread"))
    began = time.monotonic()
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(30) == 0
    assert time.monotonic() - began > 1
    assert json.loads(zart("status", "b-1", "--json").stdout)["status"] == "running"


def test_second_signal_ends_it_now(zart: Zart, pools: Pools) -> None:
    pool = pools("--grace", "2m")
    zart("start", "cli-naps", "--id", "n-1", "--data", "120")
    block_until(lambda: pool.said("napping, says a library"))
    children = pool.children()
    pool.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert pool.process.poll() is None
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(30) != 0
    block_until(lambda: not any(map(is_alive, children)))


def test_processes_of_a_killed_pool_drain(zart: Zart, pools: Pools) -> None:
    pool = pools(processes=2)
    zart("start", "cli-naps", "--id", "n-1", "--data", "0.5")
    block_until(lambda: pool.said("napping, says a library"))
    children = pool.children()
    pool.process.kill()
    block_until(lambda: not any(map(is_alive, children)))
    assert pool.said("worker stopped") == 2


def test_process_that_cannot_start_again_is_tried_again_with_growing_pauses(pools: Pools, folder: Path) -> None:
    pool = pools()
    (folder / "workers" / "others.py").write_text("broken = ")
    kill(pool.children()[0])
    block_until(lambda: pool.said("a worker process has ended") >= 3)
    ends = [line for line in pool.lines() if line["event"] == "a worker process has ended"]
    assert [line["again_in_seconds"] for line in ends[:3]] == [0.1, 0.2, 0.4]
    assert "others.py:1" in ends[1]["reason"]
    (folder / "workers" / "others.py").unlink()
    block_until(lambda: pool.said("worker started") == 2)


def test_app_that_is_not_there(command: Command, folder: Path) -> None:
    unknown = command("zart-worker", "--app", "shop.tasks")
    assert unknown.returncode == 6
    assert unknown.stderr.splitlines()[-1] == (
        f"error: there is no module 'shop.tasks' in {folder}: check the name of the app"
    )
    (folder / "workers" / "others.py").write_text("import nowhere_at_all")
    broken = command("zart-worker", "--processes", "3")
    assert broken.returncode == 6
    assert broken.stderr.count("error: ") == 1
    assert "No module named 'nowhere_at_all'" in broken.stderr
    assert "others.py:1" in broken.stderr
    refused = 'import zart_redis\n\n@zart_redis.zart_step("a-{nothing}")\ndef a(): ...\n'
    (folder / "workers" / "others.py").write_text(refused)
    assert "others.py:3" in command("zart-worker").stderr
    shutil.rmtree(folder / "workers")
    missing = command("zart-worker")
    assert missing.returncode == 6
    assert "there is no package or module 'workers'" in missing.stderr


def test_redis_that_is_away_at_the_start(command: Command) -> None:
    away = command("zart-worker", ZART_REDIS_URL="redis://127.0.0.1:1")
    assert away.returncode == 6
    assert away.stderr.startswith("error: Redis cannot be reached")
    assert away.stderr.count("\n") == 1


def test_embedded_server_outlives_the_processes(folder: Path, environment: dict[str, str], pools: Pools) -> None:
    del environment["ZART_REDIS_URL"]
    pool = pools()
    server = int((folder / ".zart" / "redis.pid").read_text())
    kill(pool.children()[0])
    block_until(lambda: pool.said("worker started") == 2)
    assert is_alive(server)
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(30) == 0
    assert not is_alive(server)
