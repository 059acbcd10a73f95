"""Messages for executions."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from zart_redis.errors import ExecutionFinished, ExecutionNotFound, MailboxFull
from zart_redis.store.decoding import text
from zart_redis.store.script_calls import ScriptCalls, new_nonce, or_empty

PAYLOADS_IN_MAILBOX = 64
"""How many payloads of the largest size may wait in a mailbox."""


class MessageKey(NamedTuple):
    """What identifies a message, and for how long that is kept; None for as long as the id."""

    text: str
    keep_ms: int | None

    @classmethod
    def given(cls, message_id: str) -> MessageKey:
        return cls(f"i{message_id}", None)

    @classmethod
    def of_body(cls, key: str) -> MessageKey:
        """For a body that may send it again after a crash, when it is resumed."""
        return cls(f"b{key}", 7 * 24 * 3_600_000)

    @classmethod
    def fresh(cls) -> MessageKey:
        """For a command that may be sent again."""
        return cls(f"n{secrets.token_hex(8)}", 600_000)


def mailbox_bounds(most: int, max_payload: int) -> tuple[int, int]:
    """How many messages, and bytes, may wait in a mailbox."""
    return most, max_payload * PAYLOADS_IN_MAILBOX


class StartOfRun(NamedTuple):
    """A run that begins with a message."""

    task: str
    queue: str
    data: bytes
    timeout_ms: int | None
    limits: str


class Mailbox(ScriptCalls):
    """The transition that sends a message."""

    async def send(
        self,
        execution_id: str,
        channel: str,
        payload: bytes,
        key: MessageKey,
        bounds: tuple[int, int],
        start: StartOfRun | None = None,
    ) -> None:
        """Send a message.

        Args:
            bounds: how many messages, and bytes, may wait in the mailbox.
            start: the run that begins if none is live.

        Raises:
            ExecutionNotFound, ExecutionFinished: there is none that is live, and no `start`.
            MailboxFull: too much waits in the mailbox.
        """
        head = (execution_id, channel, payload, key.text, or_empty(key.keep_ms), *bounds)
        run = [] if start is None else [*start[:3], or_empty(start.timeout_ms), new_nonce(), start.limits]
        reply = await self._run("send", *head, *run)
        if reply == b"missing":
            raise ExecutionNotFound(execution_id)
        if reply == b"full":
            raise MailboxFull(execution_id)
        if reply != b"sent":
            raise ExecutionFinished(execution_id, text(reply[1]))
