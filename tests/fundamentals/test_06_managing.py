"""Managing executions: start them, follow them, wait, cancel, list, count. And what is refused."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import pytest

import zart_redis as zart
from tests.support.waiting import SOON, happens, reaches, until
from tests.support.workers import running_worker
from zart_redis import ExecutionStatus, StartRequest, zart_durable, zart_step

pytestmark = pytest.mark.anyio


@dataclass
class Order:
    id: str
    cents: int


async def same(data: Any) -> Any:
    return data


echo = zart_durable("echo")(same)


@zart_durable("priced")
async def priced(order: Order) -> int:
    return order.cents


@zart_durable("patient")
async def patient() -> str:
    await zart.wait_for_event("go")
    return "gone"


# Starting


async def test_starting_a_live_id_is_refused(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("a", "echo", 1)
    with pytest.raises(zart.ExecutionAlreadyExists) as raised:
        await scheduler.start("a", "echo", 2)
    assert (raised.value.execution_id, raised.value.status) == ("a", "scheduled")
    assert (await scheduler.status("a")).input == 1


@pytest.mark.usefixtures("worker")
async def test_starting_a_finished_id_begins_a_new_run(scheduler: zart.DurableScheduler) -> None:
    assert await scheduler.start("a", "echo", "first") == 1
    await scheduler.wait("a", SOON)
    assert await scheduler.start("a", "echo", "second") == 2
    record = await scheduler.wait("a", SOON)
    assert (record.run, record.attempt, record.output) == (2, 1, "second")


@pytest.mark.usefixtures("worker")
async def test_a_new_run_has_nothing_of_the_old_one(scheduler: zart.DurableScheduler) -> None:
    runs: list[str] = []

    @zart_step("work")
    async def work() -> str:
        runs.append(zart.context().idempotency_key)
        return runs[-1]

    @zart_durable("working")
    async def working() -> str:
        key = await work()
        if len(runs) == 1:
            raise RuntimeError
        return key

    await scheduler.start_for(working, "w")
    assert (await scheduler.wait("w", SOON)).status == "failed"
    outcome = await scheduler.start_and_wait_for(working, "w", timeout=SOON)
    assert len(set(runs)) == 2
    assert outcome == runs[1]
    record = await scheduler.status("w")
    assert (record.run, record.error, record.status) == (2, None, "completed")


@pytest.mark.usefixtures("worker")
async def test_start_for_is_typed_by_the_handler(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(priced, "order-1", Order("x", 5))
    assert await scheduler.wait_for(priced, "order-1", SOON) == 5


async def test_start_many_says_which_ones_began(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("id-3", "echo", "before")
    requests: list[StartRequest | tuple[str, str, Any]] = [(f"id-{n}", "echo", n) for n in range(600)]
    requests.append(StartRequest("delayed", "echo", 1, queue="mail", delay="1h"))
    answers = await scheduler.start_many(requests)
    assert answers == [None if n == 3 else 1 for n in range(601)]
    assert (await scheduler.stats()).by_status == {ExecutionStatus.SCHEDULED: 601}
    assert (await scheduler.status("delayed")).queue == "mail"
    assert (await scheduler.status("id-3")).input == "before"


async def test_start_many_starts_nothing_if_one_is_bad(scheduler: zart.DurableScheduler) -> None:
    with pytest.raises(zart.InvalidInput):
        await scheduler.start_many([("good", "echo", 1), ("", "echo", 2)])
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.status("good")


@pytest.mark.usefixtures("worker")
async def test_a_delayed_start_begins_later(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("later", "echo", 1, delay="150ms")
    record = await scheduler.status("later")
    assert (record.status, record.waiting_for, record.started_at) == ("scheduled", ("delayed start",), None)
    record = await scheduler.wait("later", SOON)
    assert record.started_at is not None
    assert record.started_at - record.created_at >= timedelta(milliseconds=150)


async def test_a_delayed_start_can_be_cancelled(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("later", "echo", 1, delay="50ms")
    assert await scheduler.cancel("later")
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(echo, "other", 1, SOON)
        assert (await scheduler.wait("later", SOON)).status == "cancelled"


@pytest.mark.usefixtures("worker")
async def test_an_execution_goes_to_the_queue_of_its_handler_or_of_its_start(scheduler: zart.DurableScheduler) -> None:
    mail = zart_durable("mail", queue="mail")(same)
    await scheduler.start_for(mail, "handlers", 1)
    await scheduler.start_for(echo, "starters", 2, queue="mail")
    await scheduler.start_for(mail, "back", 3, queue="default")
    await scheduler.wait("back", SOON)
    assert (await scheduler.status("handlers")).status == "scheduled"
    async with running_worker(scheduler, queues=["mail"]):
        assert await scheduler.wait_for(mail, "handlers", SOON) == 1
        assert await scheduler.wait_for(echo, "starters", SOON) == 2
    assert (await scheduler.status("starters")).queue == "mail"


async def test_a_starter_needs_not_know_the_handler(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("far", "declared-elsewhere", {"a": [1]})
    elsewhere = zart_durable("declared-elsewhere")(same)
    async with running_worker(scheduler):
        assert await scheduler.wait_for(elsewhere, "far", SOON) == {"a": [1]}


async def test_a_task_that_no_worker_knows_is_left_for_one_that_does(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("new", "of-next-version", 1)
    async with running_worker(scheduler, handlers=[echo]):
        record = await reaches(scheduler, "new", "scheduled", "a worker that knows task 'of-next-version'")
        assert record.started_at is None or record.status == "scheduled"
    known = zart_durable("of-next-version")(same)
    async with running_worker(scheduler, handlers=[known]):
        assert await scheduler.wait_for(known, "new", SOON) == 1
    assert (await scheduler.status("new")).attempt == 1


# Following


@pytest.mark.usefixtures("worker")
async def test_status_of_an_execution_through_its_life(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(patient, "p")
    record = await reaches(scheduler, "p", "waiting", "event go")
    assert (record.execution_id, record.task_name, record.run, record.attempt) == ("p", "patient", 1, 1)
    assert (record.input, record.output, record.error, record.finished_at) == (None, None, None, None)
    await scheduler.offer_event("p", "go")
    record = await scheduler.wait("p", SOON)
    assert (record.status, record.output, record.waiting_for) == ("completed", "gone", ())
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.created_at <= record.started_at <= record.finished_at
    assert record.created_at.utcoffset() == timedelta(0)
    assert record == await scheduler.status("p")


async def test_an_unknown_id_is_not_found(scheduler: zart.DurableScheduler) -> None:
    for ask in (scheduler.status, scheduler.wait, scheduler.wait_completion):
        with pytest.raises(zart.ExecutionNotFound):
            await ask("nobody")
    assert await scheduler.cancel("nobody") is False


async def test_wait_times_out_and_the_execution_goes_on(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("slow", "echo", 1)
    with pytest.raises(zart.WaitTimedOut) as raised:
        await scheduler.wait("slow", "30ms")
    assert raised.value.execution_id == "slow"
    async with running_worker(scheduler):
        assert (await scheduler.wait("slow", SOON)).output == 1


async def test_a_wait_of_no_time_still_looks_once(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(echo, "done", 1, SOON)
    assert (await scheduler.wait("done", "1s")).output == 1


@pytest.mark.usefixtures("worker")
async def test_wait_is_woken_by_the_completion_and_does_not_ask_again_and_again(
    scheduler: zart.DurableScheduler, redis_server: Any
) -> None:
    await scheduler.start_for(patient, "p")
    await reaches(scheduler, "p", "waiting", "event go")
    waiter = asyncio.create_task(scheduler.wait("p", SOON))
    await asyncio.sleep(0.1)
    with redis_server.connect() as client:
        client.config_resetstat()
        await asyncio.sleep(0.5)
        calls = client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"]
    assert calls == 0
    await scheduler.offer_event("p", "go")
    assert (await waiter).output == "gone"


@pytest.mark.usefixtures("worker")
async def test_wait_completion_gives_the_output_as_a_type(scheduler: zart.DurableScheduler) -> None:
    @zart_durable("ordering")
    async def ordering() -> Order:
        return Order("a", 5)

    await scheduler.start_for(ordering, "o")
    assert await scheduler.wait_completion("o", SOON, type=Order) == Order("a", 5)
    assert await scheduler.wait_completion("o", SOON) == {"id": "a", "cents": 5}
    assert await scheduler.wait_for(ordering, "o", SOON) == Order("a", 5)
    with pytest.raises(zart.SerializationError, match="output of execution 'o'"):
        await scheduler.wait_completion("o", SOON, type=int)


async def test_many_wait_for_one(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start("one", "echo", 1)
    waiters = [asyncio.create_task(scheduler.wait_for(echo, "one", SOON)) for _ in range(20)]
    async with running_worker(scheduler):
        assert await asyncio.gather(*waiters) == [1] * 20


# Cancelling


@pytest.mark.usefixtures("worker")
async def test_cancelling_what_waits_ends_it_at_once(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(patient, "p")
    await reaches(scheduler, "p", "waiting", "event go")
    assert await scheduler.cancel("p") is True
    assert (await scheduler.status("p")).status == "cancelled"
    assert await scheduler.cancel("p") is False
    with pytest.raises(zart.Cancelled):
        await scheduler.wait_for(patient, "p", SOON)
    with pytest.raises(zart.ExecutionFinished):
        await scheduler.offer_event("p", "go")


@pytest.mark.usefixtures("worker")
async def test_cancelling_what_has_completed_answers_false(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_and_wait_for(echo, "e", 1, SOON)
    assert await scheduler.cancel("e") is False
    assert (await scheduler.status("e")).status == "completed"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("way", ["in place", "scheduled"])
async def test_after_a_cancel_nothing_starts_and_late_results_change_nothing(
    scheduler: zart.DurableScheduler, way: str
) -> None:
    begun, ended, after = asyncio.Event(), asyncio.Event(), []

    @zart_step("stubborn")
    async def stubborn() -> int:
        begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass
        ended.set()
        return 1

    @zart_step("next")
    async def following() -> None:
        after.append(1)

    @zart_durable("stubborn-body")
    async def body() -> int:
        if way == "in place":
            await stubborn()
        else:
            await zart.wait([zart.schedule(stubborn())])
        await following()
        return 1

    await scheduler.start_for(body, "s")
    await happens(begun)
    waiter = asyncio.create_task(scheduler.wait("s", SOON))
    assert await scheduler.cancel("s")
    assert (await waiter).status == "cancelled"
    await happens(ended)
    await scheduler.start_and_wait_for(echo, "other", 1, SOON)
    record = await scheduler.status("s")
    assert (record.status, record.output, after) == ("cancelled", None, [])


@pytest.mark.usefixtures("worker")
async def test_a_cancelled_id_can_be_started_again(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(patient, "p")
    await scheduler.cancel("p")
    assert await scheduler.start_for(patient, "p") == 2
    await scheduler.offer_event("p", "go")
    assert await scheduler.wait_for(patient, "p", SOON) == "gone"


# Listing and counting


async def test_pages_show_each_execution_once_though_many_share_a_millisecond(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_many([(f"id-{n:03}", "echo", n) for n in range(300)])
    orders: list[Literal["newest", "oldest"]] = ["newest", "oldest"]
    for order in orders:
        seen: list[zart.ExecutionRecord] = []
        cursor = None
        while True:
            page = await scheduler.list_executions(limit=7, cursor=cursor, order=order)
            seen += page
            cursor = page.cursor
            if cursor is None:
                break
        assert len(seen) == len({record.execution_id for record in seen}) == 300
        created = [record.created_at for record in seen]
        assert created == sorted(created, reverse=order == "newest")
        assert len(set(created)) < 300


@pytest.mark.usefixtures("worker")
async def test_lists_are_filtered_by_status_task_and_queue(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_for(echo, "e1", 1)
    await scheduler.start_for(echo, "e2", 2, queue="other")
    await scheduler.start_for(patient, "p1")
    await scheduler.start_for(patient, "p2", queue="other")
    await scheduler.wait("e1", SOON)
    await reaches(scheduler, "p1", "waiting", "event go")

    async def ids(**wanted: Any) -> set[str]:
        return {record.execution_id for record in await scheduler.list_executions(**wanted)}

    assert await ids() == {"e1", "e2", "p1", "p2"}
    assert await ids(status="completed") == {"e1"}
    assert await ids(status=ExecutionStatus.WAITING) == {"p1"}
    assert await ids(task_name="patient") == {"p1", "p2"}
    assert await ids(queue="other") == {"e2", "p2"}
    assert await ids(task_name="patient", queue="other", status="scheduled") == {"p2"}
    assert await ids(task_name="nobody") == set()


async def test_an_execution_that_has_been_started_again_is_listed_once(scheduler: zart.DurableScheduler) -> None:
    async with running_worker(scheduler):
        for number in range(3):
            await scheduler.start_and_wait_for(echo, "e", number, SOON)
    (record,) = await scheduler.list_executions()
    assert (record.run, record.output) == (3, 2)
    assert (await scheduler.stats()).by_status == {ExecutionStatus.COMPLETED: 1}


async def test_bad_lists_are_refused(scheduler: zart.DurableScheduler) -> None:
    bad: list[dict[str, Any]] = [
        {"status": "asleep"}, {"order": "random"}, {"limit": 0}, {"limit": 10_000}, {"cursor": "???"},
    ]  # fmt: skip
    for arguments in bad:
        with pytest.raises(zart.InvalidInput):
            await scheduler.list_executions(**arguments)


async def test_stats_count_by_status_task_and_queue(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_many([(f"e{n}", "echo", n) for n in range(3)])
    await scheduler.start_for(patient, "p")
    async with running_worker(scheduler):
        for number in range(3):
            await scheduler.wait(f"e{number}", SOON)
        await reaches(scheduler, "p", "waiting", "event go")
        await scheduler.start("m", "echo", queue="mail")
        stats = await scheduler.stats()
    assert stats.by_status == {"completed": 3, "waiting": 1, "scheduled": 1}
    assert stats.by_task == {"echo": {"completed": 3, "scheduled": 1}, "patient": {"waiting": 1}}
    assert (stats.queues["default"].queued, stats.queues["default"].held) == (0, 0)


async def test_stats_tell_how_deep_a_queue_is_before_any_worker_reads_it(scheduler: zart.DurableScheduler) -> None:
    await scheduler.start_many([(f"e{n}", "echo", n) for n in range(3)])
    depth = (await scheduler.stats()).queues["default"]
    assert (depth.queued, depth.held) == (3, 0)
    assert depth.oldest_ms is not None


async def test_what_has_finished_disappears_after_its_retention(scheduler: zart.DurableScheduler) -> None:
    short = zart_durable("short", retention="60ms")(same)
    async with running_worker(scheduler):
        await scheduler.start_and_wait_for(short, "s", 1, SOON)
        await scheduler.start_and_wait_for(echo, "e", 1, SOON)

        async def is_gone() -> bool:
            return [record.execution_id for record in await scheduler.list_executions()] == ["e"]

        await until(is_gone)
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.status("s")


# Refused before anything is written

BAD_NAMES = [
    ("", "must not be empty"),
    ("x" * 513, "513 bytes"),
    (7, "must be text"),
    (None, "text"),
    ("\ud800", "UTF-8"),
]


@pytest.mark.parametrize(("bad", "why"), BAD_NAMES, ids=lambda value: repr(value)[:12])
async def test_bad_ids_and_names_are_refused(scheduler: zart.DurableScheduler, bad: Any, why: str) -> None:
    attempts: list[Callable[[], Any]] = [
        lambda: scheduler.start(bad, "echo", 1),
        lambda: scheduler.start("a", bad, 1),
        lambda: scheduler.status(bad),
        lambda: scheduler.wait(bad),
        lambda: scheduler.cancel(bad),
        lambda: scheduler.offer_event(bad, "shipped"),
        lambda: scheduler.offer_event("a", bad),
    ]
    for attempt in attempts:
        with pytest.raises(zart.InvalidInput, match=why):
            await attempt()
    assert await scheduler.list_executions() == []


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("bad", ["", "x" * 513, 7])
async def test_bad_names_in_a_body_are_refused(scheduler: zart.DurableScheduler, bad: Any) -> None:
    refused: list[str] = []

    @zart_step("fine")
    async def fine() -> None: ...

    @zart_durable("bad-names")
    async def bad_names() -> None:
        for call in (
            lambda: fine().named(bad),
            lambda: zart.sleep(bad, 1),
            lambda: zart.wait_for_event(bad),
            lambda: zart.capture(bad, lambda: 1),
            lambda: zart.now(bad),
        ):
            try:
                await call()
            except zart.InvalidInput as error:
                refused.append(str(error))

    await scheduler.start_and_wait_for(bad_names, "bad-1", timeout=SOON)
    assert len(refused) == 5


@pytest.mark.parametrize("bad", [-1, "-1s", "soon", "5 parsecs", timedelta(seconds=-1), float("nan"), "200 years"])
async def test_bad_durations_are_refused(scheduler: zart.DurableScheduler, bad: Any) -> None:
    with pytest.raises(zart.InvalidInput):
        await scheduler.start("a", "echo", 1, delay=bad)
    with pytest.raises(zart.InvalidInput):
        await scheduler.wait("a", bad)
    with pytest.raises(zart.InvalidInput):
        zart_step("timed", timeout=bad)(same)
    with pytest.raises(zart.InvalidInput):
        zart_durable("timed", timeout=bad)(same)
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.status("a")


@pytest.mark.parametrize("data", ["order-1", {"id": "x"}, {"id": "x", "cents": "many"}, None, [1]])
async def test_data_that_the_handler_does_not_take_is_refused(scheduler: zart.DurableScheduler, data: Any) -> None:
    with pytest.raises(zart.SerializationError, match="input of task 'priced'"):
        await scheduler.start("order-1", "priced", data)
    with pytest.raises(zart.ExecutionNotFound):
        await scheduler.status("order-1")


async def test_payloads_over_the_limit_are_refused(redis_url: str, namespace: str) -> None:
    async with zart.DurableScheduler(redis_url, namespace=namespace, max_payload=1000) as scheduler:
        with pytest.raises(zart.PayloadTooLarge, match="at most 1,000"):
            await scheduler.start("a", "echo", "x" * 1000)
        await scheduler.start("a", "echo", "x" * 900)
        with pytest.raises(zart.PayloadTooLarge, match="event 'big'"):
            await scheduler.offer_event("a", "big", "x" * 1000)


async def test_a_result_or_output_over_the_limit_fails_the_execution(scheduler: zart.DurableScheduler) -> None:
    @zart_step("big")
    async def big() -> str:
        return "x" * 1000

    @zart_durable("big-step")
    async def big_step() -> Any:
        return len(await big())

    @zart_durable("big-output")
    async def big_output() -> Any:
        return "x" * 1000

    @zart_durable("big-arguments")
    async def big_arguments() -> Any:
        await zart.wait([zart.schedule(zart_step("take")(same)("x" * 1000))])

    async with running_worker(scheduler, max_payload=1000):
        handlers: list[zart.DurableHandler[None, Any]] = [big_step, big_output, big_arguments]
        for handler in handlers:
            with pytest.raises(zart.ExecutionFailed) as raised:
                await scheduler.start_and_wait_for(handler, handler.name, timeout=SOON)
            assert isinstance(raised.value.error, zart.PayloadTooLarge)


async def test_what_is_no_handler_is_refused(scheduler: zart.DurableScheduler, redis_url: str) -> None:
    with pytest.raises(zart.InvalidInput, match="is not a handler"):
        await scheduler.start_for(same, "a", 1)  # type: ignore[call-overload]  # pyright: ignore
    with pytest.raises(zart.InvalidInput, match="is not a handler"):
        zart.Worker(redis_url, handlers=[same])  # type: ignore[list-item]  # pyright: ignore
    with pytest.raises(zart.InvalidInput, match="two of the handlers are named 'echo'"):
        zart.Worker(redis_url, handlers=[echo, zart_durable("echo")(same)])


def test_what_cannot_be_declared_is_refused() -> None:
    def plain(data: int) -> int:
        return data

    async def two(a: int, b: int) -> int:
        return a + b

    bad: list[Any] = [
        lambda: zart_durable("plain")(plain),  # type: ignore[arg-type]  # pyright: ignore
        lambda: zart_durable("two")(two),  # type: ignore[arg-type]  # pyright: ignore
        lambda: zart_durable(""),
        lambda: zart_durable("queued", queue="")(same),
        lambda: zart_step("x" * 513),
        lambda: zart_step("scoped", timeout_scope="ever")(plain),  # type: ignore[call-overload]  # pyright: ignore
        lambda: zart_step("retried", retry="often")(plain),
        lambda: zart_step("raising", raises=(KeyboardInterrupt,))(plain),  # type: ignore[type-var]  # pyright: ignore
        lambda: zart_step("class")(Order),
    ]
    for declare in bad:
        with pytest.raises(zart.InvalidInput):
            declare()
