"""Batches: one action on all that a filter selects, carried out by an execution."""

from collections.abc import AsyncIterator

import httpx
import pytest

import zart_redis as zart
from tests.http.conftest import problem
from tests.support.waiting import until
from tests.support.workers import running_worker
from zart_redis.http import batches

pytestmark = pytest.mark.anyio

PATH = "/admin/v1/batches"


@pytest.fixture
async def batch_worker(scheduler: zart.DurableScheduler) -> AsyncIterator[zart.Worker]:
    """As `zart serve` runs it."""
    handlers = [batches.batch_handler(scheduler)]
    async with running_worker(scheduler, queues=[batches.QUEUE], handlers=handlers, warm=0) as worker:
        yield worker


async def ended(client: httpx.AsyncClient, location: str) -> dict[str, object]:
    """The report of a batch that has ended."""
    report: dict[str, object] = {}

    async def is_over() -> bool:
        report.update((await client.get(location)).json())
        return report["status"] in ("completed", "cancelled", "failed")

    await until(is_over)
    return report


async def start(scheduler: zart.DurableScheduler, count: int, data: int = 1) -> None:
    await scheduler.start_many([zart.StartRequest(f"p-{n:03}", "http-pay", data) for n in range(count)])


async def test_counting_and_cancelling(
    scheduler: zart.DurableScheduler, client: httpx.AsyncClient, batch_worker: zart.Worker
) -> None:
    await start(scheduler, 450)
    asked = {"filter": {"task_name": "http-pay"}, "action": "cancel", "reason": "wrong"}
    dry = await client.post(PATH, json=asked | {"dry_run": True})
    assert (dry.status_code, dry.json()) == (200, {"count": 450})
    begun = await client.post(PATH, json=asked)
    assert (begun.status_code, begun.json()["total"]) == (202, 0)
    report = await ended(client, begun.headers["location"])
    assert report == {"status": "completed", "total": 450, "done": 450, "failed": {}}
    assert (await scheduler.status("p-449")).reason == "wrong"
    batch_id = begun.headers["location"].rpartition("/")[2]
    assert (await scheduler.runs(batch_id))[0].triggered_by == "HTTP"
    assert (await client.post(f"{begun.headers['location']}/stop")).json() == {"stopped": False}


async def test_a_batch_leaves_batches_alone(
    scheduler: zart.DurableScheduler, client: httpx.AsyncClient, batch_worker: zart.Worker
) -> None:
    await start(scheduler, 3)
    begun = await client.post(PATH, json={"filter": {"created_after": "2020-01-01T00:00:00Z"}, "action": "cancel"})
    report = await ended(client, begun.headers["location"])
    assert (report["status"], report["done"], report["total"]) == ("completed", 3, 3)


async def test_retrying_and_restarting(
    scheduler: zart.DurableScheduler, client: httpx.AsyncClient, batch_worker: zart.Worker, worker: zart.Worker
) -> None:
    await start(scheduler, 3, data=-1)
    await scheduler.start("odd", "http-bare")
    for execution_id in ("p-000", "p-001", "p-002", "odd"):
        await scheduler.wait(execution_id, "10s")
    begun = await client.post(PATH, json={"filter": {"queue": "default"}, "action": "retry"})
    report = await ended(client, begun.headers["location"])
    assert (report["total"], report["done"]) == (4, 3)
    assert report["failed"] == {"odd": "execution 'odd' has no failed step: restart it"}
    begun = await client.post(PATH, json={"filter": {"id_prefix": "p-"}, "action": "restart"})
    assert (await ended(client, begun.headers["location"]))["done"] == 3
    assert (await scheduler.status("p-000")).run == 2


async def test_a_batch_of_many_runs(
    scheduler: zart.DurableScheduler,
    client: httpx.AsyncClient,
    batch_worker: zart.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "PAGES_OF_A_RUN", 1)
    monkeypatch.setattr(batches, "MAX_FAILURES", 2)
    await start(scheduler, 450)
    begun = await client.post(PATH, json={"filter": {"task_name": "http-pay"}, "action": "restart"})
    report = await ended(client, begun.headers["location"])
    assert (report["status"], report["total"], report["done"]) == ("completed", 450, 450)
    assert {(await scheduler.status(execution_id)).run for execution_id in ("p-000", "p-200", "p-449")} == {2}
    record = await scheduler.status(begun.headers["location"].rpartition("/")[2])
    assert (record.run, record.output) == (3, {"done": 450, "failed": 0})


async def test_stopping(scheduler: zart.DurableScheduler, client: httpx.AsyncClient) -> None:
    begun = await client.post(PATH, json={"filter": {"task_name": "http-pay"}, "action": "cancel"})
    location = begun.headers["location"]
    assert (await client.get(location)).json() == {"status": "scheduled", "total": 0, "done": 0, "failed": {}}
    assert (await client.post(f"{location}/stop")).json() == {"stopped": True}
    assert (await client.get(location)).json()["status"] == "cancelled"
    await start(scheduler, 1)
    for path in (f"{PATH}/p-000", f"{PATH}/gone"):
        assert problem(await client.get(path)) == (404, "execution_not_found")
        assert problem(await client.post(f"{path}/stop")) == (404, "execution_not_found")
    assert (await scheduler.status("p-000")).status == "scheduled"


@pytest.mark.parametrize(
    "asked",
    [
        {"filter": {}, "action": "cancel"},
        {"filter": {}, "action": "retry", "dry_run": True},
        {"filter": {"queue": ""}, "action": "cancel"},
        {"filter": {"status": "completed"}, "action": "cancel"},
        {"filter": {"status": "waiting"}, "action": "retry"},
        {"filter": {"queue": "q"}, "action": "restart", "reason": "why"},
        {"filter": {"queue": "q"}, "action": "purge"},
        {"filter": {"limit": 1}, "action": "cancel"},
        {"filter": {"created_after": "2030-01-01T00:00:00"}, "action": "cancel"},
    ],
)
async def test_what_is_refused(client: httpx.AsyncClient, asked: dict[str, object]) -> None:
    assert problem(await client.post(PATH, json=asked)) == (422, "invalid_input")
