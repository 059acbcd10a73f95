"""`zart serve` in a process, and the commands for tokens."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import block_until

ZART = Path(sys.executable).parent / "zart"


class Served:
    """A process of `zart serve`, and what it has printed."""

    def __init__(self, log: Path, environment: dict[str, str], *arguments: str) -> None:
        self.log = log
        with log.open("wb") as output:
            command = [str(ZART), "serve", "--port", "0", *arguments]
            self.process = subprocess.Popen(command, cwd=log.parent, env=environment, stdout=output, stderr=output)
        block_until(lambda: "listening on" in self.log.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, log.read_text()
        self.url = self.log.read_text().partition("listening on ")[2].split()[0]


@pytest.fixture
def environment(redis_url: str, namespace: str) -> dict[str, str]:
    return {**os.environ, "ZART_REDIS_URL": redis_url, "ZART_NAMESPACE": namespace, "COLUMNS": "200"}


Zart = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def zart(environment: dict[str, str], tmp_path: Path) -> Zart:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(ZART), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def run(*arguments: str) -> Served:
        started.append(Served(tmp_path / f"serve-{len(started)}.log", environment, *arguments))
        return started[-1]

    yield run
    for served in started:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()


def test_tokens_by_command(zart: Zart, serve: Callable[..., Served]) -> None:
    refused = zart("serve", "--port", "0")
    assert (refused.returncode, "zart token add" in refused.stderr) == (6, True)
    added = json.loads(zart("token", "add", "me", "--scope", "read", "--scope", "start", "--json").stdout)
    assert (added["name"], added["scopes"]) == ("me", ["read", "start"])
    assert json.loads(zart("token", "list", "--json").stdout)[0].keys() == {"name", "scopes", "created_at"}
    assert "me" in zart("token", "list").stdout
    served = serve("--prefix", "/zart", "--allow-host", "zart.test")
    headers = {"Authorization": f"Bearer {added['token']}"}
    assert served.url.endswith("/zart/")
    assert "zart token add" in served.log.read_text()
    assert httpx.get(f"{served.url}api/v1/stats", headers=headers).status_code == 200
    assert httpx.get(f"{served.url}api/v1/stats", headers={"Host": "zart.test"}).status_code == 401
    assert httpx.get(f"{served.url}api/v1/stats", headers={"Host": "evil.test"}).status_code == 400
    assert json.loads(zart("token", "remove", "me", "--json").stdout) == {"removed": True}
    assert zart("token", "remove", "me").returncode == 4
    assert httpx.get(f"{served.url}api/v1/stats", headers=headers).status_code == 401


def test_arguments_that_cannot_work(zart: Zart) -> None:
    exposed = zart("serve", "--no-auth", "--host", "0.0.0.0")
    assert (exposed.returncode, "loopback" in exposed.stderr) == (6, True)
    assert zart("serve", "--no-auth", "--prefix", "zart").returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = zart("serve", "--no-auth", "--port", str(taken.getsockname()[1]))
    assert (refused.returncode, "cannot listen" in refused.stderr) == (6, True)


WITHOUT_THE_EXTRA = """
import sys
sys.modules["starlette"] = None
from zart_redis.cli.app import main
sys.argv = ["zart", "serve", "--no-auth"]
main()
"""


def test_without_the_extra(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA]
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (refused.returncode, "error: starlette is not installed" in refused.stderr) == (6, True), refused.stderr


def test_it_stops_although_requests_wait(zart: Zart, serve: Callable[..., Served]) -> None:
    served = serve("--no-auth")
    assert "no authentication" in served.log.read_text()
    assert zart("start", "elsewhere", "--id", "p-1").returncode == 0
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0)) as slow:
        slow.sendall(b"GET /api/v1/executions/p-1/wait?timeout=100s HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream = socket.create_connection(slow.getpeername())
        stream.sendall(b"GET /api/v1/executions/p-1/stream/s HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0)) as half:
            half.sendall(b"POST /api/v1/executions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n")
            time.sleep(0.3)
            began = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(10) == 0
            assert time.monotonic() - began < 5
            assert slow.recv(100).startswith(b"HTTP/1.1 202")
            with stream, stream.makefile("rb") as events:
                assert events.read().endswith(b"\r\n0\r\n\r\n")  # a last chunk: it was not cut off


def test_it_carries_out_batches(zart: Zart, serve: Callable[..., Served]) -> None:
    served = serve("--no-auth")
    assert zart("start", "elsewhere", "--id", "p-1").returncode == 0
    asked = {"filter": {"task_name": "elsewhere"}, "action": "cancel"}
    begun = httpx.post(f"{served.url}admin/v1/batches", json=asked)
    location = served.url.rstrip("/") + begun.headers["location"]
    block_until(lambda: httpx.get(location).json()["status"] == "completed")
    assert httpx.get(location).json()["done"] == 1
    assert httpx.get(f"{served.url}api/v1/executions/p-1").json()["status"] == "cancelled"
    done = [json.loads(line) for line in served.log.read_text().splitlines() if "carried out" in line]
    assert [(line["by"], line["request"]) for line in done] == [("HTTP", "POST /admin/v1/batches")]
