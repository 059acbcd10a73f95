"""The handlers of the executions in the fixtures: one for each way to wait, to fail, and to be held up.

The recorded runs must replay against them, so the names of steps and the order of durable calls are part of the
fixtures. Only the public API is used, and every body finishes once time has passed, events have been offered and pause
rules are gone.
"""

import asyncio
from typing import Any

import zart_redis as zart
from zart_redis import zart_durable, zart_step

gate = asyncio.Event()
"""Holds `gated` steps. The fixtures were taken while it was closed; it is open otherwise."""
gate.set()


class Declined(Exception):
    pass


@zart_step("add-{number}")
async def add(number: int, to: int = 0) -> int:
    return to + number


@zart_step("flaky-{number}", retry="fixed(3, 10d)")
async def flaky(number: int) -> int:
    """Fails once, so that it is between two attempts for ten days."""
    if not zart.context().is_retry():
        raise RuntimeError("not yet")
    return number


@zart_step("limited-{number}", timeout="40d", retry="fixed(3, 10d)")
async def limited(number: int) -> int:
    if not zart.context().is_retry():
        raise RuntimeError("not yet")
    return number


@zart_step("gated-{number}")
async def gated(number: int) -> int:
    await gate.wait()
    return number


@zart_step("declined", raises=(Declined,))
async def declined() -> int:
    raise Declined("no")


@zart_durable("compat-plain")
async def plain(data: int) -> int:
    return await add(1, data)


@zart_durable("compat-sleep", timeout="300d")
async def sleeper(data: int) -> int:
    total = await add(1, data)
    await zart.sleep("short", "1h")
    total += await zart.capture("two", lambda: 2, type=int)
    await zart.sleep("long", "20d")
    return total + await add(3)


@zart_durable("compat-event")
async def event(data: str) -> list[Any]:
    early = await zart.wait_for_event("early", type=str)
    return [data, early, await zart.wait_for_event("go", type=str)]


@zart_durable("compat-event-timeout")
async def event_timeout(data: str) -> list[Any]:
    try:
        await zart.wait_for_event("past", "1h")
    except zart.DeadlineExceeded:
        pass
    try:
        return [data, await zart.wait_for_event("go", "30d", type=str)]
    except zart.DeadlineExceeded:
        return [data, "too late"]


@zart_durable("compat-race")
async def both(data: int) -> int:
    """Waits for several things at once: a sleep, an event, a scheduled step, and a retry in place."""
    handle = zart.schedule(add(data))
    _, word, result, number = await asyncio.gather(
        zart.sleep("long", "20d"), zart.wait_for_event("go", "30d", type=str), zart.wait([handle]), flaky(5)
    )
    return number + len(word) + sum(r.unwrap() for r in result)


@zart_durable("compat-retry-step")
async def retry_step(data: int) -> int:
    """Two steps in place between two attempts, one of them with a deadline; a failure that the body handled."""
    refused = await zart.step_or(declined(), 100)
    return refused + sum(await asyncio.gather(flaky(data), limited(10)))


@zart_durable("compat-retry-body", retry="fixed(2, 10d)")
async def retry_body(data: int) -> list[int]:
    total = await add(1, data)
    try:
        await zart.wait_for_event("past", "1h")
    except zart.DeadlineExceeded:
        pass
    if zart.context().current_attempt == 0:
        await declined()
    return [total, zart.context().current_attempt + 1]


@zart_durable("compat-steps")
async def steps(data: int) -> int:
    """Scheduled steps, two groups of which overlap."""
    handles = [zart.schedule(add(number)) for number in range(data)]
    first, everything = await asyncio.gather(zart.wait(handles[:2]), zart.wait(handles))
    return sum(result.unwrap() for result in [*first, *everything])


@zart_durable("compat-steps-retry")
async def steps_retry(data: int) -> int:
    handles = [zart.schedule(flaky(data)), zart.schedule(limited(data)), zart.schedule(add(data))]
    return sum(result.unwrap() for result in await zart.wait(handles))


@zart_durable("compat-steps-gated")
async def steps_gated(data: int) -> int:
    handles = [zart.schedule(gated(data)), zart.schedule(add(data))]
    return sum(result.unwrap() for result in await zart.wait(handles))


@zart_durable("compat-returned", timeout="300d")
async def returned(data: int) -> int:
    """Returns while scheduled steps are left."""
    zart.schedule(flaky(1))
    zart.schedule(add(1))
    return data


@zart_durable("compat-held")
async def held(data: int) -> int:
    return await add(1, data) + await gated(2)


@zart_durable("compat-told")
async def told(data: int) -> list[int]:
    """Held by a worker while what others write reaches it: a sleep that ends, an event."""

    async def rest() -> int:
        await zart.sleep("short", "1h")
        return await zart.wait_for_event("early", type=int)

    return list(await asyncio.gather(gated(data), rest()))


async def undo(data: int, failure: zart.Failure) -> list[Any]:
    first = await add(1, data)
    await zart.sleep("undo", "20d")
    return [type(failure).__name__, first, await add(2)]


@zart_durable("compat-undone", on_failure=undo)
async def undone(data: int) -> Any:
    zart.schedule(add(9))
    return await declined()


async def undo_gated(data: int, failure: zart.Failure) -> list[Any]:
    return [type(failure).__name__, await gated(data)]


@zart_durable("compat-undone-held", on_failure=undo_gated)
async def undone_held(data: int) -> Any:
    return await declined()


async def too_late(data: int, failure: zart.Failure) -> list[Any]:
    return [type(failure).__name__, await add(1, data)]


@zart_durable("compat-deadline", timeout="2d", on_failure=too_late)
async def deadline(data: int) -> Any:
    zart.schedule(flaky(1))
    return await zart.wait_for_event("never", type=int)


@zart_durable("compat-plain-deadline", timeout="2d")
async def plain_deadline(data: int) -> int:
    return await zart.wait_for_event("never", type=int)


@zart_durable("compat-paused", timeout="3d")
async def paused(data: int) -> int:
    return await add(1, data) + await add(2)


switch = {"mended": True}
"""Off while the fixtures were taken, until `mended` had failed."""


@zart_durable("compat-mended")
async def mended(data: int) -> int:
    total = await add(1, data)
    if not switch["mended"]:
        await declined()
    await zart.sleep("long", "20d")
    return total + 1


HANDLERS = [item for item in list(globals().values()) if type(item).__name__ == "DurableHandler"]
