"""`zart_redis.sync`: the clients without `await`, in threads, beside event loops, over forks, when a process ends."""

import asyncio
import contextvars
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest

import zart_redis as zart
from tests.store.test_embedded import folder as folder
from tests.support.servers import RedisProcess
from tests.support.waiting import SECONDS, block_until
from zart_redis import sync


def bridges() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "zart-sync"]


@pytest.fixture
def scheduler(redis_url: str, namespace: str) -> Iterator[sync.DurableScheduler]:
    with sync.DurableScheduler(redis_url, namespace=namespace) as scheduler:
        yield scheduler


@pytest.fixture
def worker(redis_url: str, namespace: str) -> Iterator[None]:
    """It knows every handler that has been declared."""
    with anyio.from_thread.start_blocking_portal() as portal:
        worker = zart.Worker(redis_url, namespace=namespace, grace="100ms")
        with portal.wrap_async_context_manager(worker):
            yield


@zart.zart_durable("sync-emitting")
async def emitting(count: int) -> None:
    for number in range(count):
        zart.emit(number)
    zart.set_value("count", count)


@pytest.mark.usefixtures("worker")
def test_following_a_stream(scheduler: sync.DurableScheduler) -> None:
    scheduler.start_for(emitting, "x", 500)
    assert [item.value for item in scheduler.follow("x", type=int) if isinstance(item, zart.StreamItem)] == [
        *range(500)
    ]
    for item in scheduler.follow("x"):
        assert isinstance(item, zart.StreamItem)
        assert [next(scheduler.follow("x", after=item.cursor))] != [item]
        break
    assert scheduler.value("x", "count", 0, type=int) == 500
    assert scheduler.values("x") == {"count": 500}
    with pytest.raises(zart.ExecutionNotFound):
        next(iter(scheduler.follow("nobody")))


@zart.zart_durable("sync-double")
async def double(number: int) -> int:
    return number * 2


@zart.zart_durable("sync-answer")
async def answer() -> str:
    return "42"


@zart.zart_durable("sync-parcel")
async def parcel() -> str:
    return await zart.wait_for_event("shipped", type=str)


@zart.zart_durable("sync-broken")
async def broken() -> None:
    raise ValueError("of no use")


# What it does.


@pytest.mark.usefixtures("worker")
def test_an_execution_is_started_and_waited_for(scheduler: sync.DurableScheduler) -> None:
    assert scheduler.start_for(double, "a", 21) == 1
    assert scheduler.wait_for(double, "a", timeout=SECONDS) == 42
    assert scheduler.start_and_wait_for(answer, "b", timeout=SECONDS) == "42"
    assert scheduler.status("b").status == "completed"
    assert [record.execution_id for record in scheduler.list_executions(order="oldest")] == ["a", "b"]


@pytest.mark.usefixtures("worker")
def test_an_event_is_delivered(redis_url: str, namespace: str, scheduler: sync.DurableScheduler) -> None:
    scheduler.start_for(parcel, "p")
    with sync.EventClient(redis_url, namespace=namespace) as events:
        assert isinstance(events.offer_event("p", "shipped", "ZR-1"), zart.EventDelivery)
    assert scheduler.wait_for(parcel, "p", timeout=SECONDS) == "ZR-1"


@pytest.mark.usefixtures("worker")
def test_errors_are_those_of_the_asynchronous_client(scheduler: sync.DurableScheduler) -> None:
    with pytest.raises(zart.ExecutionNotFound):
        scheduler.status("nowhere")
    with pytest.raises(zart.InvalidInput):
        scheduler.start("", "sync-double", 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        scheduler.start("c", "sync-double", 1, colour="red")  # type: ignore[call-arg]  # pyright: ignore
    with pytest.raises(zart.ExecutionFailed) as failed:
        scheduler.start_and_wait_for(broken, "b", timeout=SECONDS)
    assert str(failed.value.error) == "ValueError: of no use"
    scheduler.start_for(parcel, "p")
    with pytest.raises(zart.WaitTimedOut):
        scheduler.wait("p", timeout="10ms")
    with pytest.raises(zart.ExecutionAlreadyExists):
        scheduler.start_for(parcel, "p")


def test_a_setting_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(zart.ConfigurationError, match="redis_url"):
        sync.DurableScheduler("http://localhost")


def test_the_settings_are_those_of_the_moment_it_was_made(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_NAMESPACE", namespace)
    monkeypatch.setenv("ZART_MAX_PAYLOAD", "10")
    with sync.DurableScheduler(redis_url) as scheduler:
        scheduler.close()
        monkeypatch.setenv("ZART_NAMESPACE", "another")
        monkeypatch.delenv("ZART_MAX_PAYLOAD")
        assert scheduler.settings.namespace == namespace
        with pytest.raises(zart.PayloadTooLarge):
            scheduler.start("a", "sync-nobody", "more than ten bytes")


# One implementation.


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [(sync.DurableScheduler, zart.DurableScheduler), (sync.EventClient, zart.EventClient)],
)
def test_it_has_what_the_asynchronous_class_has(blocking: type, asynchronous: type) -> None:
    source = inspect.getsource(blocking)
    for name, method in inspect.getmembers(asynchronous, callable):
        if name.startswith("_") or name == "aclose":  # which is `close` here
            continue
        bridge = "iterating" if inspect.isasyncgenfunction(method) else "blocking"
        assert f"    {name} = {bridge}(" in source, "without such a line type checkers do not know it"
        mine = vars(blocking)[name]
        assert not inspect.iscoroutinefunction(mine)
        assert not inspect.isasyncgenfunction(mine)
        assert inspect.signature(mine) == inspect.signature(method)
        assert mine.__doc__ == method.__doc__
    assert vars(blocking(namespace="x")).keys() >= {"settings"}


def test_a_new_method_of_the_asynchronous_class_appears_by_itself(redis_url: str, namespace: str) -> None:
    class Asynchronous(zart.DurableScheduler):
        async def is_known(self, execution_id: str) -> bool:
            """Whether there is such an execution."""
            return execution_id in [record.execution_id for record in await self.list_executions()]

        async def cancel(self, execution_id: str, *, reason: str | None = None, compensate: bool = False) -> bool:
            raise NotImplementedError("overridden")

    class Blocking(sync.DurableScheduler, of=Asynchronous):
        pass

    with Blocking(redis_url, namespace=namespace) as scheduler:
        scheduler.start("a", "sync-double", 1)
        assert scheduler.is_known("a") is True  # type: ignore[attr-defined]  # pyright: ignore
        with pytest.raises(NotImplementedError, match="overridden"):
            scheduler.cancel("a")


# Threads and event loops.


@pytest.mark.usefixtures("worker")
def test_many_threads_share_a_client(scheduler: sync.DurableScheduler) -> None:
    def run(number: int) -> int:
        return scheduler.start_and_wait_for(double, f"x{number}", number, timeout=SECONDS)

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(run, range(200))) == [number * 2 for number in range(200)]
    assert len(bridges()) == 1


def test_the_first_calls_of_many_threads_open_one_connection(redis_url: str, namespace: str) -> None:
    scheduler = sync.DurableScheduler(redis_url, namespace=namespace)
    barrier = threading.Barrier(16)

    def count(_: int) -> int:
        barrier.wait()
        scheduler.stats()
        return len(bridges())

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(count, range(16))) == {1}
    scheduler.close()


@pytest.mark.anyio
@pytest.mark.usefixtures("worker")
async def test_it_can_be_used_where_an_event_loop_runs(redis_url: str, namespace: str) -> None:
    scheduler = sync.DurableScheduler(redis_url, namespace=namespace)
    assert scheduler.start_and_wait_for(double, "notebook", 1, timeout=SECONDS) == 2
    assert await asyncio.to_thread(lambda: scheduler.start_and_wait_for(double, "thread", 2, timeout=SECONDS)) == 4
    scheduler.close()


def test_an_iterator_is_drawn_in_the_thread_of_the_caller(scheduler: sync.DurableScheduler) -> None:
    drawn_in = []

    def requests() -> Iterator[tuple[str, str, Any]]:
        drawn_in.append(threading.current_thread())
        yield "a", "sync-double", scheduler.stats().by_status.get(zart.ExecutionStatus.RUNNING, 0)

    assert scheduler.start_many(requests()) == scheduler.start_many(requests=iter([("b", "sync-double", 1)])) == [1]
    assert drawn_in == [threading.current_thread()]


def test_a_call_sees_the_context_of_its_caller(redis_url: str, namespace: str) -> None:
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace")
    seen = []

    class Data:
        def __iter__(self) -> Iterator[tuple[str, str, Any]]:
            seen.append(trace.get())
            return iter(())

    with sync.DurableScheduler(redis_url, namespace=namespace) as scheduler:
        for value in ("one", "two"):
            trace.set(value)
            scheduler.start_many(Data())
    assert seen == ["one", "two"]


# Ends.


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_wait_returns_at_once_and_leaves_the_client_usable(
    redis_server: RedisProcess, scheduler: sync.DurableScheduler
) -> None:
    scheduler.start("a", "sync-nobody")
    main = threading.main_thread().ident
    interrupted_at = []
    with redis_server.connect() as server:

        def interrupt() -> None:
            block_until(server.pubsub_channels)
            interrupted_at.append(time.monotonic())
            assert main
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            scheduler.wait("a", timeout=60)
        assert time.monotonic() - interrupted_at[0] < 30, "it waited on"
        thread.join()
        assert scheduler.status("a").status == "scheduled"
        block_until(lambda: not server.pubsub_channels())  # the wait does not go on behind its caller's back


def test_closing_ends_the_calls_of_other_threads(redis_server: RedisProcess, scheduler: sync.DurableScheduler) -> None:
    scheduler.start("a", "sync-nobody")
    waiting: Future[zart.ExecutionRecord] = Future()

    def wait() -> None:
        try:
            waiting.set_result(scheduler.wait("a"))
        except BaseException as error:
            waiting.set_exception(error)

    with redis_server.connect() as server:
        threading.Thread(target=wait, daemon=True).start()
        block_until(server.pubsub_channels)
        scheduler.close()
        with pytest.raises(RuntimeError, match=r"closed while wait\(\) was in progress"):
            waiting.result(SECONDS)
    assert scheduler.status("a").status == "scheduled", "a closed client opens again"


def test_a_closed_or_forgotten_client_leaves_no_thread_and_no_connection(
    redis_server: RedisProcess, namespace: str
) -> None:
    with redis_server.connect() as server:
        before = len(server.client_list())

        def is_clean() -> bool:
            return not bridges() and not sync._bridges and len(server.client_list()) == before

        scheduler = sync.DurableScheduler(redis_server.url, namespace=namespace)
        scheduler.close()
        scheduler.stats()
        assert bridges()
        scheduler.close()
        scheduler.close()
        assert not bridges()
        block_until(is_clean)
        sync.DurableScheduler(redis_server.url, namespace=namespace).stats()
        gc.collect()
        block_until(is_clean)


def test_a_client_that_could_not_be_made_is_no_trouble_to_the_garbage_collector() -> None:
    with pytest.raises(TypeError, match="colour"):
        sync.DurableScheduler(colour="red")
    gc.collect()


def test_a_redis_that_is_away_is_reported(namespace: str, tmp_path: Path) -> None:
    scheduler = sync.DurableScheduler(f"unix://{tmp_path}/none")
    with pytest.raises(zart.RedisUnavailable), scheduler:
        pass
    assert not bridges()


# Processes.


def run(script: str, *arguments: str, folder: Path | None = None) -> str:
    """What a Python process prints; it must end well, and complain of nothing."""
    prelude = "import gc, os, sys, threading, time\nfrom zart_redis.sync import DurableScheduler\n"
    # In CPython 3.12 a fork of a process with threads warns, as it should where nobody cares for them.
    options = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, *options, "-c", prelude + script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended.stdout


def test_a_call_inside_a_call_of_the_same_client_is_refused(redis_url: str, namespace: str) -> None:
    script = """
class Requests:
    def __iter__(self):
        scheduler.status("a")

scheduler = DurableScheduler(sys.argv[1], namespace=sys.argv[2])
try:
    scheduler.start_many(Requests())
except RuntimeError as error:
    print(error)
"""
    assert "status() was called inside a call of the same client" in run(script, redis_url, namespace)


def test_a_process_may_end_without_closing(redis_url: str, namespace: str) -> None:
    script = """
scheduler = DurableScheduler(sys.argv[1], namespace=sys.argv[2])
try:
    scheduler.start("a", "sync-nobody")
    scheduler.wait("a", timeout="10ms")
except Exception as error:
    print(error)
"""
    seconds = []
    for end in ("scheduler.close()", ""):
        begun = time.monotonic()
        assert run(script + end, redis_url, namespace)
        seconds.append(time.monotonic() - begun)
    assert seconds[1] < seconds[0] * 3 + sync.CLOSING_SECONDS, "it waited for the client to be closed"


def test_a_process_that_ends_gives_the_embedded_server_back(folder: Path) -> None:
    script = """
scheduler = DurableScheduler()
scheduler.start("a", "sync-nobody")
print(scheduler.status("a").status)
"""
    assert run(script, folder=folder) == "scheduled\n"
    assert not (folder / ".zart" / "redis.pid").exists(), "the server has ended with its last user"


def test_a_client_made_before_a_fork_works_in_parent_and_child(redis_url: str, namespace: str) -> None:
    script = """
scheduler = DurableScheduler(sys.argv[1], namespace=sys.argv[2])
scheduler.start("a", "sync-nobody")
outcome = []
waiting = threading.Thread(target=lambda: outcome.append(scheduler.wait("a", timeout=30).status))
waiting.start()
for number in range(5):
    scheduler.stats()
    child = os.fork()
    if child == 0:
        scheduler.start(f"child {number}", "sync-nobody")
        gc.collect()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert scheduler.status(f"child {number}").status == "scheduled"
assert scheduler.cancel("a")
waiting.join()
print(*outcome)
"""
    assert run(script, redis_url, namespace) == "cancelled\n"


def test_a_fork_while_another_thread_makes_a_call(redis_url: str, namespace: str) -> None:
    script = """
from zart_redis import sync
scheduler = DurableScheduler(sys.argv[1], namespace=sys.argv[2])
held, forked = threading.Event(), threading.Event()

def hold():
    with sync._lock:
        held.set()
        forked.wait()

threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    print(scheduler.list_executions(), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
forked.set()
"""
    assert run(script, redis_url, namespace) == "[]\n"


def test_a_child_holds_no_connection_of_its_parent(redis_server: RedisProcess, namespace: str) -> None:
    script = """
import redis
scheduler = DurableScheduler(sys.argv[1], namespace=sys.argv[2])
watch = redis.Redis(unix_socket_path=sys.argv[1].removeprefix("unix://"))
before = len(watch.client_list())
scheduler.stats()
assert len(watch.client_list()) > before
stay, leave = os.pipe()
child = os.fork()
if child == 0:
    os.close(leave)
    os.read(stay, 1)
    os._exit(0)
scheduler.close()
while len(watch.client_list()) > before:
    time.sleep(0.01)
os.close(leave)
os.waitpid(child, 0)
"""
    assert run(script, redis_server.url, namespace) == ""
