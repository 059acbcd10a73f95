"""What a reader knows: redis-py, bare. One awaited command after another, and pipelines of a hundred.

The script does what recording a step takes at the least, with as many commands: look at the fence, ask for the time,
write one field of a small hash if it is not there.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis

from benchmarks.scene import Scene, check

SCRIPT = """
if redis.call('HGET', KEYS[1] .. 'x', 'fence') ~= ARGV[1] then
  return 'fenced'
end
local t = redis.call('TIME')
local stamp = struct.pack('>I6', t[1] * 1000 + math.floor(t[2] / 1000))
return redis.call('HSETNX', KEYS[1] .. ARGV[2], ARGV[3], ARGV[4] .. stamp)
"""
PREFIX = "{bench-bare}:"
FENCE = "1@0123abcd"
RECORD = b"v\x95\x01\xacstep-{index}\x01\x00\xa80123abcd"
IN_PIPELINE = 100
IN_HASH = 10


class Bare:
    """Each method removes what it wrote, after it has seen that all of it is there."""

    def __init__(self, client: redis.Redis, sha: str) -> None:
        self._client = client
        self._sha = sha

    async def awaited_evalsha(self, number: int) -> float:
        """Seconds for each."""
        began = time.perf_counter()
        for index in range(number):
            await self._client.evalsha(*self._command(index))
        return await self._checked(began, number) / number

    async def awaited_hset(self, number: int) -> float:
        """Seconds for each."""
        began = time.perf_counter()
        for index in range(number):
            await self._client.hset(_key(index), f"step-{index}", RECORD)
        return await self._checked(began, number) / number

    async def pipelined(self, number: int) -> float:
        """EVALSHAs per second in pipelines of a hundred."""
        began = time.perf_counter()
        for start in range(0, number, IN_PIPELINE):
            pipeline = self._client.pipeline(transaction=False)
            for index in range(start, min(start + IN_PIPELINE, number)):
                pipeline.evalsha(*self._command(index))
            await pipeline.execute()
        return number / await self._checked(began, number)

    def _command(self, index: int) -> tuple[Any, ...]:
        return self._sha, 1, PREFIX, FENCE, f"r:{index // IN_HASH}", f"step-{index}", RECORD

    async def _checked(self, began: float, number: int) -> float:
        """The seconds since then, once it is seen that as many records were written."""
        seconds = time.perf_counter() - began
        keys = [_key(index) for index in range(0, number, IN_HASH)]
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.hlen(key)
        check(sum(await pipeline.execute()) == number, "the baseline has lost a record")
        await self._client.unlink(*keys)
        return seconds


def _key(index: int) -> str:
    return f"{PREFIX}r:{index // IN_HASH}"


@asynccontextmanager
async def baseline(scene: Scene) -> AsyncIterator[Bare]:
    async with redis.Redis.from_url(scene.server.url) as client:
        await client.hset(f"{PREFIX}x", "fence", FENCE)
        try:
            yield Bare(client, await client.script_load(SCRIPT))
        finally:
            await client.unlink(f"{PREFIX}x")
