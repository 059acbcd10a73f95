"""Reference handlers, which together use every feature.

Their retries and sleeps of hours pass when the harness moves its clock.
"""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import zart_redis as zart
from zart_redis import RetryConfig, zart_durable, zart_step

EFFECTS: list[tuple[str, int]] = []
"""What step attempts have done, in order: (id:run:name, attempt)."""


def effect() -> None:
    info = zart.context()
    EFFECTS.append((f"{info.execution_id}:{info.run}:{info.step}", info.current_attempt + 1))


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
    attempt = zart.context().current_attempt + 1
    if attempt < works_at:
        raise RuntimeError("not yet")
    return attempt


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


@zart_durable("reference-chain")
async def chain(data: int) -> list[Any]:
    first = await work("first", data)
    second = await zart.step_or(declined("second"), -1)
    third = await zart.step_or_else(declined("third"), lambda error: f"else {error}")
    fourth = describe(await zart.step(declined("fourth")))
    token = await zart.capture("token", lambda: f"token-{data}")
    when = await zart.now("when")
    fifth = await in_thread("fifth")
    return [first, second, third, fourth, token, when is not None, fifth, zart.context().execution_id]


@zart_durable("reference-retries")
async def retries() -> list[Any]:
    return [await flaky("one"), describe(await zart.step(spent("two"))), describe(await zart.step(spent("no", True)))]


@zart_durable("reference-timeouts")
async def timeouts() -> list[str]:
    return [describe(await zart.step(overdue("shared"))), describe(await zart.step(hurried("each")))]


@zart_durable("reference-fan-out")
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


@zart_durable("reference-left-alone")
async def left_alone() -> str:
    zart.schedule(flaky("alone-1", 2))
    zart.schedule(declined("alone-2"))
    return "returned first"


@zart_durable("reference-gather")
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


@zart_durable("reference-sleeps")
async def sleeps() -> int:
    began = await zart.now("began")
    await zart.sleep("one", "1h")
    await work("between")
    await zart.sleep_until("until", began + timedelta(days=2))
    await zart.sleep("none", 0)
    return round(((await zart.now("ended")) - began).total_seconds())


@zart_durable("reference-events")
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


@zart_durable("reference-on-failure", on_failure=repair)
async def fails(data: int) -> str:
    await work("done", data)
    zart.schedule(flaky("dropped", 9))
    await declined("fatal")
    return "never"


@zart_durable("reference-plain-failure")
async def plain_failure() -> None:
    zart.schedule(overdue("dropped"))
    await work("done")
    raise Declined("plainly")


@zart_durable("reference-again", retry="fixed(1, 1h)")
async def again() -> list[Any]:
    value = await work("once")
    try:
        await zart.wait_for_event("early", "1m")
    except zart.DeadlineExceeded:
        pass
    if zart.context().current_attempt == 0:
        await declined("first-time")
    return [value, await work("second-time"), zart.context().current_attempt + 1]


@zart_durable("reference-again-spent", retry="fixed(1, 1h)")
async def again_spent() -> None:
    await work("once")
    await declined("each-time")


async def too_late(data: None, failure: zart.Failure) -> str:
    return f"{type(failure).__name__}, {await work('tidy')}"


@zart_durable("reference-deadline", timeout="3h", on_failure=too_late)
async def deadline() -> str:
    zart.schedule(overdue("dropped"))
    await asyncio.gather(zart.wait_for_event("never"), flaky("slow", 9))
    return "never"


@zart_durable("reference-cancelled", timeout="30d")
async def cancelled() -> None:
    await work("begun")
    zart.schedule(flaky("dropped", 9))
    await asyncio.gather(zart.sleep("long", "20d"), zart.wait_for_event("never"))


@zart_durable("reference-twice")
async def twice(data: int) -> int:
    await zart.sleep("nap", "1h")
    return data + await work("one")


@zart_durable("reference-mended")
async def mended() -> list[Any]:
    value = await work("before")
    if not SWITCH["mended"]:
        await declined("broken")
    return [value, await work("after")]


@zart_durable("reference-continued", timeout="30d")
async def continued(number: int) -> int:
    await work(f"in-{number}")
    if number < 3:
        zart.schedule(flaky("left", 2))
        await zart.wait_for_event(f"event-{number}")
        await zart.continue_as_new(number + 1)
    return number


@zart_durable("reference-stranger")
async def stranger() -> int:
    return await work("known-at-last")


@zart_durable("reference-races")
async def races() -> list[Any]:
    async def nap(name: str, hours: int) -> str:
        await asyncio.sleep(hours * 3600)
        await work(f"woken-{name}")
        return name

    answer = asyncio.ensure_future(zart.wait_for_event("answer", type=str))
    limit = asyncio.ensure_future(zart.sleep("limit", "1h"))
    done, _ = await asyncio.wait({answer, limit}, return_when=asyncio.FIRST_COMPLETED)
    await work("reminder" if limit in done else "no-reminder")
    try:
        async with asyncio.timeout(1800):
            await zart.wait_for_event("unanswered")
    except TimeoutError:
        await work("late")
    order = [await each for each in asyncio.as_completed([nap("slow", 2), nap("quick", 1)])]
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(nap("cancelled", 1000))
            group.create_task(branch_that_fails())
    except* zart.StepFailed as errors:
        order.append(str(len(errors.exceptions)))
    return [*order, await answer]


async def branch_that_fails() -> None:
    await zart.sleep("before-failing", "10m")
    await declined("in-group")


@zart_durable("reference-limited", limits=[zart.Limit("reference", concurrency=1, rate="1/1h").by("account")])
async def limited(data: dict[str, str]) -> str:
    await work(f"of-{data['number']}")
    await zart.sleep("nap", "10m")
    return data["number"]


@zart_durable("reference-talking")
async def talking(other: str) -> list[Any]:
    """Receives, gives a message back that came too late, sends, and starts."""
    seen = [await zart.receive("first", channel="news")]
    losing = asyncio.ensure_future(zart.receive("losing", channel="news"))
    await zart.wait_for_event("go")
    losing.cancel()
    await zart.start(listening, other)
    seen += [await zart.receive(f"then-{n}", channel="news") for n in range(2)]
    for value in seen:
        await zart.send(f"send-{value}", other, "values", value)
    try:
        await zart.receive("nothing", channel="news", timeout="1h")
    except zart.DeadlineExceeded:
        seen.append("nothing more")
    return seen


@zart_durable("reference-listening")
async def listening(_: None = None) -> list[Any]:
    return [await zart.receive(f"value-{n}", channel="values") for n in range(3)]


@zart_durable("reference-child")
async def child_of(hours: int) -> int:
    await work("in-child")
    if hours:
        await zart.sleep("nap", f"{hours}h")
    return hours


@zart_durable("reference-declining-child")
async def declining_child() -> None:
    await declined("in-child")


@zart_durable("reference-parent")
async def parent() -> list[Any]:
    """Children that return, fail, lose a race, and outlive it."""
    found: list[Any] = [await zart.child(child_of, 0, name="awaited")]
    handles = [zart.schedule(zart.child(child_of, hours, name=f"scheduled-{hours}")) for hours in (1, 2)]
    zart.schedule(zart.child(child_of, 5, id="outliving", on_parent_end="leave"))
    try:
        async with asyncio.timeout(1800):
            await zart.child(child_of, 100, id="losing", name="losing")
    except TimeoutError:
        found.append("timed out")
    match await zart.step(zart.child(declining_child, name="failing")):
        case zart.BusinessErr(error):
            found.append(type(error).__name__)
    slow = zart.schedule(work("dropped", 1))
    slow.cancel()
    return [*found, *(result.unwrap() for result in await zart.wait(handles))]


@zart_durable("reference-failing-parent")
async def failing_parent() -> None:
    zart.schedule(zart.child(child_of, 100, id="orphan"))
    await zart.sleep("before", "1h")
    raise ValueError


async def undo_booking(number: int, failure: zart.Failure) -> int:
    await work("undo", number)
    await zart.sleep("cooling-off", "1h")
    return await flaky("undo-at-last", 2)


@zart_durable("reference-compensated", on_failure=undo_booking)
async def compensated(number: int) -> int:
    await work("book", number)
    zart.schedule(zart.child(child_of, 100, id="abandoned"))
    await zart.wait_for_event("never")
    return number


SWITCH = {"mended": False}


HANDLERS = [item for item in list(globals().values()) if type(item).__name__ == "DurableHandler"]
assert all(a.name != b.name for a, b in itertools.combinations(HANDLERS, 2))
