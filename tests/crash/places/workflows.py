"""Reference workflows, which together use every feature, and for each the client that sees it through.

A client may die anywhere and be begun again from the top, so it does nothing twice: each of its acts looks first
whether it was done. All time is the stage's: retries and sleeps of hours pass when the stage moves its clock.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import zart_redis as zart
from tests.crash.places.stage import Stage
from zart_redis import RetryConfig, zart_durable, zart_step

EFFECTS: list[tuple[str, int]] = []
"""What step attempts have done, in order: (id:run:name, attempt)."""


def effect() -> None:
    info = zart.context()
    EFFECTS.append((info.idempotency_key.partition(":")[2], info.current_attempt))


class Declined(Exception):
    pass


@zart_step("work-{name}")
async def work(name: str, value: int = 1) -> int:
    effect()
    await asyncio.sleep(0)
    return value


@zart_step("thread-{name}")
def in_thread(name: str) -> str:
    effect()
    return name


@zart_step("flaky-{name}", retry="fixed(5, 1h)")
async def flaky(name: str, works_at: int = 3) -> int:
    effect()
    if zart.context().current_attempt < works_at:
        raise RuntimeError("not yet")
    return zart.context().current_attempt


@zart_step("spent-{name}", retry=RetryConfig.fixed(1, "1h", no_retry=(Declined,)), raises=(Declined,))
async def spent(name: str, final: bool = False) -> int:
    effect()
    raise Declined(name) if final else RuntimeError(name)


@zart_step("overdue-{name}", retry="fixed(9, 1h)", timeout="150m")
async def overdue(name: str) -> None:
    effect()
    raise RuntimeError(name)


@zart_step("hurried-{name}", timeout="20ms", timeout_scope="per_attempt")
async def hurried(name: str) -> None:
    effect()
    await asyncio.sleep(60)


@zart_step("declined-{name}", raises=(Declined,))
async def declined(name: str) -> int:
    effect()
    raise Declined(name)


def describe(result: Any) -> str:
    """An outcome in words that do not change from run to run."""
    match result:
        case zart.Ok(value):
            return f"ok {value}"
        case zart.BusinessErr(error):
            return f"business {error!r}"
        case zart.ZartErr(error) | zart.Err(error):
            return f"{type(error).__name__} {getattr(error, 'own_error', error)!r}"
    return f"?? {result!r}"


# The handlers


@zart_durable("place-chain")
async def chain(data: int) -> list[Any]:
    first = await work("first", data)
    second = await zart.step_or(declined("second"), -1)
    third = await zart.step_or_else(declined("third"), lambda error: f"else {error}")
    fourth = describe(await zart.step(declined("fourth")))
    token = await zart.capture("token", lambda: f"token-{data}")
    when = await zart.now("when")
    fifth = await in_thread("fifth")
    return [first, second, third, fourth, token, when is not None, fifth, zart.context().execution_id]


@zart_durable("place-retries")
async def retries() -> list[Any]:
    return [await flaky("one"), describe(await zart.step(spent("two"))), describe(await zart.step(spent("no", True)))]


@zart_durable("place-timeouts")
async def timeouts() -> list[str]:
    return [describe(await zart.step(overdue("shared"))), describe(await zart.step(hurried("each")))]


@zart_durable("place-fan-out")
async def fan_out() -> list[str]:
    handles = [
        zart.schedule(work("a")),
        zart.schedule(flaky("b", 2)),
        zart.schedule(declined("c")),
        zart.schedule(overdue("d")),
        zart.schedule(spent("e")),
    ]
    await work("between")
    zart.schedule(flaky("left-alone", 2))
    first = await zart.wait(handles[:2])
    return [describe(result) for result in (*first, *await zart.wait(handles))]


@zart_durable("place-left-alone")
async def left_alone() -> str:
    zart.schedule(flaky("alone-1", 2))
    zart.schedule(declined("alone-2"))
    return "returned first"


@zart_durable("place-gather")
async def gather() -> list[Any]:
    async def branch() -> int:
        value = await work("branch-1")
        await zart.sleep("branch-nap", "2h")
        return value + await flaky("branch-2", 2)

    first = await asyncio.gather(work("one"), branch(), zart.sleep("nap", "1h"), flaky("two", 2))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch_of(name)) for name in ("x", "y")]
    return [first[0], first[1], first[3], *(task.result() for task in tasks)]


async def branch_of(name: str) -> int:
    (result,) = await zart.wait([zart.schedule(work(f"scheduled-{name}"))])
    return result.unwrap() + await work(f"after-{name}")


@zart_durable("place-sleeps")
async def sleeps() -> int:
    began = await zart.now("began")
    await zart.sleep("one", "1h")
    await work("between")
    await zart.sleep_until("until", began + timedelta(days=2))
    await zart.sleep("none", 0)
    return round(((await zart.now("ended")) - began).total_seconds())


@zart_durable("place-events")
async def events() -> list[Any]:
    early = await zart.wait_for_event("early", type=str)
    await work("between")
    late = await zart.wait_for_event("late", "7d", type=str)
    try:
        never = await zart.wait_for_event("never", "1d", type=str)
    except zart.DeadlineExceeded as error:
        never = str(error)
    both = await asyncio.gather(
        zart.wait_for_event("left", "1d"), zart.wait_for_event("right"), zart.sleep("nap", "1h")
    )
    return [early, late, never, both[:2]]


async def repair(data: int, failure: zart.Failure) -> str:
    await work("undo")
    await zart.sleep("undo-nap", "1h")
    (result,) = await zart.wait([zart.schedule(flaky("undo-more", 2))])
    return f"repaired {data} after {type(failure).__name__}, {result.unwrap()}"


@zart_durable("place-on-failure", on_failure=repair)
async def fails(data: int) -> str:
    await work("done", data)
    zart.schedule(flaky("dropped", 9))
    await declined("fatal")
    return "never"


@zart_durable("place-plain-failure")
async def plain_failure() -> None:
    zart.schedule(overdue("dropped"))
    await work("done")
    raise Declined("plainly")


@zart_durable("place-again", retry="fixed(1, 1h)")
async def again() -> list[Any]:
    value = await work("once")
    try:
        await zart.wait_for_event("early", "1m")
    except zart.DeadlineExceeded:
        pass
    if zart.context().current_attempt == 1:
        await declined("first-time")
    return [value, await work("second-time"), zart.context().current_attempt]


@zart_durable("place-again-spent", retry="fixed(1, 1h)")
async def again_spent() -> None:
    await work("once")
    await declined("each-time")


async def too_late(data: None, failure: zart.Failure) -> str:
    return f"{type(failure).__name__}, {await work('tidy')}"


@zart_durable("place-deadline", timeout="3h", on_failure=too_late)
async def deadline() -> str:
    zart.schedule(overdue("dropped"))
    await asyncio.gather(zart.wait_for_event("never"), flaky("slow", 9))
    return "never"


@zart_durable("place-cancelled", timeout="30d")
async def cancelled() -> None:
    await work("begun")
    zart.schedule(flaky("dropped", 9))
    await asyncio.gather(zart.sleep("long", "20d"), zart.wait_for_event("never"))


@zart_durable("place-twice")
async def twice(data: int) -> int:
    await zart.sleep("nap", "1h")
    return data + await work("one")


@zart_durable("place-mended")
async def mended() -> list[Any]:
    value = await work("before")
    if not SWITCH["mended"]:
        await declined("broken")
    return [value, await work("after")]


@zart_durable("place-stranger")
async def stranger() -> int:
    return await work("known-at-last")


SWITCH = {"mended": False}


# The clients

Client = zart.DurableScheduler
Act = Callable[[Client, Stage], Coroutine[Any, Any, None]]


async def started(client: Client, handler: Any, execution_id: str, data: Any = None, **options: Any) -> None:
    try:
        await client.status(execution_id)
    except zart.ExecutionNotFound:
        await client.start_for(handler, execution_id, data, **options)


async def offered(client: Client, execution_id: str, name: str) -> None:
    try:
        await client.offer_event(execution_id, name, f"the {name} one")
    except zart.ExecutionFinished:
        pass  # it was offered before, and all has ended


def simply(handler: Any, data: Any = None) -> Act:
    async def act(client: Client, stage: Stage) -> None:
        await started(client, handler, "it", data)
        await stage.finish("it")
        await client.wait("it", "10s")

    return act


async def waited_for(client: Client, stage: Stage) -> None:
    """The client waits while the worker works, and is told."""
    await started(client, chain, "it", 7)
    assert (await client.wait_for(chain, "it", "20s"))[0] == 7


async def drive_events(client: Client, stage: Stage) -> None:
    await started(client, events, "it")
    await offered(client, "it", "early")
    await stage.settle()
    await offered(client, "it", "late")
    await stage.settle()
    await stage.until("1d")
    await offered(client, "it", "right")
    await offered(client, "it", "left")
    await stage.finish("it")


async def drive_cancelled(client: Client, stage: Stage) -> None:
    await started(client, cancelled, "it")
    await started(client, cancelled, "unbegun", delay="1h")
    await stage.settle()
    await client.cancel("unbegun")
    await client.cancel("it")
    await stage.finish("it")


async def drive_cancelled_at_once(client: Client, stage: Stage) -> None:
    """The cancel meets the work wherever it is."""
    await started(client, cancelled, "it")
    await client.cancel("it")
    await stage.settle()
    stage.racy = True


async def drive_twice(client: Client, stage: Stage) -> None:
    await started(client, twice, "it", 1)
    await stage.finish("it")
    if (await client.status("it")).run == 1:
        await client.start_for(twice, "it", 2)
    await stage.finish("it")


async def drive_many(client: Client, stage: Stage) -> None:
    await client.start_many([(f"many-{i}", "place-twice", i) for i in range(3) if i not in await stage.ids("many-")])
    await started(client, twice, "later", 9, delay="2h")
    for name in ("many-0", "many-1", "many-2", "later"):
        await stage.finish(name)


async def drive_restart(client: Client, stage: Stage) -> None:
    await started(client, cancelled, "it")
    await stage.settle()
    if (await client.status("it")).run == 1:
        await client.restart("it")
    await stage.settle()
    await client.cancel("it")


async def drive_mended(client: Client, stage: Stage) -> None:
    SWITCH["mended"] = False
    await started(client, mended, "it")
    await stage.finish("it")
    SWITCH["mended"] = True
    if (await client.status("it")).status == "failed":
        await client.retry_step("it", "declined-broken")
    await stage.finish("it")


async def drive_rerun(client: Client, stage: Stage) -> None:
    await started(client, chain, "it", 7)
    await stage.finish("it")
    if (await client.status("it")).run == 1:
        await client.rerun_steps("it", rerun=["work-*"], preserve=["token"])
    await stage.finish("it")
    await client.runs("it")
    await client.detail("it")


async def drive_paused(client: Client, stage: Stage) -> None:
    await client.pause(task_name="place-fan-out", step_pattern="work-*")
    await client.pause(task_name="place-deadline", extend_deadlines=True)
    await started(client, fan_out, "it")
    await started(client, deadline, "held")
    await stage.settle()
    await stage.until("1h")
    await client.resume(task_name="place-fan-out", step_pattern="work-*")
    await stage.settle()
    await client.resume(task_name="place-deadline")
    await stage.finish("it")
    await stage.finish("held")


async def drive_cancelled_while_paused(client: Client, stage: Stage) -> None:
    await client.pause(execution_id="it")
    await started(client, cancelled, "it")
    await stage.settle()
    await client.cancel("it")
    await client.resume(execution_id="it")
    await stage.settle()
    await stage.until("1h")


async def drive_drained(client: Client, stage: Stage) -> None:
    """The worker is told to stop in the middle, and another goes on."""
    await started(client, gather, "it")
    await started(client, chain, "other", 3)
    await stage.drain()
    await stage.settle()
    await stage.until("1h")
    await stage.drain()
    await stage.finish("it")
    await stage.finish("other")


async def drive_stranger(client: Client, stage: Stage) -> None:
    stage.unknown("place-stranger")
    await started(client, stranger, "it")
    await stage.settle()
    stage.known("place-stranger")
    await stage.finish("it")


@dataclass(frozen=True)
class Workflow:
    name: str
    act: Act


WORKFLOWS = [
    Workflow("chain, captures, errors handled", simply(chain, 7)),
    Workflow("waited for while it runs", waited_for),
    Workflow("retries in place", simply(retries)),
    Workflow("timeouts", simply(timeouts)),
    Workflow("fan-out", simply(fan_out)),
    Workflow("scheduled and not waited for", simply(left_alone)),
    Workflow("gather and task groups", simply(gather)),
    Workflow("sleeps", simply(sleeps)),
    Workflow("events", drive_events),
    Workflow("on_failure", simply(fails, 5)),
    Workflow("failure", simply(plain_failure)),
    Workflow("execution retried", simply(again)),
    Workflow("execution retries spent", simply(again_spent)),
    Workflow("execution deadline", simply(deadline)),
    Workflow("cancel", drive_cancelled),
    Workflow("cancel at once", drive_cancelled_at_once),
    Workflow("started again", drive_twice),
    Workflow("many, and delayed", drive_many),
    Workflow("restart while live", drive_restart),
    Workflow("retry_step", drive_mended),
    Workflow("rerun", drive_rerun),
    Workflow("pause and resume", drive_paused),
    Workflow("cancel while paused", drive_cancelled_while_paused),
    Workflow("drain", drive_drained),
    Workflow("task that no worker knows", drive_stranger),
]

assert len({w.name for w in WORKFLOWS}) == len(WORKFLOWS)
HANDLERS = [item for item in list(globals().values()) if type(item).__name__ == "DurableHandler"]
assert all(a.name != b.name for a, b in itertools.combinations(HANDLERS, 2))
