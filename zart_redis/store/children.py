"""The transitions of children, and the delivery of mail about those in other partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zart_redis.layout import PARENT_TAG, MailField
from zart_redis.registry import ChildStart
from zart_redis.store.decoding import fields, text, write_tags
from zart_redis.store.replies import Held, Mail
from zart_redis.store.script_calls import ScriptCalls, or_empty


def read_mails(reply: Iterable[Sequence[Any]]) -> list[Mail]:
    return [Mail(int(number), fields(flat)) for number, *flat in reply]


class ChildTransitions(ScriptCalls):
    async def start_children(
        self, held: Held, partition: int, children: Iterable[tuple[str, str, ChildStart, str, bool]]
    ) -> dict[str, str]:
        """Start children: for each the name of the call, the child's id, what it is, what names this start, and
        whether it lives in this partition, whose number is `partition`.

        Returns the status of those whose id is used by another execution, by the name of the call.
        """
        flat: list[bytes | str | int] = []
        for name, execution_id, start, number, is_here in children:
            where = (name, execution_id, "1" if is_here else "", "1" if start.outlives else "", number)
            tags = write_tags({**start.tags, PARENT_TAG: held.execution_id})
            flat += (*where, start.task, start.queue, start.data, or_empty(start.timeout_ms), start.limits, tags)
        refused = await self._run("start_children", *held, partition, *flat)
        return {text(name): text(status) for name, status in zip(refused[::2], refused[1::2], strict=True)}

    async def end_steps(self, held: Held, records: Mapping[str, bytes]) -> None:
        await self._run("end_steps", *held, *(part for pair in records.items() for part in pair))

    async def start_child(self, mail: Mail) -> str | None:
        """Returns the status of another execution that has the id of the child, or None if the child is started."""
        names = (
            MailField.TASK,
            MailField.QUEUE,
            MailField.INPUT,
            MailField.TIMEOUT,
            MailField.LIMITS,
            MailField.TAGS,
            MailField.DEADLINE,
        )
        reply = await self._run("start_child", mail.child, mail.parent, *map(mail.part, names))
        return None if reply == b"started" else text(reply[1])

    async def settle_child(self, mail: Mail, record: bytes) -> None:
        await self._run("settle_child", mail.parent, record)

    async def cancel_child(self, mail: Mail, retention_ms: int) -> None:
        await self._run("cancel_child", mail.child, mail.parent, retention_ms)

    async def confirm_mail(self, numbers: Iterable[int]) -> None:
        await self._run("confirm_mail", "".join(f"{number}," for number in numbers))
