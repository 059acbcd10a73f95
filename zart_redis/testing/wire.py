"""Intercepts the commands that a simulated process sends to Redis, so that it can be killed at any of them.

Each command passes twice: before it is sent, and after Redis has executed it but before the reply is read. Not counted
are the handshake of a new connection, subscriptions, and heartbeats, which depend on time and not on work.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from redis.exceptions import NoScriptError

from zart_redis.client.connection import PATIENCE_SECONDS
from zart_redis.client.scheduler import DurableScheduler
from zart_redis.engine.context import WorkerContext
from zart_redis.engine.observer import BodyPass, Observer, PassEnd, PassInterrupted
from zart_redis.registry import StepDefinition
from zart_redis.store.connections import Connections
from zart_redis.store.lua import BY_SHA
from zart_redis.store.sockets import Reader
from zart_redis.store.store import Store
from zart_redis.testing.process import Process
from zart_redis.worker.worker import Worker

Watch = Callable[[int, str, bool], None]
"""Called with the number of a command of this process, the command or script, and whether Redis has executed it."""


class Wire:
    """All connections of one process."""

    def __init__(self, process: Process, watch: Watch | None = None) -> None:
        self.process = process
        self.watch = watch
        self._sent = 0
        self._connections: list[WiredConnections] = []

    async def open(self, url: str, **options: Any) -> WiredConnections:
        connections = await WiredConnections.open(url, **options)
        connections.wire = self
        self._connections.append(connections)
        return connections

    async def before(self, command: Sequence[Any] = ()) -> int:
        """Returns the number of the command, unless the process is dead."""
        self._sent += 1
        number = self._sent
        await self._meet(number, command, done=False)
        return number

    async def after(self, number: int, command: Sequence[Any] = ()) -> None:
        """Returns unless the process is dead."""
        await self._meet(number, command, done=True)

    async def _meet(self, number: int, command: Sequence[Any], done: bool) -> None:
        if self.watch is not None and command and not self.process.dead:
            self.watch(number, _name_of(command), done)
        if self.process.dead:
            await self.process.forever()

    def cut(self) -> None:
        """Close the sockets of a killed process, as the kernel would."""
        for connections in self._connections:
            connections.abort()

    async def end(self) -> None:
        """Unwind what is left of the process, and close its connections."""
        await self.process.end()
        for connections in self._connections:
            await connections.close()


class WiredConnections(Connections):
    """Connections that close with their process."""

    wire: Wire

    async def exchange(self, key: str | bytes, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self.wire.watch is None:
            number = await self.wire.before()
            answers = await super().exchange(key, commands)
            await self.wire.after(number)
            return answers
        answers = []
        for command in commands:
            number = await self.wire.before(command)
            (answer,) = await super().exchange(key, [command])
            answers.append(answer)
            if not isinstance(answer, NoScriptError):  # then it is sent again
                await self.wire.after(number, command)
        return answers

    def blocking(self, key: str | bytes, *, block: float) -> Any:
        return _Reader(super().blocking(key, block=block), self.wire)

    def sync_client(self, key: str | bytes) -> Any:
        return _ThreadClient(super().sync_client(key), self.wire.process)

    def abort(self) -> None:
        for pool in list(self._pools):
            kept: Any = pool  # Any: redis-py leaves these untyped
            for connection in (*kept._available_connections, *kept._in_use_connections):
                if connection._writer is not None:
                    connection._writer.transport.abort()


class _Reader:
    """The blocking reader of `Claims`."""

    def __init__(self, reader: Reader, wire: Wire) -> None:
        self._reader = reader
        self._wire = wire

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._reader.__aexit__(*raised)

    async def read(self, *command: Any) -> Any:
        number = await self._wire.before(command)
        answer = await self._reader.read(*command)
        await self._wire.after(number, command)
        return answer


class _ThreadClient:
    """The client of a heartbeat thread: it blocks while its process is frozen, and ends the thread when it is dead."""

    def __init__(self, client: Any, process: Process) -> None:
        self._client = client
        self._process = process

    def execute_command(self, *command: Any) -> Any:
        return self._alive(self._client.execute_command, *command)

    def script_load(self, source: bytes) -> Any:
        return self._alive(self._client.script_load, source)

    def close(self) -> None:
        self._client.close()

    def _alive(self, send: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            self._process.awake.wait()
            if self._process.dead:
                self._client.close()
                raise SystemExit
            with self._process.gate:
                if not self._process.frozen:
                    return send(*arguments)


class WiredStore(Store):
    def __init__(self, wire: Wire, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._wire = wire

    async def _connect(self, url: str) -> Connections:
        return await self._wire.open(url, allow_eviction=self.settings.allow_eviction)


class _Passes(Observer):
    """The passes that run."""

    def __init__(self) -> None:
        self.running: set[Any] = set()

    def pass_begun(self, body: BodyPass) -> None:
        self.running.add(body)

    def pass_ended(self, body: BodyPass, end: PassEnd) -> None:
        self.running.discard(body)

    def halt(self) -> None:
        """Stop all bodies: they are not driven by a task that can be frozen."""
        for body in self.running:
            body.state.end = PassInterrupted.ABORTED


class WiredWorker(Worker):
    """A worker in a simulated process."""

    def __init__(
        self,
        wire: Wire,
        *arguments: Any,
        observers: Sequence[Observer] = (),
        fakes: Mapping[str, StepDefinition] | None = None,
        **options: Any,
    ) -> None:
        self._passes = _Passes()
        self._fakes = fakes or {}
        super().__init__(*arguments, observers=[*observers, self._passes], **options)
        self.wire = wire
        self._run_task: asyncio.Task[None] | None = None

    def _store(self) -> Store:
        return WiredStore(self.wire, self.settings, patience=None, clock=self._clock)

    def _context(self) -> WorkerContext:
        return dataclasses.replace(super()._context(), fakes=self._fakes)

    async def start(self) -> None:
        """Returns when it takes work, or is killed."""
        process = self.wire.process
        self._run_task = process.run(self.run())
        self._killed = asyncio.Event()
        waits = [asyncio.ensure_future(event.wait()) for event in (self.ready, self._killed)]
        await asyncio.wait([*waits, self._run_task], return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._run_task.done():
            await self._run_task

    async def finish(self) -> None:
        """Stop it, or unwind it if it was killed."""
        if self._run_task is not None and not self.wire.process.dead:
            self.stop()
            await asyncio.wait([self._run_task])
            if not self._run_task.cancelled() and (error := self._run_task.exception()):
                raise error
        await self.wire.end()

    def kill(self) -> None:
        """Kill it, and close its sockets."""
        self.wire.process.kill()
        self._passes.halt()
        self.wire.cut()
        self._killed.set()


class WiredScheduler(DurableScheduler):
    """A client in a simulated process."""

    def __init__(self, wire: Wire, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wire = wire

    def _new_store(self) -> Store:
        return WiredStore(self.wire, self.settings, patience=PATIENCE_SECONDS, clock=self._clock)

    def kill(self) -> None:
        self.wire.process.kill()
        self.wire.cut()


def _name_of(command: Sequence[Any]) -> str:
    if command[0] == b"EVALSHA":
        return BY_SHA[bytes(command[1])].name
    return str(command[0])
