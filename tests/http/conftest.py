"""The application over a real Redis: in this process, without tokens or with one of each scope."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

import zart_redis as zart
from tests.http import handlers as handlers  # declares them
from tests.support.servers import RedisProcess, default_server
from zart_redis import http
from zart_redis.client.tokens import Scope, Tokens

HOST = "zart.test"

ClientOf = Callable[..., httpx.AsyncClient]
TokenOf = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """One server: the API knows nothing of its version."""
    with RedisProcess(default_server()) as server:
        yield server


@pytest.fixture
def app(scheduler: zart.DurableScheduler) -> http.Application:
    return http.app(scheduler, auth=None, allowed_hosts=[HOST])


@pytest.fixture
def guarded(scheduler: zart.DurableScheduler) -> http.Application:
    return http.app(scheduler, allowed_hosts=[HOST])


@pytest.fixture
async def client_of() -> AsyncIterator[ClientOf]:
    """Makes clients of an application."""
    async with AsyncExitStack() as stack:

        def make(application: http.Application, *, token: str = "", host: str = HOST) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            transport = httpx.ASGITransport(application)
            client = httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def client(app: http.Application, client_of: ClientOf) -> httpx.AsyncClient:
    """A client of an application without tokens."""
    return client_of(app)


@pytest.fixture
def token_of(scheduler: zart.DurableScheduler) -> TokenOf:
    """Makes tokens."""
    tokens = Tokens(scheduler)
    count = iter(range(100))

    async def make(*scopes: Scope) -> str:
        return (await tokens.add(f"token-{next(count)}", scopes)).token

    return make


def problem(response: httpx.Response) -> tuple[int, str]:
    """The status and the code of a response that must be a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = response.json()
    assert document["status"] == response.status_code
    assert {"type", "title", "detail", "code"} <= document.keys()
    return response.status_code, document["code"]
