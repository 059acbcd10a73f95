"""The transitions that clients ask for; see `transitions`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from zart_redis.errors import ConfigurationError
from zart_redis.layout import Field, LimitField, StartOption
from zart_redis.model import EventDelivery
from zart_redis.store.decoding import fields, loose_text, mapping, text, whole_number
from zart_redis.store.decoding import waits as decode_waits
from zart_redis.store.mailbox import Mailbox
from zart_redis.store.replies import (
    Cancelled,
    CounterRow,
    Described,
    HeldWork,
    Rerun,
    RunRows,
    Started,
    StreamPage,
    Upgraded,
)
from zart_redis.store.script_calls import new_nonce, or_empty


class ClientTransitions(Mailbox):
    async def start(
        self,
        execution_id: str,
        task: str,
        queue: str,
        data: bytes,
        delay_ms: int | None,
        timeout_ms: int | None,
        by: str,
        limits: str = "",
        options: Mapping[StartOption, str | int | bytes] = MappingProxyType({}),
        nonce: bytes | None = None,
    ) -> Started:
        waits = (or_empty(delay_ms), or_empty(timeout_ms))
        flat = [part for option in options.items() for part in option]
        reply = await self._run(
            "start", execution_id, task, queue, data, *waits, nonce or new_nonce(), by, limits, *flat
        )
        if reply[0] == b"exists":
            return Started(None, False, text(reply[1]))
        return Started(int(reply[1]), reply[0] == b"started", "")

    async def restart(self, execution_id: str, data: bytes | None, timeout_ms: int | None, by: str) -> int | None:
        """Returns the number of the new run, or None if there is no such execution. Without data it keeps its input."""
        same = "1" if data is None else "0"
        reply = await self._run("restart", execution_id, data or b"", same, or_empty(timeout_ms), new_nonce(), by)
        return None if reply == b"missing" else int(reply[1])

    async def rerun(
        self,
        execution_id: str,
        timeout_ms: int | None,
        by: str,
        rerun: Sequence[str],
        preserve: Sequence[str],
        rest_reruns: bool,
    ) -> Rerun | str | None:
        """Returns what runs again and what is preserved, or a name that both lists of patterns match, or None if there
        is no such execution."""
        rest = "1" if rest_reruns else "0"
        head = (execution_id, or_empty(timeout_ms), new_nonce(), by, rest, len(rerun))
        reply = await self._run("rerun", *head, *rerun, *preserve)
        if reply == b"missing":
            return None
        if reply[0] == b"conflict":
            return text(reply[1])
        names = [sorted(text(name) for name in group) for group in reply[2:]]
        return Rerun(int(reply[1]), *names)

    async def retry_step(self, execution_id: str, step: str, by: str) -> str:
        """Returns 'retrying', 'missing', 'no step', or the status of an execution that has not failed."""
        reply = await self._run("retry_step", execution_id, step, new_nonce(), by)
        return text(reply if isinstance(reply, bytes) else reply[1])

    async def pause(self, rule: str, description: bytes) -> None:
        await self._run("pause", rule, description)

    async def resume(self, rule: str) -> bool:
        """Returns True if the rule existed."""
        gone: int = await self._run("resume", rule)
        return gone == 1

    async def cancel(self, execution_id: str, retention_ms: int, reason: str, *, compensate: bool = False) -> Cancelled:
        wish = "1" if compensate else ""
        reply = await self._run("cancel", execution_id, retention_ms, new_nonce(), reason, wish)
        if isinstance(reply, bytes):
            return Cancelled(reply == b"cancelled", None)
        return Cancelled(False, text(reply[1]))

    async def set_recurring(self, id: str, generation: int | None, spec: bytes, anchor: int, due: int | None) -> bool:
        """Returns False if another command has set it meanwhile."""
        arguments = (id, or_empty(generation), spec, anchor, or_empty(due))
        return bool(await self._run("set_recurring", *arguments) == b"set")

    async def pause_recurring(self, id: str, paused: bool, due: int | None = None) -> bool:
        """Returns False if there is none."""
        return bool(await self._run("pause_recurring", id, "1" if paused else "", or_empty(due)) == b"done")

    async def stop_recurring(self, id: str) -> bool:
        """Returns False if there was none."""
        return bool(await self._run("stop_recurring", id) == 1)

    async def set_token(self, name: str, token: bytes) -> bool:
        """Without a token it is removed. Returns False if the name is taken, or there was nothing to remove."""
        return bool(await self._run("set_token", name, token) == b"set")

    async def set_session(self, digest: str, session: bytes, lifetime_ms: int) -> None:
        """Without a session it is ended."""
        await self._run("set_session", digest, session, lifetime_ms)

    async def deliver(self, execution_id: str, name: str, payload: bytes) -> EventDelivery | str | None:
        """Returns the delivery, or the final status of an execution that has ended, or None if there is no such one."""
        reply = await self._run("deliver", execution_id, name, payload, new_nonce())
        if reply == b"missing":
            return None
        return EventDelivery(text(reply)) if isinstance(reply, bytes) else text(reply[1])

    async def read_execution(self, execution_id: str) -> Described | None:
        reply = await self._run("read_execution", execution_id)
        if not reply:
            return None
        x, waits, awaited, counter, before = reply
        why = {name: text(reason) for name, reason in mapping(awaited).items()}
        place = None if before == b"" else before + 1
        return Described(fields(x), decode_waits(waits), why, text(counter), place)

    async def read_stream(self, execution_id: str, stream: str, cursor: str, limit: int) -> StreamPage | None:
        """Returns None if there is no such execution."""
        reply = await self._run("read_stream", execution_id, stream, cursor, limit)
        if not reply:
            return None
        status, has_more, *items = reply
        return StreamPage(text(status), has_more == b"1", [(text(cursor), fields(flat)) for cursor, flat in items])

    async def read_runs(self, execution_id: str) -> dict[int, dict[str, bytes]]:
        """The fields of each run of an execution; {} if there is no such execution."""
        found: dict[int, dict[str, bytes]] = {}
        before: int | str = ""
        while before != 1:
            reply = await self._run("read_runs", execution_id, before)
            if not reply:
                break
            before, *runs = reply
            found |= {whole_number(x.get(Field.RUN)): x for x in map(fields, runs)}
        return found

    async def read_run(self, execution_id: str, run: int) -> tuple[dict[str, bytes], RunRows, RunRows]:
        """A run's events, and the rows of its body and of its on_failure body."""
        events, *bodies = await self._run("read_run", execution_id, run)
        body, on_failure = (RunRows(mapping(r), mapping(c), log) for r, c, log in bodies)
        return mapping(events), body, on_failure

    async def set_limit(self, name: str, counter: str, concurrency: str, rate: str) -> bool:
        """Set an operator's numbers, or remove them with "-". "" leaves one as it is. Returns whether that has changed
        anything."""
        return bool(await self._run("set_limit", LimitField.OVERRIDE, name, counter, concurrency, rate) == b"set")

    async def declare_limit(self, name: str, numbers: str) -> None:
        await self._run("set_limit", LimitField.DECLARED, name, name, *numbers.split(",", 1))

    async def read_limits(self, what: Literal["numbers", "counters"]) -> AsyncIterator[CounterRow]:
        """The counters that have been given numbers, or that are in use; some of them more than once."""
        cursor: bytes | str = "0"
        while True:
            cursor, *flat = await self._run("read_limits", what, cursor)
            for counter, held, waiting, concurrency, rate in zip(*(flat[i::5] for i in range(5)), strict=True):
                many = int(concurrency) if concurrency != b"" else None
                yield CounterRow(text(counter), held, waiting, many, text(rate))
            if cursor == b"0":
                return

    async def check_limit(self, counter: str, repair: bool) -> list[str]:
        """What is wrong with a counter, in words."""
        found: list[str] = []
        for place in ("slots", "line"):
            cursor: bytes | str = "0"
            while cursor != b"0":
                cursor, *more = await self._run("check_limit", "1" if repair else "0", counter, place, cursor)
                found += map(loose_text, more)
        return found

    async def read_held(self, most: int) -> AsyncIterator[HeldWork]:
        """What is held because it needs other code, at most about as much in one script."""
        cursor: bytes | str = "0"
        while True:
            cursor, *found = await self._run("read_held", cursor, most)
            for execution_id, since, reason in zip(found[::3], found[1::3], found[2::3], strict=True):
                yield HeldWork(loose_text(execution_id), since, loose_text(reason))
            if cursor == b"0":
                return

    async def check(self, ids: Sequence[str], repair: bool) -> list[tuple[str, str]]:
        """Returns pairs of an id and a finding; see the script."""
        found = [text(item) for item in await self._run("check", "1" if repair else "0", *ids)]
        return list(zip(found[::2], found[1::2], strict=True))

    async def check_steps(self, execution_id: str, repair: bool) -> list[str]:
        """Returns the names of scheduled steps that nothing holds, of an execution that has many."""
        found: list[str] = []
        cursor: bytes | None = None
        while cursor != b"0":
            cursor, *names = await self._run("check_steps", "1" if repair else "0", execution_id, cursor or "0")
            found += map(text, names)
        return found

    async def delete_orphans(self, keys: Sequence[tuple[str, str, str]], repair: bool) -> list[str]:
        """Returns the keys that belong to no run; with `repair` they are deleted. Keys are given without the prefix,
        each with its id and run."""
        found = await self._run("delete_orphans", "1" if repair else "0", *(part for key in keys for part in key))
        return [text(key) for key in found]

    async def upgrade(self, cursor: str, keys: Sequence[str]) -> Upgraded:
        """Convert keys of the unversioned layout, given without the prefix; see the script.

        Raises:
            ConfigurationError: a worker of that layout is alive.
        """
        # Leases are kept by Redis's own clock, see `reclaim`.
        word, *reply = await self._run_at(None, "upgrade", cursor, *keys)
        if word == b"live":
            raise ConfigurationError(
                f"the namespace was written by an older version, of which worker {loose_text(reply[0])} is alive: "
                "stop all workers of the older version first"
            )
        return Upgraded(text(reply[0]), [text(key) for key in reply[1:]])
