"""The heartbeats that keep a worker's lease, sent from a thread over separate connections, so that a step that blocks
the event loop cannot delay them. The replies name the workers whose lease has expired."""

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
from zart_redis.store.replies import Heartbeat
from zart_redis.store.transitions import Joining, heartbeat_command, read_heartbeat

log = get_logger()

BEATS_PER_LEASE = 4


class _Health:
    """Whether a worker may judge others by their leases: not until its own heartbeats have gone well for a lease.

    One that was away itself, or whose Redis was, cannot know who else was.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease = lease_seconds
        self._heard = self._ill_until = time.monotonic()

    def failed(self) -> None:
        self._ill_until = float("inf")

    def succeeded(self) -> bool:
        """A heartbeat has reached Redis. Returns whether the worker may judge."""
        now = time.monotonic()
        if self._ill_until == float("inf") or now - self._heard > self._lease / 2:
            self._ill_until = now + self._lease
        self._heard = now
        return now >= self._ill_until


class HeartbeatThread:
    """`start` returns after the first heartbeat in every partition.

    Args:
        on_dead: called with a partition's prefix and a worker whose lease has expired.
        on_lost: called when this worker's own lease had expired; the worker has joined again by then.
        on_beat: called before each heartbeat.
        about: returns JSON about this worker, for operators.

    All of these are called in this thread.
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
        self._health = {prefix: _Health(lease_ms / 1000) for prefix in prefixes}

    def start(self) -> None:
        """Raises redis-py's errors if Redis cannot be reached."""
        self._on_beat()
        for prefix in self._prefixes:
            self._beat(prefix, "1")
        self._thread.start()

    def stop(self) -> None:
        """Blocks until the thread has ended. No heartbeat is sent afterwards."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        with suppress(SystemExit):  # raised by the connections of a harness that has killed this worker
            while not self._stopping.wait(pause):
                self._on_beat()
                began = time.monotonic()
                pause = min((self._beat_and_report(prefix) for prefix in self._prefixes), default=1.0)
                pause = max(0.0, pause - (time.monotonic() - began))
        for client in self._clients.values():
            client.close()

    def _beat_and_report(self, prefix: str) -> float:
        """Send a heartbeat in one partition. Returns the seconds until the next one."""
        interval = self._lease_ms / 1000 / BEATS_PER_LEASE
        try:
            reply = self._beat(prefix, "0")
            if not reply.alive:
                self._health[prefix].failed()
                reply = self._beat(prefix, "again")
                self._on_lost()
            may_judge = self._health[prefix].succeeded()
        except Exception as error:  # this thread must not end while the worker lives
            self._health[prefix].failed()
            log.warning("heartbeat failed; trying again", error=str(error))
            if client := self._clients.pop(prefix, None):
                client.close()
            return interval / 4
        for dead in reply.dead if may_judge else ():
            self._on_dead(prefix, dead)
        return interval if reply.next_end is None else min(interval, reply.next_end / 1000 + 0.001)

    def _beat(self, prefix: str, joining: Joining) -> Heartbeat:
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
