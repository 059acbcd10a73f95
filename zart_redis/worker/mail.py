"""Delivers mail: what must reach executions of other partitions, or many of them. Each delivery may be made twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zart_redis.engine.journal import encode_refused_child
from zart_redis.errors import ZartError
from zart_redis.layout import KEY_SEPARATOR, MailField, MailKind
from zart_redis.logs import get_logger
from zart_redis.store.replies import Mail
from zart_redis.store.store import Partition, Store

log = get_logger()


async def deliver_all(store: Store, origin: Partition, mails: Sequence[Mail]) -> None:
    """Deliver mail of a partition. What cannot be delivered now is tried again later."""
    delivered = await asyncio.gather(*(_deliver(store, mail) for mail in mails))
    if done := [mail.number for mail, is_done in zip(mails, delivered, strict=True) if is_done]:
        await origin.transitions.confirm_mail(done)


async def _deliver(store: Store, mail: Mail) -> bool:
    """Returns whether it is delivered."""
    to_child = store.partition(mail.child).transitions
    to_parent = store.partition(_parent_id(mail)).transitions
    try:
        match mail.part(MailField.KIND).decode():
            case MailKind.START:
                status = await to_child.start_child(mail)
                if status is not None:
                    await to_parent.settle_child(mail, encode_refused_child(mail.child, status))
            case MailKind.ENDED:
                await to_parent.settle_child(mail, mail.part(MailField.RECORD))
            case MailKind.CANCEL:
                await to_child.cancel_child(mail, store.settings.retention)
            case _:
                return False  # a newer version delivers it
    except ZartError as error:
        log.error("mail cannot be delivered; it is tried again", execution_id=mail.child, error=str(error))
        return False
    return True


def _parent_id(mail: Mail) -> str:
    return mail.parent.decode().split(KEY_SEPARATOR)[1]
