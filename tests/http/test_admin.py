"""What operators do over HTTP: repair, pause rules, recurring executions, limits, the doctor."""

import httpx
import pytest
import redis

import zart_redis as zart
from tests.http.conftest import ClientOf, TokenOf, problem
from zart_redis import http
from zart_redis.client.tokens import Scope

pytestmark = pytest.mark.anyio

ONE = "/admin/v1/executions/p-1"
RECURRING = "/admin/v1/recurring/a%2Fb"


async def test_retry_restart_and_rerun(
    scheduler: zart.DurableScheduler, worker: zart.Worker, client: httpx.AsyncClient
) -> None:
    await scheduler.start("p-1", "http-pay", -1)
    await scheduler.wait("p-1", "10s")
    retried = await client.post(f"{ONE}/retry-step", json={"step": "http-charge"})
    assert retried.json() == {"execution_id": "p-1", "step": "http-charge"}
    await scheduler.wait("p-1", "10s")
    assert problem(await client.post(f"{ONE}/retry-step", json={"step": "gone"})) == (422, "invalid_input")
    restarted = await client.post(f"{ONE}/restart", json={"data": 5})
    assert restarted.json() == {"execution_id": "p-1", "run": 2}
    assert (await scheduler.wait("p-1", "10s")).output == "receipt-5"
    assert problem(await client.post(f"{ONE}/retry-step", json={"step": "http-charge"})) == (409, "execution_finished")
    rerun = (await client.post(f"{ONE}/rerun", json={"rerun": ["http-*"]})).json()
    assert (rerun["run"], rerun["rerun"]) == (3, ["http-charge"])
    await scheduler.wait("p-1", "10s")
    assert (await client.post(f"{ONE}/restart")).json()["run"] == 4
    assert (await scheduler.wait("p-1", "10s")).input == 5
    runs = (await client.get(f"{ONE}/runs")).json()
    assert [run["trigger"] for run in runs] == ["retry_step", "restart", "rerun", "restart"]
    assert runs[1]["triggered_by"] == "HTTP"
    for action, body in (("retry-step", {"step": "s"}), ("restart", {}), ("rerun", {})):
        missing = await client.post(f"/admin/v1/executions/gone/{action}", json=body)
        assert problem(missing) == (404, "execution_not_found")


async def test_pause_rules(client: httpx.AsyncClient) -> None:
    conditions = {"task_name": "http-pay", "step_pattern": "http-*"}
    rule = (await client.post("/admin/v1/pause-rules", json=conditions | {"extend_deadlines": True})).json()
    assert (rule["task_name"], rule["extend_deadlines"]) == ("http-pay", True)
    assert [row["rule_id"] for row in (await client.get("/admin/v1/pause-rules")).json()] == [rule["rule_id"]]
    other = await client.delete("/admin/v1/pause-rules", params={"task_name": "http-pay"})
    assert other.json() == {"resumed": False}
    assert (await client.delete("/admin/v1/pause-rules", params=conditions)).json() == {"resumed": True}
    assert (await client.get("/admin/v1/pause-rules")).json() == []
    assert problem(await client.delete("/admin/v1/pause-rules?task=x")) == (422, "invalid_input")


async def test_recurring_executions(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    schedule = {"handler": "http-pay", "id_template": "r-{occurrence}", "every": "1d", "data": 3, "tags": {"k": "v"}}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/trigger")):
        assert problem(await client.request(method, RECURRING + path)) == (404, "recurring_not_found")
    made = (await client.put(RECURRING, json=schedule)).json()
    assert (made["recurring_id"], made["every"], made["data"]) == ("a/b", 86400.0, 3)
    assert (await client.get("/admin/v1/recurring")).json() == [(await client.get(RECURRING)).json()]
    assert (await client.post(f"{RECURRING}/pause")).json()["paused"] is True
    assert (await client.post(f"{RECURRING}/trigger")).json() == {"recurring_id": "a/b", "execution_id": "r-0"}
    assert (await client.get("/api/v1/executions/r-0/wait")).json()["output"] == "receipt-3"
    assert (await client.post(f"{RECURRING}/resume")).json()["paused"] is False
    assert (await client.delete(RECURRING)).status_code == 204
    assert (await client.get("/admin/v1/recurring")).json() == []
    assert problem(await client.put(RECURRING, json=schedule | {"every": None})) == (422, "invalid_input")
    assert problem(await client.put(RECURRING, json=schedule | {"start_at": "2030-01-01T00:00:00"}))[0] == 422


async def test_limits(client: httpx.AsyncClient) -> None:
    limit = "/admin/v1/limits/tenant"
    assert (await client.put(limit, json={"concurrency": 2, "rate": "5/1m"})).json() == {"name": "tenant", "key": None}
    assert (await client.put(limit, json={"concurrency": 0, "key": "acme"})).json() == {"name": "tenant", "key": "acme"}
    found = {row["key"]: row for row in (await client.get("/admin/v1/limits")).json()}
    assert (found[None]["concurrency"], found[None]["rate"], found["acme"]["concurrency"]) == (2, "5/1m", 0)
    assert (await client.delete(f"{limit}?key=acme")).json() == {"reset": True}
    assert (await client.delete(f"{limit}?key=acme")).json() == {"reset": False}
    for body in ({}, {"concurrency": -1}, {"rate": "often"}, {"concurrency": "2"}):
        assert problem(await client.put(limit, json=body)) == (422, "invalid_input")


async def test_the_doctor(
    client: httpx.AsyncClient, scheduler: zart.DurableScheduler, raw: redis.Redis, prefix: str
) -> None:
    assert (await client.get("/admin/v1/doctor")).json() == []
    raw.hset(f"{prefix}r:gone:1", "step", "v")
    (finding,) = (await client.get("/admin/v1/doctor")).json()
    assert finding["problem"] == "orphan"
    assert len((await client.post("/admin/v1/doctor", json={"repair": True})).json()) == 1
    assert (await client.get("/admin/v1/doctor")).json() == []


async def test_who_did_it_is_in_the_history_and_payloads_are_not(
    scheduler: zart.DurableScheduler, guarded: http.Application, client_of: ClientOf, token_of: TokenOf
) -> None:
    client = client_of(guarded, token=await token_of(Scope.READ, Scope.OPERATE))
    await scheduler.start("p-1", "http-pay", 1)
    await client.post(f"{ONE}/restart")
    assert (await client.get(f"{ONE}/runs")).json()[-1]["triggered_by"] == "token-0 (HTTP)"
    schedule = {"handler": "http-pay", "id_template": "r-{occurrence}", "every": "1d", "data": 3}
    assert (await client.put(RECURRING, json=schedule)).json()["data"] is None
    assert (await client.get("/admin/v1/recurring")).json()[0]["data"] is None
