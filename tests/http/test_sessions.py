"""Logging in to the page, and out of it."""

import httpx
import pytest
import redis
from starlette.applications import Starlette
from starlette.routing import Mount

import zart_redis as zart
from tests.http.conftest import HOST, ClientOf, TokenOf, problem
from zart_redis import http
from zart_redis.client.tokens import Scope, Tokens

pytestmark = pytest.mark.anyio


async def test_a_session(guarded: http.Application, client_of: ClientOf, token_of: TokenOf, raw: redis.Redis) -> None:
    client, token = client_of(guarded), await token_of(Scope.READ)
    assert problem(await client.get("/api/v1/stats")) == (401, "unauthenticated")
    page = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
    logged_in = await client.post("/login", json={"token": token}, headers=page)
    assert logged_in.json() == {"name": "token-0", "scopes": ["read"]}
    cookie = logged_in.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Path=/;", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie
    secret = client.cookies["zart_session"]
    assert not any(secret.encode() in key for key in raw.scan_iter())
    assert (await client.get("/api/v1/stats")).status_code == 200
    assert problem(await client.post("/api/v1/executions/x/cancel")) == (403, "forbidden")

    logged_out = await client.post("/logout")
    assert logged_out.status_code == 204
    client.cookies.set("zart_session", secret)
    assert problem(await client.get("/api/v1/stats")) == (401, "unauthenticated")


async def test_a_session_ends_with_its_token(
    guarded: http.Application, client_of: ClientOf, scheduler: zart.DurableScheduler
) -> None:
    tokens, client = Tokens(scheduler), client_of(guarded)
    await client.post("/login", json={"token": (await tokens.add("me", [Scope.READ])).token})
    assert (await client.get("/api/v1/stats")).status_code == 200
    await tokens.remove("me")
    assert problem(await client.get("/api/v1/stats")) == (401, "unauthenticated")
    await tokens.add("me", [Scope.READ])
    assert problem(await client.get("/api/v1/stats")) == (401, "unauthenticated")


async def test_cookies_of_other_applications(guarded: http.Application, client_of: ClientOf, token_of: TokenOf) -> None:
    client = client_of(guarded)
    await client.post("/login", json={"token": await token_of(Scope.READ)})
    cookies = f'other={{"a": [1]}}; bad name=é; =; zart_session={client.cookies["zart_session"]}'
    client.cookies.clear()
    assert (await client.get("/api/v1/stats", headers={b"Cookie": cookies.encode()})).status_code == 200


async def test_a_session_is_limited_in_time(
    guarded: http.Application, client_of: ClientOf, token_of: TokenOf, raw: redis.Redis, prefix: str
) -> None:
    await client_of(guarded).post("/login", json={"token": await token_of(Scope.READ)})
    (key,) = raw.scan_iter(f"{prefix}session:*")
    assert 43_100 < raw.ttl(key) <= 43_200


async def test_a_login_that_is_refused(guarded: http.Application, client_of: ClientOf, token_of: TokenOf) -> None:
    client, token = client_of(guarded), await token_of(Scope.READ)
    assert problem(await client.post("/login", json={"token": "x"})) == (401, "unauthenticated")
    assert problem(await client.post("/login", json={})) == (422, "invalid_input")
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert problem(await client.post("/login", json={"token": token}, headers=headers)) == (403, "cross_site")
    form = await client.post("/login", data={"token": token})
    assert problem(form) == (415, "unsupported_media_type")
    assert not client.cookies


async def test_the_cookie_of_a_mounted_application_over_tls(guarded: http.Application, token_of: TokenOf) -> None:
    outer = Starlette(routes=[Mount("/zart", guarded)])
    transport = httpx.ASGITransport(outer)
    token = await token_of(Scope.READ)
    for base, headers in ((f"https://{HOST}", {}), (f"http://{HOST}", {"Origin": f"https://{HOST}"})):
        async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
            cookie = (await client.post("/zart/login", json={"token": token})).headers["set-cookie"]
        assert "Path=/zart;" in cookie
        assert cookie.endswith("Secure")
