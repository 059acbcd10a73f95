"""What the crash tests run: handlers that leave traces in a folder, and hold still until the test lets them go."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import zart_redis as zart
from zart_redis import zart_durable, zart_step


@dataclass
class Declined(Exception):
    account: str
    cents: int


def note(folder: str, word: str) -> None:
    with Path(folder, "effects").open("a") as effects:
        effects.write(f"{word} {os.getpid()}\n")


async def gate(folder: str) -> None:
    """Until the test opens it."""
    while not Path(folder, "gate").exists():
        await asyncio.sleep(0.01)


@zart_step("mark-{word}")
async def mark(folder: str, word: str) -> str:
    note(folder, word)
    return word


@zart_step("hold")
async def hold(folder: str) -> int:
    note(folder, "hold-begun")
    await gate(folder)
    note(folder, "hold-ended")
    return os.getpid()


@zart_step("talk")
async def talk(folder: str) -> None:
    zart.emit("step begins")
    if "talked" not in Path(folder, "effects").read_text():
        note(folder, "talked")
        await gate(folder)
    zart.emit("step ends")


@zart_durable("talkative")
async def talkative(folder: str) -> None:
    zart.emit("begin")
    await mark(folder, "one")
    zart.emit("marked")
    await talk(folder)
    zart.emit("talked")
    await zart.wait([zart.schedule(talk(folder).named("scheduled"))])
    zart.emit("end")


@zart_step("charge", raises=(Declined,))
async def charge(account: str) -> None:
    raise Declined(account, 5)


@zart_step("die")
async def die(folder: str) -> None:
    note(folder, "died")
    await asyncio.sleep(0.05)  # so that a body that waits for it is parked, and does not die with it
    os.kill(os.getpid(), signal.SIGKILL)


@zart_durable("in-place")
async def in_place(folder: str) -> list[str]:
    before = await mark(folder, "before")
    await hold(folder)
    return [before, await mark(folder, "after")]


@zart_durable("fanned-out")
async def fanned_out(folder: str) -> list[str]:
    handles = [zart.schedule(mark(folder, "before")), zart.schedule(mark(folder, "beside"))]
    held = zart.schedule(hold(folder))
    marks = [result.unwrap() for result in await zart.wait(handles)]
    await zart.wait([held])
    return [*marks, await mark(folder, "after")]


async def undo(folder: str, failure: zart.Failure) -> str:
    assert isinstance(failure, zart.StepFailure)
    assert isinstance(failure.error, Declined)
    await mark(folder, "undo")
    await hold(folder)
    return f"undone for {failure.error.account}"


@zart_durable("undone", on_failure=undo)
async def undone(folder: str) -> str:
    await charge("acme")
    return "charged"


@zart_durable("declined")
async def declined(folder: str) -> tuple[str, int, str]:
    outcome = await zart.step(charge("acme"))
    await zart.wait_for_event("elsewhere")
    assert isinstance(outcome, zart.BusinessErr)
    assert isinstance(outcome.error, Declined)
    return outcome.error.account, outcome.error.cents, type(outcome.error).__name__


@zart_durable("deadly", retry="fixed(9, 1ms)")
async def deadly(folder: str) -> None:
    note(folder, f"attempt-{zart.context().current_attempt + 1}")
    await die(folder)


@zart_durable("deadly-elsewhere")
async def deadly_elsewhere(folder: str) -> str:
    (result,) = await zart.wait([zart.schedule(die(folder))])
    assert isinstance(result, zart.Err)
    assert isinstance(result.error, zart.RetryExhausted)
    return repr(result.error.last_error)


@zart_durable("lucky")
async def lucky(folder: str) -> list[str]:
    """Dies once after each of its steps, and so makes progress each time."""
    done = []
    for word in ("one", "two", "three", "four"):
        done.append(await mark(folder, word))
        if not Path(folder, word).exists():
            Path(folder, word).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return done


@zart_step("block-{way}")
async def block(folder: str, way: str) -> int:
    note(folder, way)
    time.sleep(1.2)
    return os.getpid()


@zart_durable("blocking")
async def blocking(folder: str) -> list[int]:
    (elsewhere,) = await zart.wait([zart.schedule(block(folder, "elsewhere"))])
    return [await block(folder, "here"), elsewhere.unwrap()]


@zart_step("wall-clock")
async def wall_clock() -> float:
    return time.time()


@zart_step("second-try-{name}", retry="fixed(1, 300ms)")
async def second_try(name: str) -> str:
    if not zart.context().is_retry():
        raise RuntimeError("not yet")
    return name


@zart_durable("timed", timeout="1h")
async def timed(folder: str) -> float:
    """Waits 300 ms in each way that time can end: four times, one after the other."""
    clock = await wall_clock()
    await zart.sleep("nap", "300ms")
    try:
        await zart.wait_for_event("never", "300ms")
    except zart.DeadlineExceeded:
        pass
    await second_try("in place")
    (result,) = await zart.wait([zart.schedule(second_try("scheduled"))])
    result.unwrap()
    return clock


@zart_durable("overdue", timeout="300ms")
async def overdue(folder: str) -> None:
    await zart.sleep("nap", "1h")
