"""Streams as server-sent events, from a server on a port of this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

import zart_redis as zart
from tests.http.conftest import TokenOf, problem
from tests.http.events import Event, opened
from tests.support.waiting import until
from zart_redis import http
from zart_redis.client.tokens import Scope, Tokens
from zart_redis.http import streams
from zart_redis.http.server import Server

pytestmark = pytest.mark.anyio

PATH = "/api/v1/executions/c-1/stream/answer"

Serve = Callable[[http.Application], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def served() -> AsyncIterator[Serve]:
    """Serves applications, and returns a client of each."""
    async with AsyncExitStack() as stack:

        async def serve(application: http.Application) -> httpx.AsyncClient:
            server = Server(application, "127.0.0.1", 0)
            running = asyncio.ensure_future(server.run())

            async def stop() -> None:
                server.stop()
                await asyncio.wait_for(running, 5)

            stack.push_async_callback(stop)
            limits = httpx.Limits(max_connections=None)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", limits=limits, timeout=20)
            return await stack.enter_async_context(client)

        yield serve


@pytest.fixture
async def client(scheduler: zart.DurableScheduler, served: Serve) -> httpx.AsyncClient:
    return await served(http.app(scheduler, auth=None))


def texts(events: list[Event]) -> list[object]:
    return [event.data["value"] if event.kind == "message" else event.kind for event in events]


async def test_a_stream_to_its_end(
    scheduler: zart.DurableScheduler, worker: zart.Worker, client: httpx.AsyncClient
) -> None:
    await scheduler.start("c-1", "http-chat")
    async with opened(client, PATH) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        first = await stream.until("restarted")
        assert texts(first) == ["hello\nworld", "restarted"]
        assert first[0].data.keys() == {"value", "run", "step", "attempt", "at"}
        assert first[1].data == {"step": "http-tokens", "attempt": 1}
        assert first[1].id == ""
        await scheduler.offer_event("c-1", "end")
        rest = await stream.until("end")
    assert texts(rest) == ["hello\nworld", "done", "bye", "end"]
    assert rest[-1].data == {"status": "completed", "run": 1}

    async with opened(client, PATH, after=rest[1].id) as stream:
        again = await stream.until("end")
    assert texts(again) == ["bye", "end"]
    assert again[-1].id == rest[-1].id
    async with opened(client, PATH, after=rest[-1].id) as stream:
        assert (stream.response.status_code, await stream.response.aread()) == (204, b"")

    await scheduler.restart("c-1")
    await scheduler.offer_event("c-1", "end")
    async with opened(client, PATH, after=rest[-1].id) as stream:
        of_next_run = await stream.until("end")
    assert {event.data["run"] for event in of_next_run if event.kind != "restarted"} == {2}


async def test_items_that_are_no_longer_kept(
    scheduler: zart.DurableScheduler, worker: zart.Worker, client: httpx.AsyncClient
) -> None:
    await scheduler.start("c-1", "http-chat")
    await scheduler.offer_event("c-1", "end")
    await scheduler.wait("c-1", "10s")
    async with opened(client, PATH, after="1-0") as stream:
        assert texts(await stream.until("end"))[0] == "truncated"


@pytest.mark.parametrize("after", ["x", "end:x:1-1", "end:1:x", "end:", "1-1:end"])
async def test_a_position_that_is_invalid(
    scheduler: zart.DurableScheduler, client: httpx.AsyncClient, after: str
) -> None:
    await scheduler.start("c-1", "http-chat")
    assert problem(await client.get(PATH, headers={"Last-Event-ID": after})) == (422, "invalid_input")


async def test_a_stream_that_does_not_exist(client: httpx.AsyncClient) -> None:
    assert problem(await client.get(PATH)) == (404, "execution_not_found")


async def test_without_the_scope_there_are_no_values(
    scheduler: zart.DurableScheduler, worker: zart.Worker, served: Serve, token_of: TokenOf
) -> None:
    client = await served(http.app(scheduler))
    client.headers["Authorization"] = f"Bearer {await token_of(Scope.READ)}"
    await scheduler.start("c-1", "http-chat")
    async with opened(client, PATH) as stream:
        assert (await stream.until("message"))[0].data["value"] is None


async def test_a_silent_stream_sends_comments_and_ends_with_its_token(
    scheduler: zart.DurableScheduler, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "COMMENT_SECONDS", 0.02)
    monkeypatch.setattr(streams, "CHECK_SECONDS", 0.1)
    client = await served(http.app(scheduler))
    client.headers["Authorization"] = f"Bearer {(await Tokens(scheduler).add('t', [Scope.READ])).token}"
    await scheduler.start("c-1", "http-chat")
    async with opened(client, PATH) as stream:
        removing = asyncio.get_running_loop().call_later(
            0.3, lambda: tasks.append(asyncio.ensure_future(Tokens(scheduler).remove("t")))
        )
        tasks: list[asyncio.Task[bool]] = []
        assert [event async for event in stream] == []
        assert stream.comments > 5
        removing.cancel()


async def test_many_streams_are_open_and_closed_when_clients_leave(
    scheduler: zart.DurableScheduler, worker: zart.Worker, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = http.app(scheduler, auth=None)
    client = await served(application)
    await scheduler.start("c-1", "http-chat")
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(opened(client, PATH)) for _ in range(300)]
        assert application.waiting == 300
        monkeypatch.setattr("zart_redis.http.serving.MAX_WAITING", 300)
        refused = await client.get(PATH)
        assert problem(refused) == (503, "overloaded")
        assert (await client.get("/api/v1/stats")).status_code == 200
        await scheduler.offer_event("c-1", "end")
        for events in await asyncio.gather(*(follower.until("end") for follower in followers[:150])):
            assert texts(events)[-2:] == ["bye", "end"]
    await until(lambda: application.waiting == 0)


async def test_a_client_that_leaves_frees_its_place(scheduler: zart.DurableScheduler, served: Serve) -> None:
    application = http.app(scheduler, auth=None)
    client = await served(application)
    await scheduler.start("c-1", "http-chat")
    async with opened(client, PATH):
        assert application.waiting == 1
    await until(lambda: application.waiting == 0)
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/api/v1/executions/c-1/wait?timeout=60s", timeout=0.2)
    await until(lambda: application.waiting == 0)
