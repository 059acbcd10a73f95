"""The transitions of one partition: a typed stub for each script, so that no caller can get its arguments wrong.

Each stub is named as its script, whose header is the contract. `Fenced` is raised where a script returns 'fenced'.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any, Literal

from zart_redis.layout import Lane
from zart_redis.model import BodyClaim, StepClaim, Unreadable, Unserved
from zart_redis.store.children import ChildTransitions, read_mails
from zart_redis.store.claims import read_claims, read_unreadable
from zart_redis.store.client_transitions import ClientTransitions
from zart_redis.store.decoding import loose_text, mapping, optional_int, text, to_bytes
from zart_redis.store.decoding import news as decode_news
from zart_redis.store.decoding import waits as decode_waits
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.replies import (
    Death,
    Due,
    Heartbeat,
    Held,
    HeldStep,
    OnFailure,
    Parked,
)
from zart_redis.store.script_calls import or_empty


class Transitions(ClientTransitions, ChildTransitions):
    """Those of workers, and those of clients."""

    # ---- by a worker that holds a body ----

    def record(self, held: Held, name: str, record: bytes, ordered: bool) -> Coroutine[Any, Any, bytes]:
        """The stamp, or the record that was there already."""
        return self._run("record", *held, name, record, "1" if ordered else "0")

    async def attempt(
        self, held: Held, name: str, failed: int, timeout_ms: int | None, delay_ms: int, note: bytes
    ) -> tuple[bytes, int]:
        record, now = await self._run("attempt", *held, name, failed, or_empty(timeout_ms), delay_ms, note)
        return record, now

    async def schedule(self, held: Held, queue: str, children: Iterable[tuple[str, bytes, int | None, str]]) -> None:
        """`queue` is that of the execution; a step may name another one, else ""."""
        flat: list[bytes | str | int] = []
        for name, spec, timeout_ms, own_queue in children:
            flat += (name, spec, or_empty(timeout_ms), own_queue)
        await self._run("schedule", *held, queue, *flat)

    async def join(self, held: Held, group: str, names: Sequence[str]) -> None:
        await self._run("join", *held, group, *names)

    async def park(
        self,
        held: Held,
        seen: int,
        hold: Literal["1", "0", "keep"],
        waits: Sequence[tuple[str, str, str]],
        gone: Sequence[tuple[str, str]],
    ) -> Parked:
        head = (seen, hold, len(waits))
        flat = [field for item in (*waits, *gone) for field in item]
        state, now, *news = await self._run("park", *held, *head, *flat)
        if state != b"ready":
            return Parked("parked" if state == b"parked" else "held", now, seen, [])
        return Parked("ready", now, news[0], decode_news(news[1:]))

    async def load(self, claim: BodyClaim) -> BodyClaim:
        """The claim with all that is recorded, of a body that this worker no longer keeps."""
        reply = await self._run("load", claim.execution_id, claim.fence, claim.scope)
        records, events, steps, waits, completions = reply
        return dataclasses.replace(
            claim,
            records=mapping(records),
            events=mapping(events),
            steps={text(name) for name in steps},
            waits=decode_waits(waits),
            completions=int(completions),
            kept_at="",
            news=[],
        )

    async def set_deadline(self, held: Held, timeout_ms: int) -> None:
        await self._run("set_deadline", held.execution_id, held.fence, timeout_ms)

    async def finish(self, held: Held, output: bytes, retention_ms: int) -> None:
        await self._run("finish", *held, output, retention_ms)

    async def gate(self, held: Held, limits: str) -> bool:
        """Returns False if the run waits for a limit, and is not held any more."""
        return bool(await self._run("gate", held.execution_id, held.fence, limits) == b"admitted")

    async def continue_as_new(
        self, held: Held, data: bytes, timeout_ms: int | None, received: Iterable[str], limits: str = ""
    ) -> None:
        await self._run("continue_as_new", *held, data, or_empty(timeout_ms), limits, *received)

    async def fail(self, held: Held, error: bytes, retention_ms: int) -> None:
        await self._run("fail", *held, error, retention_ms)

    async def begin_on_failure(self, held: Held, failure: bytes) -> OnFailure:
        scope, clock_base, completions = await self._run("begin_on_failure", *held, failure)
        return OnFailure(text(scope), clock_base, completions)

    async def retry(self, held: Held, delay_ms: int, note: bytes) -> None:
        await self._run("retry", *held, delay_ms, note)

    async def release(self, held: Held, delay_ms: int | None) -> None:
        await self._run("release", held.execution_id, held.fence, or_empty(delay_ms))

    async def hold(self, claim: BodyClaim, delay_ms: int, code: str, reason: str, *, has_begun: bool) -> None:
        before = (claim.holds, or_empty(claim.held_since), "1" if has_begun else "")
        await self._run("hold", claim.execution_id, claim.fence, delay_ms, code, reason, *before)

    async def emit(
        self,
        held: Held | HeldStep,
        emitter: tuple[str, int, str],
        first: int,
        limit: int,
        emissions: Sequence[tuple[str, str, bytes]],
    ) -> None:
        """Store emissions, numbered from `first`. `emitter` is a step ("" for the body), its attempt and its token."""
        ack, name, entry = (held.ack, "", "") if isinstance(held, Held) else ("", held.name, held.entry)
        head = (held.execution_id, held.fence, held.scope, ack, name, entry, *emitter, first, limit)
        flat: Iterator[str | bytes] = itertools.chain.from_iterable(emissions)
        await self._run("emit", *head, *flat)

    # ---- by a worker that holds a scheduled step ----

    async def complete_step(self, held: HeldStep, record: bytes) -> None:
        await self._run("complete_step", *held, record)

    async def postpone(
        self, held: HeldStep, failed: int, delay_ms: int | None, note: bytes, queued_ms: int = 0
    ) -> None:
        await self._run("postpone", *held, failed, or_empty(delay_ms), note, queued_ms, "", "")

    async def hold_step(self, held: HeldStep, failed: int, delay_ms: int, code: str, reason: str) -> None:
        """`postpone`, because the code of this worker cannot run the step."""
        await self._run("postpone", *held, failed, delay_ms, b"", 0, code, reason)

    # ---- by a worker's loops ----

    async def claim(
        self,
        worker: str,
        most: int,
        queues: Sequence[str],
        delivered: Sequence[tuple[str, str]] = (),
        lane: Lane = Lane.NEW,
        *,
        handlers: str = "",
    ) -> list[BodyClaim | StepClaim | Unserved | Unreadable]:
        """In `Lane.SUSPECT` claim suspects, in `Lane.HANDED` what waits for a worker like this one, else what is new or
        was given back. `handlers` is the JSON of the ranges of versions that the worker runs, by task; "" is all."""
        flat = [field for pair in delivered for field in pair]
        reply = await self._run("claim", worker, most, lane, handlers, len(queues), *queues, *flat)
        return read_claims(reply)

    async def set_aside(self, work: Unreadable) -> None:
        await self._run("set_aside", to_bytes(work.execution_id), work.reason, work.queue, work.entry)

    async def retry_held(self, code: str, most: int) -> None:
        """Queue what has been held by other code than this, at most about as many in one script."""
        cursor: bytes | str = "0"
        while True:
            cursor = await self._run("retry_held", code, cursor, most)
            if cursor == b"0":
                return

    async def due(self, most: int) -> Due:
        fired, timer, expiry, now, recurring, mails, *unreadable = await self._run("due", most)
        moments = (optional_int(timer), optional_int(expiry))
        ticks = [text(id) for id in recurring]
        return Due(fired, *moments, now, ticks, read_mails(mails), read_unreadable(unreadable))

    async def tick(
        self, id: str, seen: tuple[int, int, int | None], count: int, due: int | None, live: bytes, skipped: str
    ) -> bool:
        """Returns False if another worker was faster than this one, which has `seen` generation, count and due time."""
        generation, old_count, old_due = seen
        head = (id, generation, old_count, or_empty(old_due))
        return bool(await self._run("tick", *head, count, or_empty(due), live, skipped) == b"ticked")

    async def purge(self, most: int, ids: Sequence[str] = ()) -> int:
        """Delete finished executions: those whose retention has passed, or, whatever theirs is, those named.

        Returns how many. One with many earlier runs takes several scripts; where it is not named, several calls.
        """
        deleted, remaining = await self._run("purge", most, *ids)
        while ids and remaining:
            more, remaining = await self._run("purge", most, *ids)
            deleted += more
        total: int = deleted
        return total

    async def leave(self, worker: str) -> None:
        await self._run("leave", worker)

    async def clear_suspect(self, claim: BodyClaim | StepClaim) -> None:
        name = claim.name if isinstance(claim, StepClaim) else ""
        await self._run("clear_suspect", claim.execution_id, claim.fence, claim.scope, name)

    async def reclaim(
        self, dead: str, most: int, death: Death, allowed: int, patience_ms: int, *, resumed: bool = False
    ) -> tuple[bool, int]:
        """Returns whether more is left to reclaim from this worker, and how many entries were queued again."""
        # Leases are kept by Redis's own clock, whatever clock a test supplies: a worker does not die of its moving.
        head = (to_bytes(dead), most, "1" if resumed else "")
        state, moved = await self._run_at(None, "reclaim", *head, *death, allowed, patience_ms)
        return state == b"more", moved


Joining = Literal["0", "1", "again"]
"""Of a heartbeat: whether the worker joins, for the first time or after its lease had ended."""


def heartbeat_command(
    prefix: str, worker: str, lease_ms: int, joining: Joining, about: bytes
) -> tuple[bytes | str | int, ...]:
    """The heartbeat as a command, for the connections of the heartbeat thread. It always uses Redis's clock."""
    return (b"EVALSHA", SCRIPTS["heartbeat"].sha, 1, prefix, "", worker, lease_ms, joining, about)


def read_heartbeat(reply: Any) -> Heartbeat:
    state, following, dead = reply
    return Heartbeat(state == b"alive", optional_int(following), [loose_text(worker) for worker in dead])
