"""Starting, listing, looking at, waiting for and cancelling executions over HTTP."""

import asyncio
from urllib.parse import quote

import httpx
import pytest

import zart_redis as zart
from tests.http.conftest import problem

pytestmark = pytest.mark.anyio

ODD_IDS = ["a/b", "a%2Fb", "a/detail", "?x=1#y", "é ü", "100%", "...", "a\\b", "+ ", "x" * 512, "{id}"]


def body(execution_id: str, task: str = "http-pay", **more: object) -> dict[str, object]:
    return {"execution_id": execution_id, "task_name": task, **more}


async def test_start_wait_and_look(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    started = await client.post("/api/v1/executions", json=body("p-1", data=7, tags={"shop": "a:b"}))
    assert started.status_code == 201
    assert started.headers["location"] == "/api/v1/executions/p-1"
    assert started.json() == {"execution_id": "p-1", "task_name": "http-pay", "run": 1, "started": True}

    done = await client.get("/api/v1/executions/p-1/wait")
    assert (done.status_code, done.json()["output"]) == (200, "receipt-7")
    assert done.headers["cache-control"] == "no-store"
    assert (await client.get(started.headers["location"])).json()["tags"] == {"shop": "a:b"}
    assert (await client.get("/api/v1/executions/p-1/values")).json() == {"cents": 7}

    bare = (await client.get("/api/v1/executions/p-1/detail")).json()
    assert [(step["name"], step["result"]) for step in bare["steps"]] == [("http-charge", None)]
    full = (await client.get("/api/v1/executions/p-1/detail?payloads=true&run=1")).json()
    assert (full["input"], full["output"], full["steps"][0]["result"]) == (7, "receipt-7", "receipt-7")
    after = await client.get("/api/v1/executions/p-1/detail", params={"steps_after": "http-charge"})
    assert after.json()["steps"] == []


async def test_an_id_that_is_used(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    start = body("p-1", "http-approve")
    assert (await client.post("/api/v1/executions", json=start)).status_code == 201
    again = await client.post("/api/v1/executions", json=start)
    assert problem(again) == (409, "execution_already_exists")
    assert again.headers["location"] == "/api/v1/executions/p-1"
    there = await client.post("/api/v1/executions?if_live=return", json=start)
    assert (there.status_code, there.json()["started"]) == (200, False)
    await client.post("/api/v1/executions/p-1/cancel")
    finished = await client.post("/api/v1/executions", json=start | {"if_finished": "raise"})
    assert problem(finished) == (409, "execution_already_exists")


async def test_options_of_a_start(client: httpx.AsyncClient) -> None:
    options = {"delay": "1h", "queue": "mail", "triggered_by": "me", "expires": "2099-01-01T00:00:00Z"}
    assert (await client.post("/api/v1/executions", json=body("p-1", data=1, **options))).status_code == 201
    record = (await client.get("/api/v1/executions/p-1")).json()
    assert (record["queue"], record["status"]) == ("mail", "scheduled")
    assert record["next_due"] > record["created_at"]
    (run,) = (await client.get("/admin/v1/executions/p-1/runs")).json()
    assert run["triggered_by"] == "me"


@pytest.mark.parametrize("execution_id", ODD_IDS)
async def test_an_id_may_hold_any_character(client: httpx.AsyncClient, execution_id: str) -> None:
    started = await client.post("/api/v1/executions", json=body(execution_id, data=1))
    assert started.status_code == 201
    assert (await client.get(started.headers["location"])).json()["execution_id"] == execution_id
    path = f"/api/v1/executions/{quote(execution_id, safe='')}"
    assert (await client.get(f"{path}/detail")).json()["execution_id"] == execution_id
    assert (await client.post(f"{path}/cancel")).json() == {"cancelled": True}


@pytest.mark.parametrize("execution_id", [".", ".."])
async def test_ids_that_browsers_fold_are_refused(client: httpx.AsyncClient, execution_id: str) -> None:
    assert problem(await client.post("/api/v1/executions", json=body(execution_id))) == (422, "invalid_input")


async def test_the_list(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    for number in range(5):
        tags = {"shop": "a:b", "odd": str(number % 2)}
        await client.post("/api/v1/executions", json=body(f"p-{number}", data=number, tags=tags))
    await client.get("/api/v1/executions/p-4/wait")
    first = (await client.get("/api/v1/executions?limit=3&order=oldest&task_name=http-pay")).json()
    assert [row["execution_id"] for row in first["executions"]] == ["p-0", "p-1", "p-2"]
    assert {row["input"] for row in first["executions"]} == {None}
    params = {"limit": 3, "order": "oldest", "task_name": "http-pay", "cursor": first["cursor"]}
    second = (await client.get("/api/v1/executions", params=params)).json()
    assert [row["execution_id"] for row in second["executions"]] == ["p-3", "p-4"]
    assert second["cursor"] is None
    tagged = (await client.get("/api/v1/executions?tag=shop:a:b&tag=odd:1")).json()
    assert {row["execution_id"] for row in tagged["executions"]} == {"p-1", "p-3"}
    assert (await client.get("/api/v1/executions?created_after=2099-01-01T00:00:00Z")).json()["executions"] == []
    assert len((await client.get("/api/v1/executions?status=completed&id_prefix=p-4")).json()["executions"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "status=gone", "order=up", "created_after=2030-01-01T00:00:00", "bogus=1",
        "limit=1&limit=2", "tag=x", "cursor=x", "id_prefix=%FF", "queue=%00", "task_name=" + "x" * 513,
    ],
)  # fmt: skip
async def test_a_query_that_is_invalid(client: httpx.AsyncClient, query: str) -> None:
    assert problem(await client.get(f"/api/v1/executions?{query}")) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("start", "pointer"),
    [
        ({"task_name": "t"}, "#"),
        ({"execution_id": 1, "task_name": "t"}, "#/execution_id"),
        ({"execution_id": "e", "task_name": "t", "bogus/~": 1}, "#/bogus~1~0"),
        ({"execution_id": "e", "task_name": "t", "if_live": "maybe"}, "#/if_live"),
        ([], "#"),
    ],
)
async def test_a_body_that_is_invalid(client: httpx.AsyncClient, start: object, pointer: str) -> None:
    refused = await client.post("/api/v1/executions", json=start)
    assert problem(refused) == (422, "invalid_input")
    assert refused.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "options",
    [{"delay": "-1s"}, {"delay": "soon"}, {"expires": "2030-13-01T00:00:00Z"}, {"queue": ""}, {"data": "no number"}],
)
async def test_options_that_are_invalid(client: httpx.AsyncClient, options: dict[str, object]) -> None:
    status, code = problem(await client.post("/api/v1/executions", json=body("p-1") | options))
    assert (status, code) in ((422, "invalid_input"), (422, "serialization_error"))


async def test_an_execution_that_does_not_exist(client: httpx.AsyncClient) -> None:
    for path in ("", "/detail", "/values", "/wait?timeout=1s"):
        assert problem(await client.get(f"/api/v1/executions/gone{path}")) == (404, "execution_not_found")
    for path in ("executions/gone/cancel", "events/gone/e", "messages/gone/c"):
        assert problem(await client.post(f"/api/v1/{path}")) == (404, "execution_not_found")


async def test_a_wait_that_is_not_over(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    await client.post("/api/v1/executions", json=body("p-1", "http-approve"))
    for timeout in ("0.01", "10ms"):
        waited = await client.get(f"/api/v1/executions/p-1/wait?timeout={timeout}")
        assert (waited.status_code, waited.json()["output"]) == (202, None)
    assert problem(await client.get("/api/v1/executions/p-1/wait?timeout=-1")) == (422, "invalid_input")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(client.get("/api/v1/executions/p-1/wait"))
        await asyncio.sleep(0.05)
        delivered = await client.post("/api/v1/events/p-1/approved", json="yes")
    assert delivered.json()["delivery"] in ("delivered", "buffered")
    assert (waiting.result().status_code, waiting.result().json()["output"]) == (200, "yes")
    assert problem(await client.post("/api/v1/events/p-1/approved", json="no")) == (409, "execution_finished")


async def test_a_message_is_sent_once(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    await client.post("/api/v1/executions", json=body("p-1", "http-receive"))
    for _ in range(2):
        sent = await client.post("/api/v1/messages/p-1/orders?message_id=m", json="order")
        assert sent.json() == {"delivery": "sent"}
    assert (await client.get("/api/v1/executions/p-1/wait")).json()["output"] == "order"


async def test_cancel(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/executions", json=body("p-1", data=1))
    assert (await client.post("/api/v1/executions/p-1/cancel", json={"reason": "wrong"})).json() == {"cancelled": True}
    assert (await client.get("/api/v1/executions/p-1")).json()["reason"] == "wrong"
    assert (await client.post("/api/v1/executions/p-1/cancel", json={})).json() == {"cancelled": False}
    assert problem(await client.post("/api/v1/executions/p-1/cancel", json={"why": 1})) == (422, "invalid_input")


async def test_counts_queues_and_workers(client: httpx.AsyncClient, worker: zart.Worker) -> None:
    await client.post("/api/v1/executions", json=body("p-1", data=1, queue="mail"))
    assert (await client.get("/api/v1/stats")).json()["by_status"]["scheduled"] == 1
    assert {row["name"] for row in (await client.get("/api/v1/queues")).json()} == {"default", "mail"}
    (running,) = (await client.get("/api/v1/workers")).json()["workers"]
    assert running["queues"] == ["default"]
