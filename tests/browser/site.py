"""A dashboard with something to show: a server, a client and a worker, in an event loop in a thread."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

import zart_redis as zart
from tests.support.workers import running_worker
from zart_redis import http
from zart_redis.http import batches

T = TypeVar("T")

SECONDS = 30.0
QUEUES = ["default", batches.QUEUE]


class Site:
    """`zart_redis.http.app` as a user mounts it, and a worker that runs the given handlers."""

    def __init__(
        self,
        redis_url: str,
        namespace: str,
        handlers: list[Any],
        *,
        prefix: str = "",
        auth: Literal["tokens"] | None = None,
    ) -> None:
        self._settings = redis_url, namespace, handlers
        self._prefix = prefix
        self._auth: Literal["tokens"] | None = auth
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site")
        self._stack = AsyncExitStack()
        self._server: tuple[uvicorn.Server, asyncio.Task[None]] | None = None
        self.port = 0
        self.scheduler: zart.DurableScheduler

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self._prefix}"

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs in the loop of the site."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        redis_url, namespace, handlers = self._settings
        self.scheduler = await self._stack.enter_async_context(zart.DurableScheduler(redis_url, namespace=namespace))
        if handlers:
            options = {"handlers": [*handlers, batches.batch_handler(self.scheduler)], "queues": QUEUES}
            worker = await self._stack.enter_async_context(running_worker(self.scheduler, **options))
            task = asyncio.create_task(worker.run())
            self._stack.push_async_callback(self._end_worker, worker, task)
        await self.start_server()

    async def _end_worker(self, worker: zart.Worker, task: "asyncio.Task[None]") -> None:
        worker.stop()
        await task

    async def start_server(self) -> None:
        """Serve on the port that was served before, else on a free one."""
        app: Any = http.app(self.scheduler, auth=self._auth)
        if self._prefix:
            app = Starlette(routes=[Mount(self._prefix, app)])
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        self._server = server, asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)

    async def stop_server(self) -> None:
        assert self._server is not None
        server, task = self._server
        server.should_exit = True
        await task
        self._server = None

    async def _close(self) -> None:
        if self._server is not None:
            await self.stop_server()
        await self._stack.aclose()
