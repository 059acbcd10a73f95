"""`zart history` and `zart check-replay`: code as it is now, against what running executions have recorded."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Pools, Zart
from tests.support.waiting import block_until

HANDLER = """
import zart_redis as zart

@zart.zart_step("reserve-seat")
async def reserve() -> int:
    return 1

@zart.zart_durable("replayed-trip")
async def trip(seats: int) -> int:
    reserved = await reserve()
    await zart.wait_for_event("go")
    return reserved
"""
PROGRAM = """
import sys
import zart_redis as zart
from workers.trips import trip
zart.testing.replay(trip, sys.argv[1])
"""


SECOND = HANDLER.replace("reserve-seat", "book-seat").replace('-trip"', '-trip", version=2, compatible_from=2')


def write(folder: Path, code: str) -> None:
    (folder / "workers" / "trips.py").write_text(code)


def start(zart: Zart, *ids: str) -> None:
    for execution_id in ids:
        assert zart("start", "replayed-trip", "--id", execution_id, "--data", "1").returncode == 0
        block_until(lambda i=execution_id: '"waiting"' in zart("status", i, "--json").stdout)  # type: ignore[misc]


@pytest.fixture
def running(zart: Zart, pools: Pools, folder: Path) -> None:
    """One execution that has ended, two that wait."""
    write(folder, HANDLER)
    pools()
    start(zart, "t-1", "t-2", "t-3")
    zart("event", "t-1", "go")
    assert zart("wait", "t-1", "--timeout", "15s").returncode == 0


@pytest.mark.usefixtures("running")
def test_check_replay(command: Command, folder: Path) -> None:
    check = ("zart", "check-replay", "--task", "replayed-trip")
    fits = command(*check)
    assert (fits.returncode, fits.stdout) == (0, "3 executions of task 'replayed-trip' checked, 0 do not fit\n")

    write(folder, HANDLER.replace("reserve-seat", "book-seat"))
    found = command(*check, "--app", "workers.trips")
    assert found.returncode == 1
    lines = found.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["t-3", "t-2", "t-1"]
    assert all("'reserve-seat'" in line and "'book-seat'" in line for line in lines[:-1])
    assert lines[-1] == "3 executions of task 'replayed-trip' checked, 3 do not fit"

    live = json.loads(command(*check, "--live", "--sample", "1", "--json").stdout)
    assert live["checked"] == 1
    assert [(one["execution_id"], one["run"], one["name"]) for one in live["mismatches"]] == [
        ("t-3", 1, "reserve-seat")
    ]

    write(folder, SECOND)
    other = command(*check, "--live")
    assert other.returncode == 0
    assert other.stdout == "0 executions of task 'replayed-trip' checked, 0 do not fit; 2 need a worker for version 1\n"
    both = HANDLER + SECOND.replace("def reserve", "def book").replace("await reserve", "await book").replace(
        "def trip", "def trip_2"
    )
    write(folder, both)
    assert json.loads(command(*check, "--live", "--json").stdout) == {
        "task": "replayed-trip",
        "checked": 2,
        "mismatches": [],
        "other_versions": {},
    }

    unknown = command("zart", "check-replay", "--task", "no-such-task")
    assert unknown.returncode != 0
    assert "no-such-task" in unknown.stderr


@pytest.mark.usefixtures("running")
def test_history_replays_without_redis(zart: Zart, command: Command, folder: Path) -> None:
    (folder / "h.json").write_text(zart("history", "t-2").stdout)
    (folder / "program.py").write_text(PROGRAM)
    without_redis = {"ZART_REDIS_URL": "redis://127.0.0.1:1/0"}
    replayed = command(sys.executable, "program.py", "h.json", **without_redis)
    assert replayed.returncode == 0, replayed.stderr
    write(folder, HANDLER.replace("reserve-seat", "book-seat"))
    replayed = command(sys.executable, "program.py", "h.json", **without_redis)
    assert replayed.returncode == 1
    assert "'reserve-seat' was recorded by a step; the replayed body asked for 'book-seat'" in replayed.stderr
    bare = json.loads(zart("history", "t-2", "--no-payloads", "--run", "1").stdout)
    assert bare["input"] is None
    assert [call["name"] for call in bare["body"]["calls"]] == ["reserve-seat", "go"]


@pytest.mark.usefixtures("running")
def test_stats_count_live_runs_by_version(zart: Zart, pools: Pools, folder: Path) -> None:
    assert "live runs" not in zart("stats").stdout
    write(folder, SECOND)
    pools()
    listed = json.loads(zart("workers", "--json").stdout)["workers"]
    assert zart("workers").stdout.count(" default ") == len(listed) == 2
    started = 0
    while '"2": 1' not in zart("stats", "--json").stdout:  # a worker of either version takes a new run
        started += 1
        assert started < 20
        start(zart, f"new-{started}")
    table = zart("stats").stdout.split("live runs")[1].splitlines()[1:]
    assert [line.split() for line in table] == [
        ["replayed-trip", "1", str(1 + started)],
        ["replayed-trip", "2", "1"],
    ]
