"""The lease: a thread tells Redis that this worker lives, over connections of its own, so that no step that blocks
the event loop can starve it. It learns in turn which workers do not live any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis import exceptions

from zart_redis.logs import get_logger
from zart_redis.store.connections import Connections
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.transitions import Heartbeat, heartbeat_command, read_heartbeat

log = get_logger()

BEATS_PER_LEASE = 4


class Lease:
    """Join with `start`, which returns when the first heartbeat of every partition is answered.

    Args:
        on_dead: told a partition and a worker whose lease has ended; called in this thread, as the next one.
        on_lost: this worker was given up for dead (it was stopped, or cut off) and has joined anew.
        on_beat: called at each beat, to see whether the event loop still answers.
        about: json about this worker, for operators.
    """

    def __init__(
        self,
        connections: Connections,
        prefixes: Sequence[str],
        worker: str,
        lease_ms: int,
        *,
        on_dead: Callable[[str, str], None],
        on_lost: Callable[[], None],
        on_beat: Callable[[], None],
        about: Callable[[], bytes],
    ) -> None:
        self._connections = connections
        self._prefixes = prefixes
        self._worker = worker
        self._lease_ms = lease_ms
        self._on_dead = on_dead
        self._on_lost = on_lost
        self._on_beat = on_beat
        self._about = about
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"zart-lease-{worker}", daemon=True)
        self._clients: dict[str, redis.Redis] = {}

    def start(self) -> None:
        """Raises redis-py's errors if Redis cannot be reached."""
        for prefix in self._prefixes:
            self._beat(prefix, joining=True)
        self._thread.start()

    def stop(self) -> None:
        """Blocks until the thread has ended: no heartbeat is sent after this."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        with suppress(SystemExit):  # how a harness that has killed this worker ends its threads
            while not self._stopping.wait(pause):
                self._on_beat()
                began = time.monotonic()
                pause = min((self._look(prefix) for prefix in self._prefixes), default=1.0)
                pause = max(0.0, pause - (time.monotonic() - began))
        for client in self._clients.values():
            client.close()

    def _look(self, prefix: str) -> float:
        """One heartbeat in one partition. Answers after how many seconds the next one is wanted."""
        interval = self._lease_ms / 1000 / BEATS_PER_LEASE
        try:
            heart = self._beat(prefix, joining=False)
            if not heart.alive:
                heart = self._beat(prefix, joining=True)
                self._on_lost()
        except Exception as error:  # this thread must not end while the worker lives
            log.warning("the heartbeat did not reach Redis; trying again", error=str(error))
            if client := self._clients.pop(prefix, None):
                client.close()
            return interval / 4
        for dead in heart.dead:
            self._on_dead(prefix, dead)
        return interval if heart.next_end is None else min(interval, heart.next_end / 1000 + 0.001)

    def _beat(self, prefix: str, *, joining: bool) -> Heartbeat:
        client = self._clients.get(prefix)
        if client is None:
            client = self._clients[prefix] = self._connections.sync_client(prefix)
        command = heartbeat_command(prefix, self._worker, self._lease_ms, joining, self._about())
        send: Callable[..., Any] = client.execute_command
        try:
            return read_heartbeat(send(*command))
        except exceptions.NoScriptError:
            client.script_load(SCRIPTS["heartbeat"].source)
            return read_heartbeat(send(*command))
