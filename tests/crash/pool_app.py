"""What the pools of the crash tests run: poisons, innocents, and code that lets nothing else run."""

import asyncio
import ctypes
import os
import signal
import time

import zart_redis as zart
from tests.crash.app import note
from zart_redis import zart_durable, zart_step


def end_process(kind: str) -> None:
    if kind == "exit-0":
        os._exit(0)
    os.kill(os.getpid(), signal.SIGSEGV if kind == "segv" else signal.SIGKILL)


@zart_step("poisonous-step")
async def poisonous_step(folder: str, kind: str) -> None:
    note(folder, kind)
    end_process(kind)


@zart_durable("poison-in-step")
async def poison_in_step(data: tuple[str, str]) -> str:
    (result,) = await zart.wait([zart.schedule(poisonous_step(*data))])
    assert isinstance(result, zart.Err)
    return str(result.error)


@zart_durable("poison")
async def poison(data: tuple[str, str]) -> None:
    note(*data)
    end_process(data[1])


@zart_step("innocent-step")
async def innocent_step(folder: str, word: str, seconds: float) -> str:
    note(folder, word)
    await asyncio.sleep(seconds)
    return word


@zart_step("innocent-thread")
def innocent_thread(folder: str, word: str, seconds: float) -> str:
    note(folder, word)
    time.sleep(seconds)
    return word


@zart_durable("innocent")
async def innocent(data: tuple[str, str, float]) -> str:
    return await (innocent_thread if data[1].startswith("thread") else innocent_step)(*data)


@zart_step("gripping-step")
def gripping_step(folder: str, seconds: float) -> str:
    note(folder, "grip")
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # C code that keeps the interpreter's lock
    return "let go"


@zart_durable("gripping")
async def gripping(data: tuple[str, float]) -> str:
    return await gripping_step(*data)
