"""Requests of any form get what the OpenAPI document says: no other status, and no other form of an error."""

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zart_redis as zart
from tests.http.conftest import HOST
from zart_redis import http
from zart_redis.http import openapi
from zart_redis.http.routes import ROUTES
from zart_redis.http.routing import Route

WAITING = ("/wait", "/stream/{name}")
"""What may wait, for an execution that has not ended."""
KNOWN = {"execution_id": "p-1", "task_name": "elsewhere", "step": "s", "handler": "elsewhere", "action": "cancel"}

words = st.text(max_size=8) | st.sampled_from(["p-1", "p-2", "..", "30s", "-1s", "1", "true", "2030-01-01T00:00:00Z"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))


def fields_of(kind: Any) -> list[str]:
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return [field.name for field in msgspec.structs.fields(kind)] if is_struct else []


@st.composite
def requests(draw: st.DrawFn) -> tuple[Route, str, bytes]:
    """A route, a path and a query for it, and a body that is nearly right."""
    route = draw(st.sampled_from(ROUTES))
    path = route.path
    for name in route.parameters:
        value = "gone" if path.endswith(WAITING) else draw(st.just("p-1") | words)
        path = path.replace(f"{{{name}}}", quote(value.encode(errors="replace"), safe=""))
    names = st.sampled_from([*fields_of(route.query), "bogus"])
    query = draw(st.dictionaries(names, words, max_size=2))
    if route.body is None:
        return route, f"{path}?{urlencode(query, errors='replace')}", b""
    keys = fields_of(route.body)
    body = draw(st.dictionaries(st.sampled_from([*keys, "bogus"]), values, max_size=3)) if keys else draw(values)
    if isinstance(body, dict):
        body = {name: value for name, value in KNOWN.items() if name in keys} | body
    return route, f"{path}?{urlencode(query, errors='replace')}", json.dumps(body).encode()


async def send_all(url: str, namespace: str, asked: list[tuple[Route, str, bytes]]) -> None:
    document = openapi.document(ROUTES, "")
    async with zart.DurableScheduler(url, namespace=namespace) as scheduler:
        transport = httpx.ASGITransport(http.app(scheduler, auth=None, allowed_hosts=[HOST]))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            await scheduler.start("p-1", "elsewhere", if_live="return")
            await scheduler.start_recurring("p-1", "elsewhere", "r-{occurrence}", every="1d")
            for route, path, body in asked:
                headers = {"Content-Type": "application/json"} if body else {}
                response = await client.request(route.method, path, content=body, headers=headers)
                what = f"{route.method} {path} {body!r}: {response.status_code} {response.text}"
                known = document["paths"][route.path][route.method.lower()]["responses"]
                assert response.status_code in {404, *map(int, known)} - {500}, what
                if response.status_code >= 400:
                    assert response.headers["content-type"] == "application/problem+json", what
                    assert response.json()["status"] == response.status_code


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(asked=st.lists(requests(), min_size=10, max_size=40))
def test_any_request(asked: list[tuple[Route, str, bytes]], redis_url: str, namespace: str) -> None:
    asyncio.run(send_all(redis_url, namespace, asked))
