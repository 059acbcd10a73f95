"""The occurrences of recurring executions: what a tick starts, and how.

A tick is a timer. The worker that fires it starts the occurrence, with a nonce that is made of the tick, and then
sets the next tick by a compare-and-set. If it dies in between, the next worker repeats both, and the nonce makes its
start return the run that was started.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from zart_redis import recurring
from zart_redis.errors import SerializationError
from zart_redis.layout import Key, RecurringField, StartOption
from zart_redis.model import ExecutionStatus
from zart_redis.recurring import LATE_MS, MAX_MISSED, RecurringSpec, Ticks
from zart_redis.store.decoding import loose_text, mapping, write_tags
from zart_redis.store.reads import texts
from zart_redis.store.store import Partition, Store

MAX_TICKS = 100
"""Ticks of one recurring execution that are handled at a time."""

_encode_ids = msgspec.msgpack.Encoder().encode
_decode_ids = msgspec.msgpack.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class Recurring:
    """A recurring execution as it is stored; times in ms."""

    id: str
    spec: RecurringSpec
    generation: int
    count: int
    anchor: int
    due: int | None
    is_paused: bool
    live: tuple[str, ...]
    """Ids of occurrences that were live at the last tick."""
    skipped: str

    @property
    def ticks(self) -> Ticks:
        return Ticks(self.spec, self.anchor)


async def read(partition: Partition, id: str) -> Recurring | None:
    """Raises SerializationError if it is damaged."""
    x = mapping(await partition.queries.hash(Key.RECURRING, id))
    if not x:
        return None
    try:
        due = x[RecurringField.DUE]
        return Recurring(
            id,
            recurring.decode(x[RecurringField.SPEC]),
            int(x[RecurringField.GENERATION]),
            int(x[RecurringField.COUNT]),
            int(x[RecurringField.ANCHOR]),
            int(due) if due else None,
            x.get(RecurringField.PAUSED) == b"1",
            tuple(_decode_ids(x[RecurringField.LIVE])) if RecurringField.LIVE in x else (),
            x.get(RecurringField.SKIPPED, b"").decode(),
        )
    except (LookupError, ValueError, msgspec.MsgspecError) as error:
        raise SerializationError(f"what is stored of recurring execution {id!r} is damaged: {error}") from error


async def all_ids(partition: Partition) -> list[str]:
    return sorted(texts(await partition.queries.members(Key.RECURRING_IDS)))


async def handle_ticks(store: Store, id: str, now: int) -> None:
    """Handle what is due of a recurring execution."""
    for _ in range(MAX_TICKS):
        found = await read(store.partition(id), id)
        if found is None or found.is_paused or found.due is None or found.due > now:
            return
        if not await _handle_tick(store, found, found.due, now):
            return


async def handle_all_ticks(store: Store, now: int) -> bool:
    """Handle what is due of all recurring executions. Returns whether that has changed anything."""
    has_changed = False
    for partition in store.partitions:
        for id in await all_ids(partition):
            before = await read(partition, id)
            await handle_ticks(store, id, now)
            has_changed |= before != await read(partition, id)
    return has_changed


async def trigger(store: Store, id: str, now: int) -> str | None:
    """Start an occurrence now. Returns its id, or None if it is skipped."""
    while (found := await read(store.partition(id), id)) is not None:
        live = await live_ids(store, found.live)
        if found.spec.overlap == "skip" and live:
            if await _set(store, found, found.count, found.due, live, _overlaps(live)):
                return None
            continue
        execution_id = found.spec.execution_id(found.count, now)
        if not await _set(store, found, found.count + 1, found.due, (*live, execution_id), ""):
            continue
        if found.spec.overlap == "cancel":
            await _cancel(store, live)
        if not await _start(store, found, execution_id, now, _nonce(found, f"trigger {found.count}")):
            await _record_refusal(store, id, execution_id)
            return None
        return execution_id
    return None


async def live_ids(store: Store, ids: Sequence[str]) -> tuple[str, ...]:
    """Those whose execution is live."""
    live = []
    for execution_id in ids:
        status = await store.partition(execution_id).queries.status(execution_id)
        if status is not None and not ExecutionStatus(loose_text(status)).is_final:
            live.append(execution_id)
    return tuple(live)


async def _handle_tick(store: Store, found: Recurring, due: int, now: int) -> bool:
    """Returns False if it has to be handled later, or by another worker."""
    spec, ticks = found.spec, found.ticks
    is_missed = now - due > LATE_MS
    makes_up = spec.catch_up == "all" and spec.overlap != "cancel"
    tick: int | None = due
    if is_missed:
        tick = ticks.latest(due, now, MAX_MISSED) if makes_up else ticks.latest(due, now)
        if spec.catch_up == "none" and now - tick > LATE_MS:
            tick = None
    following = ticks.after(now if tick is None else tick)
    live = await live_ids(store, found.live)
    if tick is None:
        return await _set(store, found, found.count, following, live, "missed")
    if spec.overlap == "skip" and live:
        if makes_up and now - tick > LATE_MS:
            return False  # it begins when the one before has ended: the timer brings it up again
        return await _set(store, found, found.count, following, live, _overlaps(live))
    if spec.overlap == "cancel":
        await _cancel(store, live)
        live = ()
    execution_id = spec.execution_id(found.count, tick)
    if not await _start(store, found, execution_id, tick, _nonce(found, str(tick))):
        return await _set(store, found, found.count, following, live, _is_taken(execution_id))
    return await _set(store, found, found.count + 1, following, (*live, execution_id), "")


async def _start(store: Store, found: Recurring, execution_id: str, tick: int, nonce: bytes) -> bool:
    """Returns False if somebody else's execution is live under the id."""
    spec = found.spec
    options: dict[StartOption, str | int | bytes] = {StartOption.SCHEDULED_FOR: tick}
    if spec.tags:
        options[StartOption.TAGS] = write_tags(spec.tags)
    delay = int.from_bytes(nonce) % (spec.jitter + 1) if spec.jitter else None
    reply = await store.partition(execution_id).transitions.start(
        execution_id, spec.task, spec.queue, spec.data, delay, spec.timeout, f"recurring {found.id}"[:500],
        spec.limits, options, nonce,
    )  # fmt: skip
    return reply.run is not None


async def _cancel(store: Store, ids: Sequence[str]) -> None:
    for execution_id in ids:
        transitions = store.partition(execution_id).transitions
        await transitions.cancel(execution_id, store.settings.retention, "the next occurrence begins")


async def _set(store: Store, found: Recurring, count: int, due: int | None, live: Sequence[str], skipped: str) -> bool:
    seen = (found.generation, found.count, found.due)
    transitions = store.partition(found.id).transitions
    return await transitions.tick(found.id, seen, count, due, _encode_ids(list(live)), skipped)


async def _record_refusal(store: Store, id: str, execution_id: str) -> None:
    """What was to be triggered could not be started."""
    found = await read(store.partition(id), id)
    if found is not None:
        live = [other for other in found.live if other != execution_id]
        await _set(store, replace(found), found.count, found.due, live, _is_taken(execution_id))


def _nonce(found: Recurring, tick: str) -> bytes:
    """The same for each worker that handles a tick."""
    seed = f"{found.id}\x1f{found.generation}\x1f{tick}".encode()
    return hashlib.blake2b(seed, digest_size=8).digest()


def _overlaps(live: Sequence[str]) -> str:
    return f"occurrence {live[0]} has not ended"


def _is_taken(execution_id: str) -> str:
    return f"id {execution_id} is taken by another execution"
