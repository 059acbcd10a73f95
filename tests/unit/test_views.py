"""Stored state as people read it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from zart_redis.client.history import RunDetail, RunSummary, StepDetail, StepStatus
from zart_redis.client.views import execution_record, reasons, run_detail, to_json, wait_text, wait_text_until, waits_of
from zart_redis.errors import RemoteError
from zart_redis.layout import Field, Size
from zart_redis.model import (
    ExecutionRecord,
    ExecutionStatus,
    PauseRule,
    WaitDetail,
    WaitKind,
    WorkerInfo,
    from_ms,
)
from zart_redis.store.replies import Described, RunRows

DUE = datetime(2026, 11, 27, 10, tzinfo=UTC)
MS = round(DUE.timestamp() * 1000)

FIELDS: dict[str, bytes] = {
    Field.STATUS: b"waiting",
    Field.TASK: b"checkout",
    Field.QUEUE: b"default",
    Field.INPUT: b"\xc0",
    Field.RUN: b"1",
    Field.ATTEMPT: b"1",
    Field.CREATED: b"0",
}


@pytest.mark.parametrize(
    ("letter", "name", "due", "expected", "text"),
    [
        ("s", "settle", MS, WaitDetail(WaitKind.SLEEP, "settle", DUE), "sleep settle"),
        ("w", "shipped", MS, WaitDetail(WaitKind.EVENT, "shipped", DUE), "event shipped"),
        ("w", "shipped", None, WaitDetail(WaitKind.EVENT, "shipped"), "event shipped"),
        ("a", "charge", MS, WaitDetail(WaitKind.RETRY, "charge", DUE), "retry of step charge"),
        ("a", "", MS, WaitDetail(WaitKind.RETRY, "", DUE), "retry of the execution"),
        ("d", "", MS, WaitDetail(WaitKind.DELAY, "", DUE), "delayed start"),
        ("u", "", MS, WaitDetail(WaitKind.TASK, "checkout"), "a worker that knows task 'checkout'"),
        ("p", "12345678", None, WaitDetail(WaitKind.PAUSE, "12345678"), "the end of pause rule 12345678"),
        ("?", "odd", None, WaitDetail(WaitKind.UNKNOWN, "odd"), "something that this version does not know: odd"),
        ("s", "settle", 10**30, WaitDetail(WaitKind.SLEEP, "settle"), "sleep settle"),
    ],
)
def test_a_registered_wait(letter: str, name: str, due: int | None, expected: WaitDetail, text: str) -> None:
    (wait,) = waits_of(Described(FIELDS, {(letter, name): due}, {}, "", None))
    assert wait == expected
    assert wait_text(wait) == text
    assert wait_text_until(wait) == (text if expected.due_at is None else f"{text} until 2026-11-27T10:00:00Z")


def test_waits_that_are_not_registered() -> None:
    x = {**FIELDS, Field.PAUSED_BY: b"12345678", Field.PENDING_RETENTION: b"1000"}
    described = Described(x, {("s", "nap"): MS}, {"b": "", "a": "", "c": "why"}, "tenant\x1facme", 3)
    record = execution_record("e", x, waits_of(described))
    assert record.waiting_for == (
        "sleep nap",
        "step a",
        "step b",
        "held: step c: why",
        "limit tenant acme",
        "the end of pause rule 12345678",
        "scheduled steps that were not waited for",
    )
    assert [wait.due_at for wait in record.waits] == [DUE, None, None, None, None, None, None]
    assert wait_text_until(record.waits[4]) == "limit tenant acme, 3rd in line"


def record(status: str = "waiting", waits: tuple[WaitDetail, ...] = ()) -> ExecutionRecord:
    return execution_record("e", {**FIELDS, Field.STATUS: status.encode()}, waits)


def run(*steps: StepDetail) -> RunDetail:
    summary = RunSummary(1, ExecutionStatus.WAITING, 1, "start", None, from_ms(0), None, None, None)
    return RunDetail("e", "checkout", summary, None, None, (), 0, steps)


def scheduled(name: str, put_off: str | None = None) -> StepDetail:
    return StepDetail(name, name, "step", StepStatus.SCHEDULED, False, None, None, 0, (), None, put_off)


def worker(*running: str, queues: tuple[str, ...] = ("default",)) -> WorkerInfo:
    return WorkerInfo("w1", "host", 7, queues, 10, 4000, running, len(running))


def rule(**conditions: Any) -> PauseRule:
    none = {"execution_id": None, "task_name": None, "step_pattern": None, "queue": None}
    return PauseRule("r1", **{**none, **conditions}, extend_deadlines=False, created_at=from_ms(0))


def test_a_wait_says_until_when() -> None:
    waiting = record(waits=(WaitDetail(WaitKind.SLEEP, "settle", DUE),))
    assert reasons(waiting, run(), [worker()], []) == ["waits for sleep settle until 2026-11-27T10:00:00Z"]


def test_who_runs_its_work() -> None:
    steps = run(*(scheduled(f"s{n}") for n in range(3)))
    assert reasons(record(), steps, [worker("e", "e s1", "other s2")], []) == [
        "worker w1 (pid 7 on host) runs it, step s1"
    ]


def test_a_pause_rule_holds_only_what_no_worker_runs() -> None:
    steps = run(*(scheduled(f"s{n}") for n in range(9)))
    found = reasons(record(), steps, [worker("e s0")], [rule(step_pattern="s*"), rule(execution_id="other")])
    assert found == [
        "worker w1 (pid 7 on host) runs step s0",
        "pause rule r1 holds step s1, s2, s3, s4, s5, and 3 more",
    ]


def test_a_step_that_was_put_off() -> None:
    steps = run(scheduled("a", "not declared"), scheduled("b", "not declared"))
    assert reasons(record(), steps, [worker()], []) == ["a worker has postponed step a, b: not declared"]


def test_work_that_no_worker_takes() -> None:
    idle = [worker(queues=("other",))]
    assert reasons(record(), run(), idle, []) == ["no worker takes work from queue 'default'"]
    waiting = record(waits=(WaitDetail(WaitKind.EVENT, "go"),))
    assert reasons(waiting, run(), idle, []) == ["waits for event go"]
    assert reasons(waiting, run(scheduled("a")), idle, [])[1:] == ["no worker takes work from queue 'default'"]


def test_a_finished_or_an_earlier_run_has_no_reasons() -> None:
    assert reasons(record("completed"), run(), [], []) == []
    assert reasons(replace(record(), run=2), run(), [], []) == []


def test_when_unfinished_steps_are_due() -> None:
    records = {
        "nap": b"s" + str(MS).encode(),
        "shipped": b"w" + str(MS).encode(),
        "paid": b"w",
        "charge": b"a2,," + str(MS).encode(),
        "slept": b"S" + (1000).to_bytes(Size.STAMP, "big"),
    }
    detail = run_detail("e", FIELDS, {}, RunRows(records, {}, []), RunRows({}, {}, []))
    assert {step.name: (step.status, step.due_at) for step in detail.steps} == {
        "nap": (StepStatus.WAITING, DUE),
        "shipped": (StepStatus.WAITING, DUE),
        "paid": (StepStatus.WAITING, None),
        "charge": (StepStatus.RETRYING, DUE),
        "slept": (StepStatus.COMPLETED, None),
    }


def test_json() -> None:
    error = RemoteError("ValueError", "oh", "Traceback")
    found = json.loads(to_json({"error": error, "at": DUE, "bytes": b"\x00", "wait": WaitDetail(WaitKind.EVENT, "go")}))
    assert found == {
        "error": {"type": "ValueError", "message": "oh", "traceback": "Traceback"},
        "at": "2026-11-27T10:00:00Z",
        "bytes": "AA==",
        "wait": {"kind": "event", "name": "go", "due_at": None, "place": None},
    }
