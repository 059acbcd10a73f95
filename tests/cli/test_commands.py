"""What the commands of `zart` answer: exit codes, JSON, and one line for what went wrong."""

import json
import shlex

import pytest

from tests.cli.conftest import Command, Outcome, Pools, Zart


def error_of(outcome: Outcome) -> tuple[str, str]:
    """The code and the message of an error in JSON."""
    error = json.loads(outcome.stdout)["error"]
    return error["code"], error["message"]


def test_start_and_wait_for_the_output(zart: Zart, pools: Pools) -> None:
    pools()
    done = zart("start", "cli-naps", "--id", "n-1", "--data", "0.01", "--wait", "--json")
    assert done.stdout, done.stderr
    record = json.loads(done.stdout)
    assert done.returncode == 0
    assert record["status"] == "completed"
    assert len(record["output"]) == 2
    assert record["started_at"].endswith("Z")
    assert json.loads(zart("status", "n-1", "--json").stdout) == record

    again = zart("wait", "n-1")
    assert again.returncode == 0
    assert "completed" in again.stdout
    assert again.stderr == ""  # a spinner is for terminals


def test_every_module_of_the_package_is_loaded(zart: Zart, pools: Pools) -> None:
    pools()
    assert "from another module" in zart("start", "elsewhere", "--wait").stdout


def test_a_suggested_command_can_be_pasted(zart: Zart) -> None:
    suggested = zart("start", "waits", "--id", "it's [1]").stdout.partition("follow it with: ")[2]
    assert shlex.split(suggested) == ["zart", "wait", "it's [1]"]


def test_failure_and_cancel_exit_with_1(zart: Zart, pools: Pools) -> None:
    pools()
    failed = zart("start", "fails", "--data", '"oh dear"', "--wait", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["error"]["message"] == "oh dear"

    zart("start", "waits", "--id", "w-1")
    assert zart("cancel", "w-1").returncode == 0
    assert zart("wait", "w-1").returncode == 1
    assert zart("cancel", "w-1", "--json").returncode == 5
    late = zart("cancel", "w-1")
    assert late.returncode == 5
    assert late.stderr == "error: execution 'w-1' had ended before (cancelled); nothing was cancelled\n"


def test_wait_that_times_out_exits_with_3(zart: Zart) -> None:
    zart("start", "nobody-knows-this", "--id", "x")
    late = zart("wait", "x", "--timeout", "100ms", "--json")
    assert (late.returncode, late.stderr) == (3, "")
    assert error_of(late) == ("wait_timed_out", "execution 'x' has not ended within the timeout; it continues")


def test_events(zart: Zart, pools: Pools) -> None:
    zart("start", "waits", "--id", "w-1")
    early = zart("event", "w-1", "go", "--payload", '"now"', "--json")
    assert json.loads(early.stdout) == {"execution_id": "w-1", "event": "go", "delivery": "buffered"}
    assert zart("event", "w-1", "go", "--payload", '"later"').stdout.startswith("duplicate")
    pools()
    assert json.loads(zart("wait", "w-1", "--json").stdout)["output"] == "now"
    assert zart("event", "w-1", "go").returncode == 5  # it has ended


def test_list_and_stats(zart: Zart) -> None:
    for number in range(3):
        zart("start", "cli-naps", "--id", f"n-{number}", "--data", "0")
    first = json.loads(zart("list", "--limit", "2", "--order", "oldest", "--json").stdout)
    assert [record["execution_id"] for record in first["executions"]] == ["n-0", "n-1"]
    rest = json.loads(zart("list", "--order", "oldest", "--cursor", first["cursor"], "--json").stdout)
    assert [record["execution_id"] for record in rest["executions"]] == ["n-2"]
    assert rest["cursor"] is None
    assert json.loads(zart("stats", "--json").stdout)["by_task"] == {"cli-naps": {"scheduled": 3}}
    assert "n-2" in zart("list", "--status", "scheduled").stdout
    assert zart("list", "--status", "failed").stdout == "no executions\n"


def test_long_ids_are_shown_whole(zart: Zart, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    long = "order-" + "0123456789" * 12
    zart("start", "cli-naps", "--id", long)
    folded = [line.split()[0] for line in zart("list").stdout.splitlines()[1:]]
    assert "".join(folded) == long
    environment.pop("COLUMNS")
    monkeypatch.delenv("COLUMNS", raising=False)
    assert zart("list").stdout.splitlines()[1].split()[0] == long


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["start", "cli-naps", "--data", "{"], "--data takes JSON"),
        (["start", "cli-naps", "--delay=-1s"], "delay"),
        (["start", ""], "must not be empty"),
        (["start", "cli-naps", "--id", ""], "must not be empty"),
        (["event", "x", "go", "--payload", "go"], "--payload takes JSON"),
        (["wait", "x", "--timeout", "soon"], "not a duration"),
        (["list", "--status", "lost"], "completed"),
        (["list", "--cursor", "x"], "no cursor"),
        (["purge", "--older-than", "soon"], "--older-than"),
        (["status", "x", "--redis-url", "http://x"], "redis://"),
        (["dance"], "dance"),
    ],
)
def test_wrong_usage_exits_with_2(zart: Zart, arguments: list[str], hint: str) -> None:
    refused = zart(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert hint in refused.stderr
    assert "Traceback" not in refused.stderr


def test_recurring_executions(zart: Zart) -> None:
    start = ("recurring", "start", "nightly", "cli-naps", "--id-template", "nap-{occurrence}", "--data", "0.01")
    assert zart(*start, "--cron", "0 3 * * *", "--timezone", "Europe/Berlin").returncode == 0
    assert "0 3 * * * Europe/Berlin" in zart("recurring", "list").stdout
    assert zart("recurring", "trigger", "nightly").stdout == "started nap-0\n"
    assert zart("recurring", "trigger", "nightly").returncode == 5
    (record,) = json.loads(zart("recurring", "list", "--json").stdout)
    assert (record["live"], record["last_skip_reason"]) == (["nap-0"], "occurrence nap-0 has not ended")
    assert zart("recurring", "pause", "nightly").returncode == 0
    assert "paused" in zart("recurring", "list").stdout
    assert zart("recurring", "resume", "nightly").returncode == 0
    assert zart("recurring", "stop", "nightly").returncode == 0
    assert error_of(zart("recurring", "stop", "nightly", "--json"))[0] == "recurring_not_found"
    assert zart(*start, "--every", "1h", "--start-at", "soon").returncode == 2
    assert zart("recurring", "list").stdout == "no recurring executions\n"


def test_queues(zart: Zart) -> None:
    zart("start", "cli-naps", "--queue", "mail")
    assert "no worker" in zart("queue", "list").stdout
    assert zart("queue", "pause", "mail").returncode == 0
    assert "paused" in zart("queue", "list").stdout
    (record,) = json.loads(zart("queue", "list", "--json").stdout)
    assert (record["name"], record["depth"], record["paused"]) == ("mail", 1, True)
    assert zart("queue", "resume", "mail").returncode == 0
    assert zart("queue", "resume", "mail").returncode == 4


def test_bulk_operations_by_tag(zart: Zart) -> None:
    for number in range(3):
        zart("start", "cli-naps", "--id", f"n-{number}", "--tag", f"customer={'acme' if number else 'apex'}")
    listed = json.loads(zart("list", "--tag", "customer=acme", "--json").stdout)["executions"]
    assert {record["execution_id"] for record in listed} == {"n-1", "n-2"}
    assert "customer=acme" in zart("status", "n-1").stdout
    selected = ("bulk", "cancel", "--tag", "customer=acme")
    assert zart(*selected, "--dry-run").stdout == "2 executions selected\n"
    assert zart(*selected).returncode == 2  # without --yes
    assert json.loads(zart(*selected, "--yes", "--json").stdout) == {"done": 2, "failed": {}}
    assert json.loads(zart("stats", "--json").stdout)["by_status"] == {"cancelled": 2, "scheduled": 1}
    assert zart("bulk", "cancel", "--yes").returncode == 2
    assert zart("bulk", "retry", "--status", "failed", "--yes").stdout == "0 done, 0 failed\n"
    assert zart("list", "--tag", "customer").returncode == 2


def test_start_says_whether_it_started(zart: Zart) -> None:
    assert json.loads(zart("start", "cli-naps", "--id", "n-1", "--expires", "1h", "--json").stdout)["started"] is True
    kept = zart("start", "cli-naps", "--id", "n-1", "--if-live", "return")
    assert (kept.returncode, kept.stdout) == (0, "run 1 of n-1 was there; follow it with: zart wait n-1\n")
    replaced = zart("start", "cli-naps", "--id", "n-1", "--delay", "1m", "--if-live", "replace", "--max-delay", "5m")
    assert replaced.stdout.startswith("started n-1 (run 1)")
    assert zart("cancel", "n-1", "--reason", "out\x1b[31m of stock").returncode == 0
    assert "out\\x1b[31m of stock" in zart("status", "n-1").stdout
    assert zart("start", "cli-naps", "--id", "n-1", "--if-finished", "raise").returncode == 5


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["list", "--limit", "0"], "--limit"), (["status"], "ID"), (["dance"], "dance"), (["start", ""], "empty")],
)
def test_wrong_usage_of_a_command_with_json_is_json(command: Command, arguments: list[str], hint: str) -> None:
    refused = command("zart", *arguments, "--json")
    assert (refused.returncode, refused.stderr) == (2, "")
    code, message = error_of(refused)
    assert code == "invalid_input"
    assert hint in message


@pytest.mark.parametrize("command", ["status", "wait", "detail", "runs", "watch", "cancel", "restart", "rerun"])
def test_what_is_not_found_exits_with_4(zart: Zart, command: str) -> None:
    missing = zart(command, "nobody")
    assert missing.returncode == 4
    assert (
        missing.stderr
        == "error: there is no execution 'nobody': it was never started in this namespace, or it has expired\n"
    )

    assert error_of(zart(command, "nobody", "--json"))[0] == "execution_not_found"


def test_what_is_refused_exits_with_5(zart: Zart) -> None:
    zart("start", "cli-naps", "--id", "n-1")
    twice = zart("start", "cli-naps", "--id", "n-1")
    assert (twice.returncode, twice.stdout) == (5, "")
    assert "exists already" in twice.stderr
    assert error_of(zart("start", "cli-naps", "--id", "n-1", "--json"))[0] == "execution_already_exists"


def test_redis_that_is_away(command: Command) -> None:
    away = command("zart", "status", "x", ZART_REDIS_URL="redis://ann:hush@127.0.0.1:1")
    assert away.returncode == 6
    assert away.stderr.startswith("error: Redis cannot be reached")
    assert away.stderr.count("\n") == 1
    assert "hush" not in away.stderr
    in_json = command("zart", "status", "x", "--json", ZART_REDIS_URL="redis://ann:hush@127.0.0.1:1")
    assert (in_json.returncode, error_of(in_json)[0]) == (6, "redis_unavailable")
    assert "hush" not in in_json.stdout
