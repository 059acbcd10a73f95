"""What clients deliver to executions: events and messages."""

from __future__ import annotations

from typing import Any

from zart_redis import names
from zart_redis.client.connection import Client, decoding_errors_for
from zart_redis.codec import check_size, codec_for
from zart_redis.errors import ExecutionFinished, ExecutionNotFound, InvalidInput
from zart_redis.handlers import Handler, definition_of
from zart_redis.model import EventDelivery, ExecutionStatus
from zart_redis.starting import StartRequest
from zart_redis.store.mailbox import MessageKey, StartOfRun, mailbox_bounds


class Delivery(Client):
    """The part of the clients that delivers."""

    async def offer_event(self, execution_id: str, name: str, payload: Any = None) -> EventDelivery:
        """Deliver an event to an execution. The first event of a name counts for the whole run.

        Raises:
            ExecutionNotFound: there is no such execution.
            ExecutionFinished: it has finished.
            SerializationError: the payload cannot be encoded.
            PayloadTooLarge: it is larger than `max_payload`.
        """
        names.check_name(execution_id, "an execution id")
        names.check_name(name, "the name of an event")
        what = f"the payload of event {name!r}"
        data = check_size(self.settings.max_payload, codec_for(Any).encode(payload, what), what)
        partition = (await self._open()).partition(execution_id)
        answer = await partition.transitions.deliver(execution_id, name, data)
        if answer is None:
            raise ExecutionNotFound(execution_id)
        if not isinstance(answer, EventDelivery):
            with decoding_errors_for(execution_id):
                status = ExecutionStatus(answer)
            raise ExecutionFinished(execution_id, status)
        return answer

    async def send(
        self,
        execution_id: str,
        channel: str,
        payload: Any = None,
        *,
        message_id: str | None = None,
        start: tuple[Handler[Any, Any], Any] | None = None,
    ) -> None:
        """Send a message to an execution, which takes it by `zart.receive`. Messages of a channel are received in the
        order in which they were sent, each once. They wait until then, also for the next runs of the id.

        Args:
            message_id: identifies the message: one that was sent before, to this execution, is not sent again.
            start: a handler and its input. If the execution is not live, a run begins, in the same transition.

        Raises:
            ExecutionNotFound: there is no such execution, and no `start`.
            ExecutionFinished: it has finished, and there is no `start`.
            MailboxFull: too many messages wait for it.
            SerializationError: the payload, or the input, cannot be encoded.
            PayloadTooLarge: it is larger than `max_payload`.

        Example:
            >>> await scheduler.send("cart-7", "items", item, start=(cart, None))
        """
        names.check_name(execution_id, "an execution id")
        names.check_name(channel, "the name of a channel")
        names.check_optional(message_id, "a message id")
        key = MessageKey.fresh() if message_id is None else MessageKey.given(message_id)
        what = f"a message of channel {channel!r}"
        data = check_size(self.settings.max_payload, codec_for(Any).encode(payload, what), what)
        run = None if start is None else self._run_to_start(execution_id, start)
        store = await self._open()
        if run is not None and run.limits:
            store.check_limits()
        bounds = mailbox_bounds(self.settings.max_mailbox, self.settings.max_payload)
        await store.partition(execution_id).transitions.send(execution_id, channel, data, key, bounds, run)

    def _run_to_start(self, execution_id: str, start: tuple[Handler[Any, Any], Any]) -> StartOfRun:
        if not isinstance(start, tuple) or len(start) != 2:
            raise InvalidInput(f"start takes a handler and its input, as in (cart, None), not {start!r:.100}")
        handler = definition_of(start[0])
        prepared = self._start_arguments(StartRequest(execution_id, handler.name, start[1]), handler)
        return StartOfRun(prepared.task, prepared.queue, prepared.data, prepared.timeout_ms, prepared.limits)


class EventClient(Delivery):
    """A client for services that only deliver events; it needs no handlers.

    Example:
        >>> async with EventClient("redis://localhost") as events:
        ...     await events.offer_event("order-1", "shipped", {"tracking": "ZR-1"})
    """
