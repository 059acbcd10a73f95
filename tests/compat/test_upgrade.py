"""The upgrade from the unversioned layout: in batches, repeatable, by several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import redis

import zart_redis as zart
from tests.compat import dump
from zart_redis import layout
from zart_redis.store import upgrade
from zart_redis.store.replies import Upgraded
from zart_redis.store.transitions import Transitions

pytestmark = pytest.mark.anyio

OLD_FIELDS = {b"facet", b"doom", b"told", b"progress", b"finishing", b"since", b"by", b"held", b"remaining",
              b"ended_by", b"answer", b"failures"}  # fmt: skip
OLD_KEYS = {"facets", "rules", "epoch", "about"}
LARGE = 1000

_ADD_LARGE = """
for i = 1, tonumber(ARGV[1]) do
  redis.call('HSET', KEYS[1], 'step-' .. i, cmsgpack.pack({ 'spec', '', '7@', 2, '', '', 1, '', 'why' }))
  redis.call('HSET', KEYS[2], i, cmsgpack.pack({ 'run', tostring(i), 'facet', '1', 'by', 'me' }))
end
"""
_READ_LARGE = """
local found = {}
for _, key in ipairs(KEYS) do
  for _, packed in ipairs(redis.call('HVALS', key)) do
    found[#found + 1] = cjson.encode(cmsgpack.unpack(packed))
  end
end
return found
"""


@pytest.fixture
def unversioned(raw: redis.Redis, namespace: str) -> str:
    """A namespace with executions in every state, as written before layout 1.0. Returns its prefix."""
    dump.load(1).restore(raw, namespace)
    return layout.prefix(namespace, 0)


def contents(raw: redis.Redis, prefix: str) -> dict[str, Any]:
    """All keys, without those that a client changes as it opens the namespace."""
    readers: dict[Any, Any] = {
        b"hash": raw.hgetall,
        b"zset": lambda key: raw.zrange(key, 0, -1, withscores=True),
        b"set": raw.smembers,
        b"list": lambda key: raw.lrange(key, 0, -1),
        b"string": raw.get,
        b"stream": raw.xrange,
    }
    keys: list[bytes] = list(raw.scan_iter(f"{prefix}*"))
    return {key.decode().removeprefix(prefix): readers[raw.type(key)](key) for key in keys}


async def open_namespace(url: str, namespace: str) -> None:
    async with zart.DurableScheduler(url, namespace=namespace):
        pass


def is_upgraded(found: dict[str, Any]) -> bool:
    executions = [fields for key, fields in found.items() if key.startswith("x:")]
    return (
        not any(OLD_FIELDS & fields.keys() for fields in executions)
        and not OLD_KEYS & found.keys()
        and not any(key.startswith("held:") for key in found)
        and found["meta"] == {b"partitions": b"1", b"layout": layout.LAYOUT.encode()}
    )


async def test_an_interrupted_upgrade_is_finished_by_the_next_to_open_the_namespace(
    raw: redis.Redis, redis_url: str, namespace: str, unversioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(raw, unversioned)
    await open_namespace(redis_url, namespace)
    expected = contents(raw, unversioned)
    assert is_upgraded(expected)
    assert not is_upgraded(before | {"meta": expected["meta"]})

    raw.delete(*(unversioned + key for key in expected))
    dump.load(1).restore(raw, namespace)
    monkeypatch.setattr(upgrade, "SCRIPT_BATCH", 1)
    real, interruptions = Transitions.upgrade, 0
    for scripts in range(0, 10_000, 25):
        left = scripts

        async def dying(self: Transitions, cursor: str, keys: Sequence[str]) -> Upgraded:
            nonlocal left
            left -= 1
            if left < 0:
                raise ConnectionAbortedError
            return await real(self, cursor, keys)

        monkeypatch.setattr(Transitions, "upgrade", dying)
        try:
            await open_namespace(redis_url, namespace)
            break
        except ConnectionAbortedError:
            interruptions += 1
            assert not raw.hexists(f"{unversioned}meta", "layout")
    assert interruptions > 5
    assert contents(raw, unversioned) == expected


async def test_several_upgrade_at_once(raw: redis.Redis, redis_url: str, namespace: str, unversioned: str) -> None:
    await asyncio.gather(*(open_namespace(redis_url, namespace) for _ in range(4)))
    assert is_upgraded(contents(raw, unversioned))


async def test_large_keys_are_upgraded_in_batches(
    raw: redis.Redis, redis_url: str, namespace: str, unversioned: str
) -> None:
    keys = (f"{unversioned}c:large:1", f"{unversioned}h:large")
    raw.eval(_ADD_LARGE, 2, *keys, str(LARGE))
    await open_namespace(redis_url, namespace)
    found: Any = raw.eval(_READ_LARGE, 2, *keys)
    steps, runs = found[:LARGE], found[LARGE:]
    assert len(runs) == LARGE
    assert all(
        b'"failed_attempts":2' in step and b'"unrunnable":"why"' in step and b'"' * 2 not in step for step in steps
    )
    assert not any(b'""' in step for step in steps), "an empty field is stored"
    assert all(b'"bucket","1","triggered_by","me"' in run for run in runs)
