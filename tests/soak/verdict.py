"""The verdict: the recorded history held against what Redis holds when everything has ended, check by check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from tests.soak.evidence import Evidence, Final
from tests.soak.history import Acknowledged, Trace
from zart_redis.codec import codec_for
from zart_redis.engine import journal

LOST_AT_MOST_MS = 2_000
"""How far before the death of a Redis that fsyncs each second what it loses may lie: a second, and about as long as
that fsync may last before Redis stops answering."""
_EXAMPLES = 5
_STR = codec_for(str)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    looked_at: int
    wrong: Sequence[str]
    remark: str = ""


def as_table(checks: Sequence[Check], title: str) -> Table:
    table = Table("check", "looked at", "wrong", "", title=title, title_justify="left")
    for check in checks:
        color = "red" if check.wrong else "green"
        table.add_row(check.name, str(check.looked_at), f"[{color}]{len(check.wrong)}[/]", check.remark)
    return table


def examples(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        for wrong in check.wrong[:_EXAMPLES]:
            yield f"{check.name}: {wrong}"


def judge(evidence: Evidence, *, may_lose: bool) -> list[Check]:
    """The checks of what was acknowledged and recorded. `may_lose`: this Redis does not fsync before it answers."""
    executions = evidence.executions
    recorded = sum(len(final.records) for final in executions.values())
    cancelled = [final for final in executions.values() if final.status == "cancelled"]
    return [
        _kept(evidence, "start", "acknowledged starts are there", may_lose),
        _kept(evidence, "event", "acknowledged events are there", may_lose),
        _kept(evidence, "cancel", "acknowledged cancels stand", may_lose),
        _kept(evidence, "result", "results that were seen stand", may_lose),
        Check("every execution has ended as it should", len(executions), list(_ended_badly(evidence))),
        Check("outputs hold what is recorded", len(executions), list(_wrong_outputs(evidence))),
        Check("a result was made by its step, from the one before", recorded, list(_unfounded(evidence))),
        Check("what is recorded does not run again", len(evidence.traces), list(_ran_again(evidence))),
        Check("no step begins twice without a death", len(evidence.traces), list(_begun_twice(evidence, may_lose))),
        Check("nothing is recorded after a cancel", len(cancelled), list(_after_cancel(evidence))),
    ]


def repeats(evidence: Evidence) -> str:
    """How often code ran more than once for an attempt, which is allowed between its run and its record."""
    times = Counter((t.id, t.run, t.step, t.attempt) for t in evidence.traces)
    return f"step code ran {times.total()} times, {times.total() - len(times)} of them once more for the same attempt"


# ---- what was acknowledged ----


def _kept(evidence: Evidence, what: str, name: str, may_lose: bool) -> Check:
    given = [answer for answer in evidence.acknowledged if answer.what == what and answer.answer is not False]
    lost = [(answer, _age(answer, evidence)) for answer in given if not _stands(answer, evidence)]
    ages = [age for _, age in lost if age is not None]
    wrong = [
        f"that of {answer.id}, {age} ms before Redis died"
        for answer, age in lost
        if not may_lose or age is None or age > LOST_AT_MOST_MS
    ]
    oldest = f", the oldest {max(ages)} ms before Redis died" if ages else ""
    return Check(name, len(given), wrong, f"{len(lost)} lost{oldest}" if lost or may_lose else "")


def _stands(answer: Acknowledged, evidence: Evidence) -> bool:
    final = evidence.executions.get(answer.id)
    if final is None:
        return False
    if answer.what == "event":
        payload = b"" if final.event is None else journal.event_payload(final.event)
        return payload == _STR.encode(answer.answer, "an event")
    if answer.what == "cancel":
        return final.status == "cancelled"
    if answer.what == "result":
        status, output = answer.answer
        return bool(final.status == status and output == (final.receipt and asdict(final.receipt)))
    return True


def _age(answer: Acknowledged, evidence: Evidence) -> int | None:
    """How many ms before the next death of Redis. An answer may be read a little after it."""
    ages = [death - answer.at for death in evidence.redis_deaths if death > answer.at - 1_000]
    return max(0, min(ages)) if ages else None


# ---- what was recorded ----


def _ended_badly(evidence: Evidence) -> Iterator[str]:
    cancels = {answer.id for answer in evidence.acknowledged if answer.what == "cancel" and answer.answer}
    for id, final in evidence.executions.items():
        crashed = final.order.poison and final.status == "failed" and "HandlerCrashed" in final.error
        wanted = crashed if final.order.poison else final.status == "completed"
        if not wanted and not (final.status == "cancelled" and id in cancels):
            yield f"{id} is {final.status} {final.error}"


def _wrong_outputs(evidence: Evidence) -> Iterator[str]:
    for id, final in evidence.executions.items():
        if final.status != "completed":
            continue
        recorded = {step: token for step in final.order.steps() if (token := _token(final, step)) is not None}
        event = final.order.payload if final.order.event else None
        if final.receipt is None or len(recorded) != len(final.order.steps()):
            yield f"{id} has ended, and recorded only {sorted(recorded)}"
        elif final.receipt.tokens != recorded or final.receipt.event != event:
            yield f"{id} gave {final.receipt} and recorded {recorded}"


def _unfounded(evidence: Evidence) -> Iterator[str]:
    made = {(trace.id, trace.run, trace.step, trace.token, trace.after) for trace in evidence.traces}
    for id, final in evidence.executions.items():
        for step, before in final.order.steps().items():
            token, after = _token(final, step), _token(final, before) if before else None
            if token is not None and (id, 1, step, token, after) not in made:
                yield f"{step} of {id} is recorded as {token}, and was not made so from {after}"


def _ran_again(evidence: Evidence) -> Iterator[str]:
    for trace in evidence.traces:
        final = evidence.executions.get(trace.id)
        record = final.records.get(trace.step, b"") if final else b""
        late = trace.began - journal.stamp_of(record).at if journal.is_final_step(record) else 0
        if late > 0 and trace.pid not in evidence.were_frozen:
            yield f"{trace.step} of {trace.id} ran in {trace.pid}, {late} ms after its result was recorded"


def _begun_twice(evidence: Evidence, may_lose: bool) -> Iterator[str]:
    """A step of a process that lives is not begun elsewhere. A Redis that may lose may forget that it was."""
    first: dict[tuple[str, int, str, int], Trace] = {}
    poisons = {id for id, final in evidence.executions.items() if final.order.poison}
    died = {trace.pid for trace in evidence.traces if trace.id in poisons} | evidence.excused
    for trace in sorted(evidence.traces, key=lambda trace: trace.began):
        attempt = (trace.id, trace.run, trace.step, trace.attempt)
        before = first.get(attempt)
        if before is not None and before.pid not in died and not (may_lose and evidence.redis_deaths):
            later = trace.began - before.began
            yield f"{trace.step} of {trace.id} began in {before.pid}, and {later} ms later in {trace.pid}"
        first[attempt] = trace


def _after_cancel(evidence: Evidence) -> Iterator[str]:
    for id, final in evidence.executions.items():
        if final.status != "cancelled":
            continue
        stamps = {name: journal.stamp_of(r).at for name, r in final.records.items() if journal.letter_of(r) in "vbzcST"}
        if final.event is not None:
            stamps["the event"] = journal.event_stamp(final.event).at
        for name, stamp in stamps.items():
            if stamp > final.finished:
                yield f"{name} of {id} is recorded {stamp - final.finished} ms after its cancel"


def _token(final: Final, step: str) -> str | None:
    record = final.records.get(step, b"")
    if journal.letter_of(record) != "v":
        return None
    token: str = _STR.decode(bytes(journal.decode_result(record).value), "a token")
    return token
