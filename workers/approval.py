"""Approval: asks a person, and waits for the decision, however long it takes.

zart start approval --id holiday-7 --data '{"subject": "Holiday in May", "approver": "ben", "patience": "2d"}'
zart event holiday-7 decision --payload '{"approved": true, "by": "ben"}'
zart wait holiday-7
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import zart_redis as zart


@dataclass
class Request:
    subject: str
    approver: str
    patience: str = "7d"


@dataclass
class Decision:
    """The payload of the event "decision"."""

    approved: bool
    by: str
    comment: str = ""


@dataclass
class Outcome:
    state: Literal["approved", "rejected", "expired"]
    by: str | None = None
    comment: str = ""


@zart.zart_step("ask-approver", retry="exponential(5, 1s)")
async def ask(request: Request) -> None:
    """Put the question to the approver. A real one sends a mail with a link that delivers the event."""
    logging.getLogger(__name__).info("%s is asked to approve: %s", request.approver, request.subject)


@zart.zart_durable("approval")
async def approval(request: Request) -> Outcome:
    """Holds no worker while it waits."""
    await ask(request)
    try:
        decision = await zart.wait_for_event("decision", request.patience, type=Decision)
    except zart.DeadlineExceeded:
        return Outcome("expired")
    return Outcome("approved" if decision.approved else "rejected", decision.by, decision.comment)
