"""Sockets that fail in every way sockets fail, on real servers."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from redis import exceptions as failures
from redis.crc import key_slot

from tests.support.servers import Proxy, RedisProcess, cluster, free_port
from tests.support.waiting import SECONDS, until
from zart_redis.backoff import Backoff
from zart_redis.errors import ConfigurationError, RedisUnavailable
from zart_redis.store import preflight
from zart_redis.store.connections import Connections
from zart_redis.store.redis_errors import out_of_memory, retryable
from zart_redis.store.sockets import SafeConnection, round_trip

pytestmark = pytest.mark.anyio

KEY = "{x:0}:key"


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connections]:
    connections = await Connections.open(url, **options)
    try:
        yield connections
    finally:
        await connections.close()


async def command(connections: Connections, *arguments: Any) -> Any:
    client: Any = connections.client(KEY)
    return await client.execute_command(*arguments)


async def echo(connections: Connections, word: str) -> Any:
    """Three ways to use a shared connection; each must get its own reply."""
    client = connections.client(KEY)
    match random.randrange(3):
        case 0:
            replies = [await command(connections, "ECHO", word)]
        case 1:
            replies = await round_trip(client, [("ECHO", word), ("ECHO", word)])
        case _:
            pipe: Any = client.pipeline(transaction=False)
            replies = await pipe.echo(word).echo(word).execute()
    assert len(set(replies)) == 1
    return replies[0].decode()


# Many commands in one round trip


async def test_replies_come_in_order_with_errors_in_their_places(redis_url: str, namespace: str) -> None:
    key = f"{{{namespace}:0}}:k"
    async with connected(redis_url) as connections:
        replies = await round_trip(
            connections.client(key),
            [
                ("SET", key, 1),
                ("HGET", key, "field"),
                ("INCRBY", key, 4),
                (b"NO-SUCH-COMMAND",),
                ("GET", key),
            ],
        )
    assert replies[0] == b"OK"
    assert isinstance(replies[1], failures.ResponseError)
    assert "WRONGTYPE" in str(replies[1])
    assert replies[2] == 5
    assert isinstance(replies[3], failures.ResponseError)
    assert replies[4] == b"5"


async def test_a_long_trip_of_large_values(redis_url: str, namespace: str) -> None:
    value = b"x" * 300_000
    key = f"{{{namespace}:0}}:k"
    async with connected(redis_url) as connections:
        replies = await round_trip(connections.client(key), [("SET", key, value), *[("GET", key)] * 100, ("DEL", key)])
    assert replies == [b"OK", *[value] * 100, 1]


async def test_replies_have_one_shape_whatever_the_url_asks_for(redis_url: str, namespace: str) -> None:
    key = f"{{{namespace}:0}}:z"
    async with connected(f"{redis_url}?protocol=3&decode_responses=true") as connections:
        replies = await round_trip(
            connections.client(key), [("ZADD", key, 1.5, "a"), ("ZRANGE", key, 0, -1, "WITHSCORES")]
        )
    assert replies == [1, [b"a", b"1.5"]]


async def test_a_bad_argument_is_refused_before_anything_is_sent(redis_url: str) -> None:
    bad: Any = object()
    async with connected(redis_url) as connections:
        with pytest.raises(TypeError):
            await round_trip(connections.client(KEY), [("ECHO", "a"), ("ECHO", bad)])
        assert await echo(connections, "mine") == "mine"


# Cancellation


async def test_a_cancelled_command_never_leaves_its_reply_to_a_later_one(redis_server: RedisProcess) -> None:
    async with Proxy(redis_server.socket, delay=0.002) as proxy, connected(proxy.url) as connections:
        cut_off = 0
        for turn in range(150):
            doomed = asyncio.create_task(echo(connections, f"doomed-{turn}"))
            await asyncio.sleep(random.uniform(0, 0.006))
            doomed.cancel()
            outcomes = await asyncio.gather(doomed, return_exceptions=True)
            cut_off += isinstance(outcomes[0], asyncio.CancelledError)
            assert await echo(connections, f"kept-{turn}") == f"kept-{turn}"
        assert cut_off > 20  # else this test has tested nothing


async def test_a_cancelled_neighbour_harms_no_one(redis_server: RedisProcess) -> None:
    async with Proxy(redis_server.socket, delay=0.001) as proxy, connected(proxy.url) as connections:

        async def use(name: int) -> None:
            for turn in range(30):
                word = f"{name}-{turn}"
                try:
                    async with asyncio.timeout(random.uniform(0.001, 0.02)):
                        assert await echo(connections, word) == word
                except TimeoutError:
                    pass

        await asyncio.gather(*map(use, range(10)))


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancellation_is_never_swallowed(redis_server: RedisProcess, steps: int) -> None:
    """Cancelled in each of the first turns of the event loop, that of the end of the send among them."""
    async with Proxy(redis_server.socket, delay=0.05) as proxy, connected(proxy.url) as connections:
        await echo(connections, "a connection to lease")
        for send in (
            lambda: round_trip(connections.client(KEY), [("ECHO", "doomed")]),
            lambda: command(connections, "ECHO", "doomed"),
        ):
            doomed = asyncio.ensure_future(send())
            for _ in range(steps):
                await asyncio.sleep(0)
            doomed.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doomed


# Servers that go away


async def test_a_silent_server_is_given_up_in_time() -> None:
    with RedisProcess() as server:
        async with connected(server.url, timeout=0.3) as connections:
            server.freeze()
            for use in (
                lambda: round_trip(connections.client(KEY), [("PING",)]),
                lambda: command(connections, "PING"),
            ):
                begun = monotonic()
                with pytest.raises(failures.TimeoutError) as silent:
                    await use()
                assert 0.2 < monotonic() - begun < SECONDS
                assert retryable(silent.value)
            server.unfreeze()
            assert await echo(connections, "back") == "back"


async def test_a_silent_server_is_given_up_in_time_when_written_to() -> None:
    """More than the socket takes in, so that the send itself cannot end."""
    with RedisProcess() as server:
        async with connected(server.url, timeout=0.3) as connections:
            server.freeze()
            for use in (
                lambda: round_trip(connections.client(KEY), [("ECHO", b"x" * 10_000_000)]),
                lambda: command(connections, "ECHO", b"x" * 10_000_000),
            ):
                with pytest.raises(failures.TimeoutError):
                    await use()
            server.unfreeze()
            assert await echo(connections, "back") == "back"


async def test_a_restarted_server_is_found_again() -> None:
    with RedisProcess() as server:
        async with connected(server.url) as connections:
            await echo(connections, "a connection to lease")
            server.kill9()
            with pytest.raises(failures.ConnectionError) as gone:
                await round_trip(connections.client(KEY), [("PING",)])
            assert retryable(gone.value)
            await connections.relocate(gone.value)
            server.start()
            assert await echo(connections, "back") == "back"


async def test_a_reset_connection_fails_as_a_connection_does(redis_server: RedisProcess) -> None:
    async with Proxy(redis_server.socket) as proxy, connected(proxy.url) as connections:
        for use in (
            lambda: round_trip(connections.client(KEY), [("PING",)]),
            lambda: command(connections, "PING"),
        ):
            await use()
            proxy.reset()
            await asyncio.sleep(0.05)
            outcomes = await asyncio.gather(use(), return_exceptions=True)
            assert not isinstance(outcomes[0], Exception) or retryable(outcomes[0])
            await use()


async def test_relocate_drops_idle_connections_but_none_in_use(redis_url: str) -> None:
    async with connected(redis_url) as connections:
        known = await asyncio.gather(*[command(connections, "CLIENT", "ID") for _ in range(5)])
        in_use = asyncio.create_task(command(connections, "BLPOP", "{x:0}:nothing", 0.3))
        await asyncio.sleep(0.05)
        await connections.relocate(failures.ReadOnlyError("READONLY"))
        now = await asyncio.gather(*[command(connections, "CLIENT", "ID") for _ in range(5)])
        assert not set(known) & set(now)
        assert await in_use is None


async def test_relocating_amid_traffic_breaks_nothing(redis_url: str) -> None:
    async with connected(redis_url) as connections:

        async def use(name: int) -> None:
            for turn in range(100):
                assert await echo(connections, f"{name}-{turn}") == f"{name}-{turn}"

        async def relocate() -> None:
            for _ in range(50):
                await connections.relocate(failures.ConnectionError("gone"))
                await asyncio.sleep(0.001)

        await asyncio.gather(relocate(), *map(use, range(8)))


# Clients of one's own


async def test_a_blocking_read_may_last_longer_than_other_commands() -> None:
    with RedisProcess() as server:
        async with (
            connected(server.url, timeout=0.3) as connections,
            connections.blocking(KEY, block=0.8) as reader,
        ):
            assert await reader.read("BLPOP", "{x:0}:nothing", 0.8) is None
            await command(connections, "RPUSH", "{x:0}:list", "a")
            assert await reader.read("BLPOP", "{x:0}:list", 0.8) == [b"{x:0}:list", b"a"]
            begun = monotonic()
            server.freeze()
            with pytest.raises(failures.TimeoutError):
                await reader.read("BLPOP", "{x:0}:nothing", 0.8)
            assert 1.0 < monotonic() - begun < SECONDS
            server.unfreeze()


async def test_a_subscriber_hears_what_is_published(redis_url: str) -> None:
    async with connected(redis_url) as connections:
        subscriber: Any = connections.pubsub()
        await subscriber.subscribe("{x:0}:done")
        confirmed = await subscriber.get_message(timeout=5)
        await connections.client(KEY).publish("{x:0}:done", "id")
        heard = await subscriber.get_message(timeout=5)
        await subscriber.aclose()
    assert confirmed
    assert confirmed["type"] == "subscribe"
    assert heard
    assert (heard["channel"], heard["data"]) == (b"{x:0}:done", b"id")


async def test_close_closes_what_was_left_open(redis_server: RedisProcess) -> None:
    async with connected(redis_server.url) as connections:
        subscriber = connections.pubsub()
        await subscriber.subscribe("{x:0}:done")
        reader = await connections.blocking(KEY, block=1).__aenter__()
        await reader.read("PING")
        await echo(connections, "shared")
    with redis_server.connect() as client:
        async with asyncio.timeout(5):
            while len(client.client_list()) > 1:
                await asyncio.sleep(0.01)


async def test_a_connection_that_is_cancelled_in_its_greeting_is_closed(redis_server: RedisProcess) -> None:
    greeted = asyncio.Event()

    async def greet(_: SafeConnection) -> None:
        greeted.set()
        await asyncio.Event().wait()

    async with connected(redis_server.url) as connections:
        with redis_server.connect() as client:
            before = len(client.client_list())
            connections.greet_with(greet)
            pubsub: Any = connections.pubsub()
            subscribing = asyncio.create_task(pubsub.subscribe("channel"))
            await greeted.wait()
            assert len(client.client_list()) == before + 1
            subscribing.cancel()
            await asyncio.wait([subscribing])
            await pubsub.aclose()
            await until(lambda: len(client.client_list()) == before)


async def test_a_thread_has_a_client_of_its_own(redis_url: str) -> None:
    replies: list[Any] = []

    def beat() -> None:
        with connections.sync_client(KEY) as client:
            replies.append(client.echo("beat"))

    async with connected(f"{redis_url}?protocol=3") as connections:
        thread = threading.Thread(target=beat)
        thread.start()
        thread.join()
    assert replies == [b"beat"]


# What an error means


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (failures.ConnectionError("refused"), True),
        (failures.TimeoutError("late"), True),
        (failures.BusyLoadingError("loading"), True),
        (failures.MovedError("1 127.0.0.1:7000"), True),
        (failures.AskError("1 127.0.0.1:7000"), True),
        (failures.TryAgainError("split"), True),
        (failures.ClusterDownError("down"), True),
        (failures.MasterDownError("down"), True),
        (failures.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (failures.ResponseError("UNBLOCKED force unblock from blocking operation"), True),
        (failures.ResponseError("BUSYGROUP Consumer Group name already exists"), False),
        (failures.ResponseError("ERR BUSY with something else"), False),
        (failures.AuthenticationError("WRONGPASS"), False),
        (failures.NoPermissionError("NOPERM"), False),
        (failures.NoScriptError("No matching script"), False),
        (failures.DataError("bad"), False),
        (ValueError("BUSY "), False),
    ],
)
async def test_which_failures_may_pass(error: Exception, passes: bool) -> None:
    assert retryable(error) is passes
    assert not out_of_memory(error)


SET = ("EVAL", "return redis.call('SET', KEYS[1], 1)", 1, KEY)


@pytest.fixture
def other_server(redis_server: RedisProcess) -> RedisProcess:
    """A server of the same version as the shared one, to be spoiled."""
    return RedisProcess(redis_server.binary, options=("--lua-time-limit", "20"))


async def test_full_memory_is_told_from_what_passes(other_server: RedisProcess) -> None:
    with other_server:
        async with connected(other_server.url) as connections:
            client = connections.client(KEY)
            await client.config_set("maxmemory", 1)
            for error in await round_trip(client, [("SET", KEY, 1), SET]):
                assert out_of_memory(error)
                assert not retryable(error)


async def test_a_replica_refuses_writes_for_the_time_being(other_server: RedisProcess) -> None:
    with other_server:
        async with connected(other_server.url) as connections:
            client = connections.client(KEY)
            await client.replicaof("127.0.0.1", 1)
            errors = await round_trip(client, [("SET", KEY, 1), SET])
            assert [retryable(error) for error in errors] == [True, True]


async def test_a_busy_server_is_waited_for(other_server: RedisProcess) -> None:
    with other_server:
        async with connected(other_server.url) as connections:
            client = connections.client(KEY)
            endless = asyncio.create_task(command(connections, "EVAL", "while true do end", 0))
            await asyncio.sleep(0.1)
            (error,) = await round_trip(client, [("GET", KEY)])
            assert retryable(error)
            await client.script_kill()
            await asyncio.gather(endless, return_exceptions=True)


async def test_pauses_grow_to_a_limit_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    backoff = Backoff(first=0.1, longest=0.5)
    for _ in range(6):
        await backoff.wait()
    backoff.reset()
    await backoff.wait()
    for pause, longest in zip(pauses, (0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.1), strict=True):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses)


# At the start


@pytest.mark.parametrize(
    "url",
    [
        "http://:hush@r",
        "redis://:hush@r:port",
        "redis://:hush@r?no_such_option=1",
        "redis+cluster://:hush@r/1",
        "",
    ],
)
async def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Redis URL") as refused:
        await Connections.open(url)
    assert "hush" not in str(refused.value)


async def test_no_server_at_all() -> None:
    begun = monotonic()
    with pytest.raises(RedisUnavailable, match="Connection refused"):
        await Connections.open(f"redis://127.0.0.1:{free_port()}")
    assert monotonic() - begun < SECONDS


async def test_a_wrong_password_is_not_tried_again(redis_server: RedisProcess) -> None:
    async with Proxy(redis_server.socket) as proxy:
        for url in (redis_server.url + "?password=wrong", proxy.url.replace("//", "//:wrong@")):
            with pytest.raises(ConfigurationError, match="password") as refused:
                await Connections.open(url)
            assert refused.value.__cause__ is not None
            assert not retryable(refused.value.__cause__)


async def test_a_server_that_never_answers() -> None:
    with RedisProcess() as server:
        server.freeze()
        with pytest.raises(RedisUnavailable, match="did not become ready"):
            await Connections.open(server.url, timeout=0.3)


async def test_a_server_that_loads_its_data_is_waited_for() -> None:
    with RedisProcess(appendonly=True, options=("--key-load-delay", "200")) as server:
        with server.connect() as client:
            client.eval("for n = 1, 10000 do redis.call('SET', 'key-' .. n, 'x') end", 0)
        server.kill9()
        server.start_without_waiting()
        while not loads(server):
            await asyncio.sleep(0.01)
        async with connected(server.url) as connections:
            assert await command(connections, "DBSIZE") == 10_000


def loads(server: RedisProcess) -> bool:
    try:
        with server.connect() as client:
            info: Any = client.info("persistence")
    except failures.ConnectionError:
        return False
    assert info["loading"], "it was too fast for this test"
    return True


async def test_a_server_older_than_the_scripts_need(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "MIN_VERSION", (99, 0))
    with pytest.raises(ConfigurationError, match=r"is Redis \d+\.\d+.*6.2 or later"):
        await Connections.open(redis_url)


async def test_a_server_that_evicts_is_refused_unless_told_otherwise() -> None:
    with RedisProcess(options=("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")) as server:
        with pytest.raises(ConfigurationError, match=r"allkeys-lru.*noeviction"):
            await Connections.open(server.url)
        async with connected(server.url, allow_eviction=True) as connections:
            assert await echo(connections, "word") == "word"


async def test_a_server_that_evicts_only_what_expires_is_accepted() -> None:
    with RedisProcess(options=("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")) as server:
        async with connected(server.url) as connections:
            assert await echo(connections, "word") == "word"


# Redis Cluster


def key_in(slots: Callable[[int], bool]) -> str:
    return next(key for n in range(1000) if slots(key_slot((key := f"{{x:{n}}}:key").encode())))


async def test_each_key_is_asked_of_the_node_that_holds_it() -> None:
    async with cluster(2) as nodes:
        low, high = key_in(lambda slot: slot < 8192), key_in(lambda slot: slot >= 8192)
        async with connected(f"redis+cluster://127.0.0.1:{nodes[0].port}") as connections:
            for key in (low, high):
                assert await round_trip(connections.client(key), [("SET", key, "v"), ("GET", key)]) == [
                    b"OK",
                    b"v",
                ]
                async with connections.blocking(key, block=1) as reader:
                    assert await reader.read("GET", key) == b"v"
                with connections.sync_client(key) as client:
                    assert client.get(key) == b"v"
            await moved_slot_is_followed(connections, nodes, low)
        with pytest.raises(ConfigurationError, match=r"redis\+cluster://"):
            await Connections.open(nodes[0].tcp_url)


async def moved_slot_is_followed(connections: Connections, nodes: list[RedisProcess], key: str) -> None:
    slot = key_slot(key.encode())
    await connections.client(key).delete(key)
    with nodes[0].connect() as old, nodes[1].connect() as new:
        name: Any = new.execute_command("CLUSTER", "MYID")
        for node in (new, old):
            node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
        new.execute_command("CLUSTER", "BUMPEPOCH")  # else what the nodes tell each other may undo it
    (error,) = await round_trip(connections.client(key), [("SET", key, 2)])
    assert isinstance(error, failures.MovedError)
    assert retryable(error)
    await asyncio.gather(*(connections.relocate(error) for _ in range(20)))
    assert await round_trip(connections.client(key), [("GET", key), ("SET", key, 2)]) == [None, b"OK"]


async def test_a_lost_node_of_a_cluster_comes_back() -> None:
    async with cluster(2) as nodes:
        high = key_in(lambda slot: slot >= 8192)
        async with connected(f"redis+cluster://127.0.0.1:{nodes[0].port}", timeout=2) as connections:
            await connections.client(high).ping()
            nodes[1].kill9()
            with pytest.raises(failures.ConnectionError) as gone:
                await round_trip(connections.client(high), [("GET", high)])
            await connections.relocate(gone.value)
            nodes[1].start()
            backoff = Backoff()
            async with asyncio.timeout(20):
                while True:
                    try:
                        (reply,) = await round_trip(connections.client(high), [("GET", high)])
                        error = reply if isinstance(reply, Exception) else None
                    except failures.RedisError as failed:
                        error = failed
                    if error is None:
                        break
                    assert retryable(error)
                    await connections.relocate(error)
                    await backoff.wait()


async def test_a_cluster_url_to_a_lone_server(redis_server: RedisProcess) -> None:
    async with Proxy(redis_server.socket) as proxy:
        with pytest.raises(ConfigurationError, match="is not a cluster"):
            await Connections.open(proxy.url.replace("redis://", "redis+cluster://"))
