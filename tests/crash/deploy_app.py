"""An application of which two versions are deployed in turn; `DEPLOYED` says which one this process runs."""

import asyncio
import functools
import os

import zart_redis as zart
from tests.crash.app import note
from zart_redis import zart_durable, zart_step

DEPLOYED = int(os.environ.get("DEPLOYED", "1"))


@zart_step("work-{name}")
async def work(folder: str, execution_id: str, name: str) -> str:
    note(folder, f"{execution_id}/{name}/{DEPLOYED}")
    await asyncio.sleep(0.02)
    return f"{name} {DEPLOYED}"


@zart_step("quote")
async def quote(folder: str, execution_id: str) -> str:
    return await work.fn(folder, execution_id, "quote")


async def fan_out(folder: str, execution_id: str, names: list[str]) -> list[str]:
    handles = [zart.schedule(work(folder, execution_id, name)) for name in names]
    return [result.unwrap() for result in await zart.wait(handles)]


@zart_durable("pinned", version=DEPLOYED, compatible_from=DEPLOYED)
async def pinned(folder: str) -> list[str]:
    """Its versions cannot continue each other's runs, and say so: the names are others."""
    execution_id = zart.context().execution_id
    first, *others = ["a", "b", "c"] if DEPLOYED == 1 else ["x", "y"]
    done = [await work(folder, execution_id, first)]
    await zart.sleep("settle", "300ms")
    done += await fan_out(folder, execution_id, others)
    await zart.wait_for_event("go")
    return [*done, await work(folder, execution_id, "last")]


@zart_durable("careless")
async def careless(folder: str) -> list[str]:
    """Its versions cannot continue each other's runs, and nobody has said so: "quote" is another kind of call."""
    execution_id = zart.context().execution_id
    if DEPLOYED == 1:
        done = [await quote(folder, execution_id)]
    else:
        done = [await zart.capture("quote", functools.partial(quote.fn, folder, execution_id), type=str)]
    await zart.wait_for_event("go")
    return [*done, await work(folder, execution_id, "p"), await work(folder, execution_id, "q")]
