"""What `zart detail` and `zart watch` tell of an execution: its timeline, and why it is no further."""

import json

from tests.cli.conftest import Pools, Zart
from tests.support.waiting import block_until


def test_names_that_look_like_markup_are_shown_as_they_are(zart: Zart, pools: Pools) -> None:
    pools()
    zart("start", "odd-names", "--id", "o-1", "--wait")
    told = zart("detail", "o-1")
    assert told.returncode == 0
    assert "[/undo]" in told.stdout


def test_tracebacks_are_shown_as_they_were_written(zart: Zart, pools: Pools) -> None:
    pools()
    zart("start", "fails", "--id", "x-1", "--data", '"oh dear"', "--wait")
    assert "Traceback" not in zart("detail", "x-1").stdout
    lines = zart("detail", "x-1", "--traceback").stdout.splitlines()
    assert "    ValueError: oh dear" in lines
    assert not [line for line in lines if "raise" in line and line.endswith(" ")]


def test_detail_tells_that_no_worker_takes_the_work(zart: Zart, pools: Pools) -> None:
    zart("start", "cli-fan", "--id", "f-1", "--data", "0", "--queue", "forgotten")
    assert "no worker takes work from queue 'forgotten'" in zart("detail", "f-1").stdout
    pools("--queue", "forgotten")
    assert zart("watch", "f-1").returncode == 0
    assert "no worker" not in zart("detail", "f-1").stdout


def test_detail_tells_who_runs_it_and_its_scheduled_steps(zart: Zart, pools: Pools) -> None:
    pid = pools().first[0]
    zart("start", "cli-naps", "--id", "n-1", "--data", "60")
    zart("start", "cli-fan", "--id", "f-1", "--data", "60")
    block_until(lambda: f"(pid {pid} on " in zart("detail", "n-1").stdout)
    assert "runs it" in zart("detail", "n-1").stdout
    block_until(lambda: "runs step nap-0, step nap-1" in zart("detail", "f-1").stdout)
    assert "waits for step nap-4\nand 3 more\n" in zart("detail", "f-1").stdout


def test_watch_follows_as_lines_of_json(zart: Zart, pools: Pools) -> None:
    pools()
    zart("start", "cli-naps", "--id", "n-1", "--data", "1")
    watched = zart("watch", "n-1", "--json")
    assert watched.returncode == 0
    statuses = [json.loads(line)["summary"]["status"] for line in watched.stdout.splitlines()]
    assert statuses[0] != statuses[-1] == "completed"
    assert len(set(watched.stdout.splitlines())) == len(statuses)


def test_detail_tells_which_rule_holds_a_scheduled_step(zart: Zart, pools: Pools) -> None:
    pools()
    rule = json.loads(zart("pause", "--step", "nap-[37]", "--json").stdout)["rule_id"]
    zart("pause", "--step", "nap-3")
    zart("start", "cli-fan", "--id", "f-1", "--data", "0")
    block_until(lambda: "holds step nap-3" in zart("detail", "f-1").stdout)
    assert rule not in zart("detail", "f-1").stdout  # a bracket stands for itself
    zart("resume", "--step", "nap-3")
    assert zart("wait", "f-1", "--timeout", "15s").returncode == 0


def test_watch_shows_the_last_steps_and_counts_the_others(zart: Zart, pools: Pools) -> None:
    pools()
    zart("start", "cli-fan", "--id", "f-1", "--data", "0", "--wait")
    watched = zart("watch", "f-1", LINES="14")
    assert "6 more steps: 6 completed" in watched.stdout
    assert "6 more" not in zart("detail", "f-1", LINES="14").stdout
