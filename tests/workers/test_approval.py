"""Approval by a person: yes, no, and no answer."""

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from workers.approval import Outcome, Request, approval

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("approved", "state"), [(True, "approved"), (False, "rejected")])
async def test_decision(scheduler: zart.DurableScheduler, approved: bool, state: str) -> None:
    await scheduler.start_for(approval, "a-1", Request("Holiday", "ben"))
    await scheduler.offer_event("a-1", "decision", {"approved": approved, "by": "ben"})
    outcome = await scheduler.wait_for(approval, "a-1", SOON)
    assert (outcome.state, outcome.by) == (state, "ben")


async def test_nobody_decides(scheduler: zart.DurableScheduler) -> None:
    outcome = await scheduler.start_and_wait_for(approval, "a-1", Request("Holiday", "ben", patience="20ms"), SOON)
    assert outcome == Outcome("expired")
