"""Recurring executions, as users set and see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from zart_redis import names, recurring, registry
from zart_redis.client.connection import Client
from zart_redis.codec import codec_for
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput, RecurringNotFound
from zart_redis.handlers import Handler, definition_of
from zart_redis.model import from_ms, optional_time
from zart_redis.recurring import CatchUp, Overlap, RecurringSpec, Ticks
from zart_redis.registry import HandlerDefinition
from zart_redis.starting import checked_tags
from zart_redis.store import occurrences
from zart_redis.store.occurrences import Recurring
from zart_redis.store.store import Store

SHOWN_TIMES = 5


@dataclass(frozen=True, slots=True)
class RecurringRecord:
    """A recurring execution. Times are aware datetimes in UTC."""

    recurring_id: str
    handler: str
    """The name of the task."""
    id_template: str
    every: float | None
    """In seconds."""
    cron: str | None
    timezone: str
    overlap: Overlap
    catch_up: CatchUp
    data: Any
    queue: str
    tags: Mapping[str, str]
    jitter: float | None
    """In seconds."""
    start_at: datetime | None
    end_at: datetime | None
    paused: bool
    next_times: tuple[datetime, ...]
    """The nominal times of the next occurrences; empty while it is paused."""
    live: tuple[str, ...]
    """Ids of occurrences that have not ended."""
    last_skip_reason: str | None
    """Why the last tick started nothing; None if it did."""


class Recurrences(Client):
    async def start_recurring(
        self,
        recurring_id: str,
        handler: Handler[Any, Any] | str,
        id_template: str,
        *,
        every: Duration | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
        data: Any = None,
        queue: str | None = None,
        tags: Mapping[str, str] | None = None,
        jitter: Duration | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
    ) -> None:
        """Start a handler again and again. The same call again changes nothing; another one replaces the schedule, and
        keeps the count of its occurrences and its pause.

        Args:
            handler: the handler, or the name of a task.
            id_template: the id of each occurrence, with `{occurrence}`, its number from 0, or `{time}`, its nominal
                time in UTC.
            every: the interval. Without `start_at` it begins at the first call.
            cron: five fields, in place of `every`.
            timezone: the zone of `cron`, such as "Europe/Berlin". A time that a change of clocks skips runs at the
                first moment after it; one that comes twice runs the first time.
            overlap: what happens while an occurrence is live: "skip" the tick, "cancel" what is live, or "allow" it.
            catch_up: what happens to ticks that no worker was there for: "none" is started, the "latest", or "all", at
                most 1,000.
            data: the input of each occurrence.
            queue: the queue; by default the handler's queue, or "default".
            tags: those of each occurrence.
            jitter: the longest time by which an occurrence begins later than its tick, at random.
            start_at: the first tick of an interval; a cron line begins then. An aware datetime.
            end_at: no tick is later. An aware datetime.

        Raises:
            InvalidInput: an argument is invalid.
        """
        definition = _definition(handler)
        task = definition.name if definition else names.check_name(handler, "the name of a task")
        what = f"the input of task {task!r}"
        encoded = self._encode_input(definition, data, what)
        limits = definition.encode_limits(definition.input.decode(encoded, what)) if definition else ""
        spec = RecurringSpec(
            task=task,
            id_template=names.check_name(id_template, "id_template"),
            data=encoded,
            queue=names.check_name(queue or (definition.queue if definition else "default"), "the name of a queue"),
            every=None if every is None else to_ms(every, what="every"),
            cron=cron,
            timezone=timezone,
            overlap=overlap,
            catch_up=catch_up,
            jitter=0 if jitter is None else to_ms(jitter, what="jitter"),
            start_at=_moment(start_at, "start_at"),
            end_at=_moment(end_at, "end_at"),
            timeout=definition.timeout_ms if definition else None,
            tags=dict(checked_tags(tags or {})),
            limits=limits,
        )
        _check(spec)
        await self._set_recurring(names.check_name(recurring_id, "a recurring id"), spec)

    async def _set_recurring(self, recurring_id: str, spec: RecurringSpec) -> None:
        store = await self._open()
        if spec.limits:
            store.check_limits()
        partition = store.partition(recurring_id)
        while True:
            found = await occurrences.read(partition, recurring_id)
            if found is not None and found.spec == spec:
                return
            now = await self._time(partition)
            same_clock = found is not None and (found.spec.every, found.spec.start_at) == (spec.every, spec.start_at)
            anchor = found.anchor if found is not None and same_clock else now
            ticks = Ticks(spec, anchor)
            due = ticks.first(now) if found is None else ticks.after(now)  # the other has had the tick of this moment
            generation = None if found is None else found.generation
            encoded = recurring.encode(spec)
            if await partition.transitions.set_recurring(recurring_id, generation, encoded, anchor, due):
                return

    async def stop_recurring(self, recurring_id: str) -> None:
        """Forget a recurring execution, and the count of its occurrences. Those that are live continue.

        Raises:
            RecurringNotFound: there is no recurring execution with this id.
        """
        partition = (await self._open()).partition(names.check_name(recurring_id, "a recurring id"))
        if not await partition.transitions.stop_recurring(recurring_id):
            raise RecurringNotFound(recurring_id)

    async def pause_recurring(self, recurring_id: str) -> None:
        """Start no occurrences until `resume_recurring`. Ticks meanwhile are never made up for.

        Raises:
            RecurringNotFound: there is no recurring execution with this id.
        """
        partition = (await self._open()).partition(names.check_name(recurring_id, "a recurring id"))
        if not await partition.transitions.pause_recurring(recurring_id, True):
            raise RecurringNotFound(recurring_id)

    async def resume_recurring(self, recurring_id: str) -> None:
        """Continue with the next tick from now on.

        Raises:
            RecurringNotFound: there is no recurring execution with this id.
        """
        store = await self._open()
        found = await self._recurring(store, recurring_id)
        if found.is_paused:
            partition = store.partition(recurring_id)
            due = found.ticks.after(await self._time(partition))
            await partition.transitions.pause_recurring(recurring_id, False, due)

    async def trigger_recurring(self, recurring_id: str) -> str | None:
        """Start an occurrence now, also while it is paused. Returns its id; None if `overlap="skip"` skips it, or if
        another execution has its id.

        Raises:
            RecurringNotFound: there is no recurring execution with this id.
        """
        store = await self._open()
        await self._recurring(store, recurring_id)
        return await occurrences.trigger(store, recurring_id, await self._time(store.partition(recurring_id)))

    async def list_recurring(self) -> list[RecurringRecord]:
        """All recurring executions, by id."""
        store = await self._open()
        read = [
            await occurrences.read(partition, recurring_id)
            for partition in store.partitions
            for recurring_id in await occurrences.all_ids(partition)
        ]
        records = [await _record(store, stored) for stored in read if stored is not None]
        return sorted(records, key=lambda record: record.recurring_id)

    async def _recurring(self, store: Store, recurring_id: str) -> Recurring:
        names.check_name(recurring_id, "a recurring id")
        found = await occurrences.read(store.partition(recurring_id), recurring_id)
        if found is None:
            raise RecurringNotFound(recurring_id)
        return found


async def _record(store: Store, stored: Recurring) -> RecurringRecord:
    spec = stored.spec
    times = () if stored.is_paused else stored.ticks.upcoming(stored.due, SHOWN_TIMES)
    return RecurringRecord(
        recurring_id=stored.id,
        handler=spec.task,
        id_template=spec.id_template,
        every=None if spec.every is None else spec.every / 1000,
        cron=spec.cron,
        timezone=spec.timezone,
        overlap=spec.overlap,
        catch_up=spec.catch_up,
        data=codec_for(Any).decode(spec.data, "the input"),
        queue=spec.queue,
        tags=spec.tags,
        jitter=spec.jitter / 1000 if spec.jitter else None,
        start_at=optional_time(spec.start_at),
        end_at=optional_time(spec.end_at),
        paused=stored.is_paused,
        next_times=tuple(map(from_ms, times)),
        live=await occurrences.live_ids(store, stored.live),
        last_skip_reason=stored.skipped or None,
    )


def _definition(handler: Handler[Any, Any] | str) -> HandlerDefinition | None:
    if isinstance(handler, str):
        return registry.handlers.get_unambiguous(names.check_name(handler, "the name of a task"))
    return definition_of(handler)


def _check(spec: RecurringSpec) -> None:
    """Raises InvalidInput."""
    recurring.check_template(spec.id_template)
    for option, value, choices in (
        ("overlap", spec.overlap, get_args(Overlap)),
        ("catch_up", spec.catch_up, get_args(CatchUp)),
    ):
        if value not in choices:
            raise InvalidInput(f"{option} must be one of {', '.join(map(repr, choices))}, not {value!r:.100}")
    if (spec.every is None) == (spec.cron is None):
        raise InvalidInput("start_recurring takes either every= or cron=")
    if spec.every is not None and spec.every < 1:
        raise InvalidInput("every must be longer than nothing")
    try:
        zone = ZoneInfo(spec.timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidInput(f"there is no timezone {spec.timezone!r:.100}") from None
    if spec.cron is not None:
        recurring.check_cron(spec.cron, zone)
    if spec.start_at is not None and spec.end_at is not None and spec.end_at < spec.start_at:
        raise InvalidInput("end_at is before start_at")


def _moment(value: datetime | None, what: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(f"{what} must be a datetime with a time zone, not {value!r:.100}")
    return round(value.timestamp() * 1000)
