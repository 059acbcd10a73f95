"""What people are told of an execution whose worker has died."""

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from tests.support.workers import running_worker
from zart_redis import zart_durable
from zart_redis.layout import Cause
from zart_redis.settings import Settings
from zart_redis.store.replies import Death
from zart_redis.store.store import Store

pytestmark = pytest.mark.anyio


@zart_durable("suspected")
async def suspected() -> int:
    return 7


async def test_a_suspect_says_why_it_waits(scheduler: zart.DurableScheduler, redis_url: str, namespace: str) -> None:
    await scheduler.start_for(suspected, "s")
    async with Store(Settings.load(redis_url=redis_url, namespace=namespace), patience=1) as store:
        transitions = store.partitions[0].transitions
        assert len(await transitions.claim("the-dead", 1, ["default"])) == 1
        crash = Death(Cause.CRASH, "killed by SIGSEGV")
        assert await transitions.reclaim("the-dead", 10, crash, 5, 0) == (False, 1)
    waits = "a quarantine process, since its worker died: killed by SIGSEGV"
    assert (await scheduler.status("s")).waiting_for == (waits,)
    async with running_worker(scheduler):
        assert await scheduler.wait_for(suspected, "s", SOON) == 7
    assert (await scheduler.status("s")).waiting_for == ()
