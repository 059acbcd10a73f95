"""The transitions of one partition: a typed stub for each script, so that no caller can get its arguments wrong.

Each stub is named as its script, whose header is the contract. `Fenced` is raised where a script answers 'fenced'.
"""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from redis import exceptions

from zart_redis.errors import SerializationError
from zart_redis.model import BodyClaim, EventDelivery, Fenced, StepClaim, Unreadable
from zart_redis.store.commits import Clock, Commits
from zart_redis.store.connections import cannot_read
from zart_redis.store.lua import SCRIPTS


class Held(NamedTuple):
    """What a worker shows at each transition of a body that it holds."""

    execution_id: str
    fence: str
    scope: str
    last: str
    """What was last acknowledged to it since its claim; see `scripts/lib/fence.lua`."""


class HeldStep(NamedTuple):
    """What a worker shows at each transition of a scheduled step that it holds."""

    execution_id: str
    fence: str
    scope: str
    queue: str
    entry: str
    name: str


class Started(NamedTuple):
    run: int | None
    """None if the id is live."""
    status: str


class Cancelled(NamedTuple):
    was_live: bool
    status: str | None
    """The final status that it had already; None if there is no such execution."""


class Rerun(NamedTuple):
    """The new run, and the recorded names that run again, are preserved, and are preserved although they were recorded
    after one that runs again."""

    run: int
    rerun: list[str]
    preserved: list[str]
    stale: list[str]


class Due(NamedTuple):
    """How many timers were fired, and when there will be more to do (None: nothing is set); Redis's time in ms."""

    fired: int
    next_timer: int | None
    next_expiry: int | None
    now: int
    unreadable: list[Unreadable]


class Heartbeat(NamedTuple):
    alive: bool
    next_end: int | None
    """ms until the next lease of another worker, or this one's, ends."""
    dead: list[str]


class Parked(NamedTuple):
    """`ready` holds (kind, name, record) of the waits that had ended; if there are none the body is held or parked."""

    parked: bool
    now: int | None
    ready: list[tuple[str, str, bytes]]


class RunRows(NamedTuple):
    """What is stored of one body of a run."""

    records: dict[str, bytes]
    children: dict[str, tuple[int, bytes]]
    """Scheduled steps that have not ended, with their failed attempts, and why they are put off (b"" they are not)."""
    log: list[bytes]


class Transitions:
    def __init__(self, commits: Commits, prefix: str, clock: Clock) -> None:
        self.prefix = prefix
        self._commits = commits
        self._clock = clock

    def _run(self, script: str, *arguments: bytes | str | int) -> Coroutine[Any, Any, Any]:
        return self._run_at(self._clock(), script, *arguments)

    async def _run_at(self, clock: int | None, script: str, *arguments: bytes | str | int) -> Any:
        command = (
            b"EVALSHA",
            SCRIPTS[script].sha,
            1,
            self.prefix,
            "" if clock is None else clock,
            *arguments,
        )
        try:
            answer = await self._commits.submit(command)
        except exceptions.ResponseError as error:
            if not cannot_read(error):
                raise
            subject = f" of {arguments[0]!r}" if arguments else ""
            raise SerializationError(f"what is stored{subject} is damaged, {script} cannot read it: {error}") from error
        if answer == b"fenced":
            raise Fenced
        return answer

    # ---- by clients ----

    async def start(
        self,
        execution_id: str,
        task: str,
        queue: str,
        data: bytes,
        delay_ms: int | None,
        timeout_ms: int | None,
        by: str,
    ) -> Started:
        waits = (_or_empty(delay_ms), _or_empty(timeout_ms))
        answer = await self._run("start", execution_id, task, queue, data, *waits, _nonce(), by)
        if answer[0] == b"exists":
            return Started(None, answer[1].decode())
        return Started(int(answer[1]), "scheduled")

    async def restart(self, execution_id: str, data: bytes | None, timeout_ms: int | None, by: str) -> int | None:
        """The number of the new run, or None if there is no such execution. Without data the old input is used."""
        same = "1" if data is None else "0"
        answer = await self._run("restart", execution_id, data or b"", same, _or_empty(timeout_ms), _nonce(), by)
        return None if answer == b"missing" else int(answer[1])

    async def rerun(
        self,
        execution_id: str,
        timeout_ms: int | None,
        by: str,
        rerun: Sequence[str],
        preserve: Sequence[str],
        rest_reruns: bool,
    ) -> Rerun | str | None:
        """What reruns and what is preserved; a name that both lists of patterns match; or None if there is no
        such execution."""
        rest = "1" if rest_reruns else "0"
        head = (execution_id, _or_empty(timeout_ms), _nonce(), by, rest, len(rerun))
        answer = await self._run("rerun", *head, *rerun, *preserve)
        if answer == b"missing":
            return None
        if answer[0] == b"conflict":
            return _text(answer[1])
        names = [sorted(_text(name) for name in group) for group in answer[2:]]
        return Rerun(int(answer[1]), *names)

    async def retry_step(self, execution_id: str, step: str, by: str) -> str:
        """'retrying', 'missing', 'no step', or the status of an execution that has not failed."""
        answer = await self._run("retry_step", execution_id, step, _nonce(), by)
        return _text(answer if isinstance(answer, bytes) else answer[1])

    async def pause(self, rule: str, description: bytes) -> None:
        await self._run("pause", rule, description)

    async def resume(self, rule: str) -> bool:
        """Whether the rule was there."""
        gone: int = await self._run("resume", rule)
        return gone == 1

    async def cancel(self, execution_id: str, retention_ms: int) -> Cancelled:
        answer = await self._run("cancel", execution_id, retention_ms, _nonce())
        if isinstance(answer, bytes):
            return Cancelled(answer == b"cancelled", None)
        return Cancelled(False, _text(answer[1]))

    async def deliver(self, execution_id: str, name: str, payload: bytes) -> EventDelivery | str | None:
        """The delivery, the final status the execution has, or None if there is no such execution."""
        answer = await self._run("deliver", execution_id, name, payload, _nonce())
        if answer == b"missing":
            return None
        return EventDelivery(_text(answer)) if isinstance(answer, bytes) else _text(answer[1])

    async def describe(self, execution_id: str) -> tuple[dict[str, bytes], dict[str, bytes], list[str]] | None:
        """The execution's fields, its timed waits, and some of the scheduled steps it waits for."""
        answer = await self._run("describe", execution_id)
        if not answer:
            return None
        x, waits, awaited = answer
        return _fields(x), _mapping(waits), [_text(name)[1:] for name in awaited[::2]]

    async def runs(self, execution_id: str) -> dict[int, dict[str, bytes]]:
        """The fields of each run of an execution; {} if there is no such execution."""
        runs = [_fields(flat) for flat in await self._run("runs", execution_id)]
        return {_whole(x.get("run")): x for x in runs}

    async def rows(self, execution_id: str, run: int) -> tuple[dict[str, bytes], RunRows, RunRows]:
        """A run's events, and the rows of its body and of its on_failure body."""
        events, *bodies = await self._run("rows", execution_id, run)
        body, on_failure = (RunRows(_mapping(r), _mapping(c), log) for r, c, log in bodies)
        return _mapping(events), body, on_failure

    async def examine(self, ids: Sequence[str], mend: bool) -> list[tuple[str, str]]:
        """Pairs of an id and what is wrong with it; see the script."""
        found = [_text(item) for item in await self._run("examine", "1" if mend else "0", *ids)]
        return list(zip(found[::2], found[1::2], strict=True))

    async def discard(self, keys: Sequence[tuple[str, str, str]], mend: bool) -> list[str]:
        """Those of the keys (without the prefix, each with its id and run) that are of runs which do not exist. They
        are removed if asked."""
        found = await self._run("discard", "1" if mend else "0", *(part for key in keys for part in key))
        return [_text(key) for key in found]

    # ---- by a worker that holds a body ----

    def record(self, held: Held, name: str, record: bytes) -> Coroutine[Any, Any, bytes | None]:
        return self._run("record", *held, name, record)

    async def attempt(
        self, held: Held, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes
    ) -> tuple[bytes, int]:
        record, now = await self._run("attempt", *held, name, failed, _or_empty(timeout_ms), delay_ms, note)
        return record, now

    async def schedule(self, held: Held, queue: str, children: Iterable[tuple[str, bytes, int | None]]) -> None:
        flat: list[bytes | str | int] = []
        for name, spec, timeout_ms in children:
            flat += (name, spec, _or_empty(timeout_ms))
        await self._run("schedule", *held, queue, *flat)

    async def join(self, held: Held, group: str, names: Sequence[str]) -> None:
        await self._run("join", *held, group, *names)

    async def park(self, held: Held, waits: Iterable[tuple[str, str, str]], hold: bool) -> Parked:
        flat = [field for wait in waits for field in wait]
        answer = await self._run("park", *held, "1" if hold else "0", *flat)
        if answer[0] != b"ready":
            return Parked(answer[0] == b"parked", None, [])
        triples = zip(answer[2::3], answer[3::3], answer[4::3], strict=True)
        return Parked(False, answer[1], [(_text(kind), _text(name), record) for kind, name, record in triples])

    async def limit(self, held: Held, timeout_ms: int) -> None:
        await self._run("limit", held.execution_id, held.fence, timeout_ms)

    async def finish(self, held: Held, output: bytes, retention_ms: int) -> None:
        await self._run("finish", *held, output, retention_ms)

    async def fail(self, held: Held, error: bytes, retention_ms: int) -> None:
        await self._run("fail", *held, error, retention_ms)

    async def compensate(self, held: Held, failure: bytes) -> str:
        """The new scope."""
        return _text(await self._run("compensate", *held, failure))

    async def retry(self, held: Held, delay_ms: int, note: bytes) -> None:
        await self._run("retry", *held, delay_ms, note)

    async def release(self, held: Held, delay_ms: int | None) -> None:
        await self._run("release", held.execution_id, held.fence, _or_empty(delay_ms))

    # ---- by a worker that holds a scheduled step ----

    async def settle(self, held: HeldStep, record: bytes) -> None:
        await self._run("settle", *held, record)

    async def postpone(self, held: HeldStep, failed: int, delay_ms: int | None, note: bytes, why: str = "") -> None:
        await self._run("postpone", *held, failed, _or_empty(delay_ms), note, why)

    # ---- by a worker's loops ----

    async def claim(
        self, worker: str, most: int, queues: Sequence[str], delivered: Sequence[tuple[str, str]] = ()
    ) -> list[BodyClaim | StepClaim | Unreadable]:
        flat = [field for pair in delivered for field in pair]
        answer = await self._run("claim", worker, most, len(queues), *queues, *flat)
        return [_claim(item) for item in answer]

    async def set_aside(self, work: Unreadable) -> None:
        await self._run("set_aside", _bytes(work.execution_id), work.reason, work.queue, work.entry)

    async def due(self, most: int) -> Due:
        fired, timer, expiry, now, *unreadable = await self._run("due", most)
        return Due(fired, _maybe_int(timer), _maybe_int(expiry), now, _unreadable(unreadable))

    async def purge(self, most: int, ids: Sequence[str] = ()) -> int:
        """Remove finished executions: those whose retention has passed, or, whatever theirs is, those named."""
        gone: int = await self._run("purge", most, *ids)
        return gone

    async def leave(self, worker: str) -> None:
        await self._run("leave", worker)

    async def reclaim(self, dead: str, most: int, max_deliveries: int) -> tuple[bool, int]:
        """Whether there is more to reclaim from this worker, and how many entries were queued again."""
        # Leases are kept by Redis's own clock, whatever clock a test supplies: a worker does not die of its moving.
        state, moved = await self._run_at(None, "reclaim", _bytes(dead), most, max_deliveries)
        return state == b"more", moved


def heartbeat_command(
    prefix: str, worker: str, lease_ms: int, joining: bool, about: bytes
) -> tuple[bytes | str | int, ...]:
    """The heartbeat as a command: the lease thread sends it over a connection of its own. Always by Redis's clock."""
    return (b"EVALSHA", SCRIPTS["heartbeat"].sha, 1, prefix, "", worker, lease_ms, "1" if joining else "0", about)


def read_heartbeat(answer: Any) -> Heartbeat:
    state, following, dead = answer
    return Heartbeat(state == b"alive", _maybe_int(following), [_loose_text(worker) for worker in dead])


def _nonce() -> bytes:
    """Tells a command that is sent again from another one like it."""
    return secrets.token_bytes(8)


def _or_empty(value: int | None) -> int | str:
    return "" if value is None else value


def _maybe_int(value: bytes) -> int | None:
    return int(float(value)) if value else None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise SerializationError(f"what is stored is damaged: {error}") from error


def _loose_text(value: bytes) -> str:
    """For what a stranger may have written; `_bytes` gives back the same."""
    return value.decode(errors="surrogateescape")


def _bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")


def _unreadable(flat: Sequence[bytes]) -> list[Unreadable]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [Unreadable(_loose_text(execution_id), _loose_text(why)) for execution_id, why in pairs]


def _claim(item: Sequence[Any]) -> BodyClaim | StepClaim | Unreadable:
    if item[0] == b"!":
        return _unreadable(item[1:])[0]
    try:
        return _body_claim(item) if item[0] == b"x" else _step_claim(item)
    except (SerializationError, ValueError, TypeError, AttributeError) as error:
        entry, queue, execution_id = map(_loose_text, item[1:4])
        return Unreadable(execution_id, f"{type(error).__name__}: {error}", queue, entry)


def _mapping(flat: Sequence[Any]) -> dict[str, Any]:
    try:
        return {_text(field): value for field, value in zip(flat[::2], flat[1::2], strict=True)}
    except (ValueError, TypeError, AttributeError) as error:
        raise SerializationError(f"what is stored is damaged: {error}") from error


def _fields(flat: Sequence[Any]) -> dict[str, Any]:
    """An execution's fields; those that others have added do no harm."""
    try:
        return {field.decode(errors="replace"): value for field, value in zip(flat[::2], flat[1::2], strict=True)}
    except (ValueError, TypeError, AttributeError) as error:
        raise SerializationError(f"what is stored is damaged: {error}") from error


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (ValueError, TypeError):
        raise SerializationError(f"what is stored is damaged: {value!r} is no number") from None


def _body_claim(item: Sequence[Any]) -> BodyClaim:
    entry, queue, execution_id, fence, scope, task, attempt, data, created, deadline, doom, failure = item[1:13]
    records, events, children, now = item[13:]
    return BodyClaim(
        entry=_text(entry),
        queue=_text(queue),
        execution_id=_text(execution_id),
        fence=_text(fence),
        scope=_text(scope),
        task=_text(task),
        attempt=int(attempt),
        input=data,
        created=int(created),
        doom=_text(doom),
        failure=failure,
        records=_mapping(records),
        events=_mapping(events),
        children={_text(name) for name in children},
        has_deadline=bool(deadline),
        now=now,
    )


def _step_claim(item: Sequence[Any]) -> StepClaim:
    (
        entry,
        queue,
        execution_id,
        fence,
        scope,
        task,
        attempt,
        data,
        name,
        failed,
        deadline,
        spec,
        crashes,
        now,
    ) = item[1:]
    return StepClaim(
        entry=_text(entry),
        queue=_text(queue),
        execution_id=_text(execution_id),
        fence=_text(fence),
        scope=_text(scope),
        task=_text(task),
        attempt=int(attempt),
        input=data,
        name=_text(name),
        failed_attempts=failed,
        deadline=int(deadline) if deadline else None,
        spec=spec,
        crashes=crashes,
        now=now,
    )
