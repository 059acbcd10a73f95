"""What every request goes through: hosts, sites, tokens and scopes, bodies, methods, prefixes, headers."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import zart_redis as zart
from tests.http.conftest import HOST, ClientOf, TokenOf, problem
from zart_redis import http
from zart_redis.client.tokens import Scope, Tokens
from zart_redis.http.routes import ROUTES

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["evil.test", "localhost", f"{HOST}.evil.test", f"x{HOST}"])
async def test_a_host_that_is_not_allowed(app: http.Application, client_of: ClientOf, host: str) -> None:
    for path in ("/", "/healthz", "/api/v1/stats", "/gone"):
        assert problem(await client_of(app, host=host).get(path)) == (400, "host_not_allowed")


async def test_allowed_hosts(app: http.Application, client_of: ClientOf, scheduler: zart.DurableScheduler) -> None:
    assert (await client_of(app, host=f"{HOST.upper()}:8400").get("/healthz")).status_code == 200
    local = http.app(scheduler, auth=None)
    for host in ("localhost:1", "127.0.0.1", "[::1]:8400", "[::1]"):
        assert (await client_of(local, host=host).get("/healthz")).status_code == 200
    no_host = {"type": "http", "method": "GET", "path": "/healthz", "headers": [], "query_string": b""}
    assert (await _reply(local, no_host))[0]["status"] == 400
    with pytest.raises(zart.ConfigurationError, match="allowed_hosts is a list"):
        http.app(scheduler, allowed_hosts="localhost")
    with pytest.raises(zart.ConfigurationError, match="auth is"):
        http.app(scheduler, auth="none")  # type: ignore[arg-type]


async def _reply(application: http.Application, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"},
        {"Origin": "https://evil.test"}, {"Origin": f"http://{HOST}:1"}, {"Origin": f"file://{HOST}"}, {"Origin": "http://["},
    ],
)  # fmt: skip
async def test_requests_of_other_sites_are_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    for method, path in (("POST", "/api/v1/executions/x/cancel"), ("GET", "/api/v1/stats")):
        assert problem(await client.request(method, path, headers=headers)) == (403, "cross_site")


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin", "Origin": f"http://{HOST}"}, {"Origin": f"https://{HOST}:443"}, {}],
)
async def test_requests_of_the_page_are_allowed(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await client.get("/api/v1/stats", headers=headers)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_token_is_needed(guarded: http.Application, client_of: ClientOf, token_of: TokenOf) -> None:
    token = await token_of(Scope.READ)
    for headers in ({}, {"Authorization": f"Bearer {token}x"}, {"Authorization": f"Basic {token}"}):
        refused = await client_of(guarded).get("/api/v1/stats", headers=headers)
        assert problem(refused) == (401, "unauthenticated")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert (await client_of(guarded, token=token).get("/api/v1/stats")).status_code == 200
    for path in ("/healthz", "/readyz", "/openapi.json", "/", "/executions/x"):
        assert (await client_of(guarded).get(path)).status_code == 200


@pytest.mark.parametrize("held", Scope)
async def test_every_route_in_every_role(
    guarded: http.Application, client_of: ClientOf, token_of: TokenOf, held: Scope
) -> None:
    client = client_of(guarded, token=await token_of(held))
    for route in ROUTES:
        if route.scope is None:
            continue
        path = re.sub(r"{\w+}", "x", route.path)
        response = await client.request(route.method, path)
        if route.scope is held:
            assert response.status_code not in (401, 403, 500), f"{route.method} {path}"
        else:
            assert problem(response) == (403, "forbidden"), f"{route.method} {path}"
        assert problem(await client_of(guarded).request(route.method, path))[0] == 401


async def test_a_token_that_was_removed(
    guarded: http.Application, client_of: ClientOf, scheduler: zart.DurableScheduler
) -> None:
    tokens = Tokens(scheduler)
    added = await tokens.add("ci", [Scope.READ, "payloads"])
    assert added.token not in repr(added)
    with pytest.raises(zart.InvalidInput, match="there is a token 'ci'"):
        await tokens.add("ci", [Scope.READ])
    for scopes in ([], ["all"]):
        with pytest.raises(zart.InvalidInput, match="scope"):
            await tokens.add("other", scopes)
    assert [(token.name, token.scopes) for token in await tokens.list()] == [("ci", (Scope.READ, Scope.PAYLOADS))]
    client = client_of(guarded, token=added.token)
    assert (await client.get("/api/v1/stats")).status_code == 200
    assert await tokens.remove("ci")
    assert not await tokens.remove("ci")
    assert problem(await client.get("/api/v1/stats")) == (401, "unauthenticated")


async def test_redis_holds_no_token(scheduler: zart.DurableScheduler, raw: Any, token_of: TokenOf) -> None:
    token = await token_of(Scope.READ)
    for key in raw.scan_iter():
        kind = raw.type(key)
        stored = raw.hgetall(key) if kind == b"hash" else b""
        assert token not in str(stored)
        assert token.removeprefix("zart_") not in str(stored)


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b"{", {"Content-Type": "application/json"}, (400, "malformed_json")),
        (b'"\xff"', {"Content-Type": "application/json"}, (400, "malformed_json")),
        (b"[" * 100_000, {"Content-Type": "application/json"}, (400, "malformed_json")),
        (b"", {"Content-Type": "application/json"}, (400, "malformed_json")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
        (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, (415, "unsupported_media_type")),
        (b"{}", {}, (415, "unsupported_media_type")),
        (b" " * 4_000_000, {"Content-Type": "application/json"}, (413, "payload_too_large")),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_body_that_cannot_be_read(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert problem(await client.post("/api/v1/executions", content=content, headers=headers)) == expected


async def test_a_body_without_a_length_that_is_too_large(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 100_000

    headers = {"Content-Type": "application/json"}
    refused = await client.post("/api/v1/events/x/y", content=endless(), headers=headers)
    assert problem(refused) == (413, "payload_too_large")


async def test_a_payload_that_is_too_large(client: httpx.AsyncClient) -> None:
    start = {"execution_id": "p", "task_name": "elsewhere", "data": "x" * 1_100_000}
    assert problem(await client.post("/api/v1/executions", json=start)) == (413, "payload_too_large")


async def test_routes_and_methods_that_do_not_exist(client: httpx.AsyncClient) -> None:
    for path in ("/api", "/api/v1/executions/", "/api/v2/stats", "/gone", "/static/../app.py", "/static/%2e%2e/x"):
        assert problem(await client.get(path)) == (404, "not_found")
    refused = await client.delete("/api/v1/executions")
    assert problem(refused) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert problem(await client.get("/api/v1/executions/%FF")) == (422, "invalid_input")
    headed = await client.head("/api/v1/stats")
    assert (headed.status_code, headed.content) == (200, b"")


async def test_an_unexpected_error_shows_nothing(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(zart.DurableScheduler, "stats", broken)
    failed = await client.get("/api/v1/stats")
    assert problem(failed) == (500, "internal_error")
    assert "secret" not in failed.text


@pytest.mark.parametrize("prefix", ["/zart", "/a/b c"])
async def test_under_a_prefix(app: http.Application, prefix: str) -> None:
    outer = Starlette(routes=[Mount(prefix, app)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url=f"http://{HOST}") as client:
        start = {"execution_id": "a/b", "task_name": "elsewhere"}
        started = await client.post(f"{prefix}/api/v1/executions", json=start)
        quoted = prefix.replace(" ", "%20")
        assert started.headers["location"] == f"{quoted}/api/v1/executions/a%2Fb"
        assert (await client.get(started.headers["location"])).json()["execution_id"] == "a/b"
        assert (await client.get(f"{prefix}/openapi.json")).json()["servers"] == [{"url": quoted}]
        page = await client.get(f"{prefix}/")
        assert f'"{quoted}/' in page.text
        assert "{base}" not in page.text


async def test_the_page_and_its_headers(client: httpx.AsyncClient) -> None:
    for path in ("/", "/executions/a%2Fb", "/queues", "/workers", "/recurring", "/limits"):
        page = await client.get(path)
        assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "'none'" in (await client.get("/api/v1/stats")).headers["content-security-policy"]
    cached = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert cached.status_code == 304
    assert (await client.get("/static/index.html")).status_code == 200


async def test_redis_away(app: http.Application, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: object) -> None:
        raise zart.RedisUnavailable("no reply from redis://user:password@host")

    monkeypatch.setattr(zart.DurableScheduler, "workers", away)
    assert (await client.get("/healthz")).status_code == 200
    refused = await client.get("/readyz")
    assert problem(refused) == (503, "redis_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert "password" not in refused.text


async def test_payloads_are_for_their_scope(
    scheduler: zart.DurableScheduler,
    worker: zart.Worker,
    guarded: http.Application,
    client_of: ClientOf,
    token_of: TokenOf,
) -> None:
    await scheduler.start("p-1", "http-refuse", -7)
    await scheduler.wait("p-1", "10s")
    plain = client_of(guarded, token=await token_of(Scope.READ))
    full = client_of(guarded, token=await token_of(Scope.READ, Scope.PAYLOADS))
    for path in ("p-1", "p-1/detail?payloads=true", "p-1/wait"):
        assert "secret--7" not in (await plain.get(f"/api/v1/executions/{path}")).text
        assert "secret--7" in (await full.get(f"/api/v1/executions/{path}")).text
    found = (await full.get("/api/v1/executions/p-1/detail")).json()
    assert found["attempts"][0]["error"] and found["steps"][0]["attempts"][0]["error"]  # noqa: PT018 - all are there
    record = (await plain.get("/api/v1/executions/p-1")).json()
    assert (record["status"], record["input"], record["error"]) == ("failed", None, None)
    assert (await plain.get("/api/v1/executions/p-1/values")).json() == {"cents": None}
    assert (await full.get("/api/v1/executions/p-1/values")).json() == {"cents": -7}
    runs = "/admin/v1/executions/p-1/runs"
    assert "secret--7" not in (await plain.get(runs)).text
    assert "secret--7" in (await full.get(runs)).text


def references(value: Any) -> set[str]:
    return set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(value)))


async def test_the_description(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    assert described["openapi"] == "3.1.0"
    assert {(path, method.upper()) for path, item in described["paths"].items() for method in item} == {
        (route.path, route.method) for route in ROUTES
    }
    assert references(described) <= described["components"]["schemas"].keys()
    start = described["paths"]["/api/v1/executions"]["post"]
    assert start["security"] == [{"token": ["start"]}]
    assert "execution_already_exists" in start["responses"]["409"]["description"]
    assert {parameter["name"] for parameter in start["parameters"]} == {"if_live", "if_finished"}
    ids = [operation["operationId"] for item in described["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
