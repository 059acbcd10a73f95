"""A test that is stopped, in whatever way, takes the server of its harness with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

PROGRAM = """
import time
from zart_redis.testing.server import TemporaryServer

with TemporaryServer() as server:
    print(server.url, server._server.pid, server._folder, flush=True)
    time.sleep({seconds})
"""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, None])
def test_no_server_is_left_behind(number: signal.Signals | None) -> None:
    program = PROGRAM.format(seconds=0 if number is None else 600)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, pid, folder = process.stdout.readline().split()
        if number is not None:
            with redis.Redis.from_url(url) as client:
                assert client.ping()
            process.send_signal(number)
        process.wait(60)
    deadline = time.monotonic() + 60
    while (runs(int(pid)) or os.path.exists(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not runs(int(pid))
    assert not os.path.exists(folder)
