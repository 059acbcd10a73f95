"""Scripts are assembled from fragments, and what is wrong with either is found when they are loaded."""

from __future__ import annotations

import re

import pytest

from zart_redis.store.assembler import Library, LuaError

BASE = "local P = KEYS[1]\n"
SORTED = """\
-- A comment.
local second = 2
local function first(n)
  local sum = second + n
  return sum
end

local function third(n)
  return n > 0 and third(n - 1) or first(n) -- calls itself
end
"""


def assemble(script: str, **fragments: str) -> str:
    return Library({"base": BASE, **fragments}).assemble("script", "", script)


def test_a_script_gets_what_it_uses_in_order_and_nothing_else() -> None:
    assert assemble("return third(1)\n", a=SORTED) == (
        "local second = 2\n"
        "local function first(n)\n  local sum = second + n\n  return sum\nend\n"
        "local function third(n)\n  return n > 0 and third(n - 1) or first(n)\nend\n"
        "return third(1)\n"
    )
    assert assemble("return second\n", a=SORTED) == "local second = 2\nreturn second\n"
    members = "return redis.third, redis:first(), { second = 1 }\n"
    assert assemble(members, a=SORTED) == members


def test_names_of_the_layout_become_literals() -> None:
    assert assemble("return RECORD.value, FIELD.fail_reason, SIZE.stamp\n") == "return 'v', 'fail_reason', 9\n"
    assert assemble("return KEY.timers\n") == "local P = KEYS[1]\nreturn (P .. 'timers')\n"
    key = "KEY.records(string.sub(id, 1, 2), n == 1 and 'a' or 'b')"
    assert assemble(f"local id, n\nreturn {key}\n").endswith(
        "return (P .. 'r:' .. string.sub(id, 1, 2) .. ':' .. (n == 1 and 'a' or 'b'))\n"
    )
    nested = "local id\nreturn KEY.paused(KEY.waits(id))\n"
    assert assemble(nested).endswith("return (P .. 'paused:' .. (P .. 'w:' .. id))\n")


def test_text_and_comments_are_left_alone() -> None:
    assert assemble("return 'RECORD.value -- KEY.x' -- FIELD.nothing\n") == "return 'RECORD.value -- KEY.x'\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("local a = 1\nreturn RECORD.nothing\n", "script.lua:2: the layout has no RECORD.nothing"),
        ("return KEY.records(1)\n", "script.lua:1: KEY.records takes (id, scope)"),
        ("return KEY.records\n", "script.lua:1: '(' is missing behind records"),
        ("return KEY.records(1, 2\n", "script.lua:1: a parenthesis is not closed"),
        ("local x = {}\nreturn x.doom\n", "script.lua:2: the layout has no field for x.doom"),
        ("local step = {}\nreturn step.held\n", "script.lua:2: the layout has no field for step.held"),
        ("\n\nreturn nobody()\n", "script.lua:3: nobody is not defined"),
        ("local P = 1\nreturn P\n", "script.lua: the local P hides a definition of lib/base.lua"),
        ("return $\n", "script.lua:1: cannot read '$"),
    ],
)
def test_a_mistake_in_a_script_is_found_with_its_line(script: str, message: str) -> None:
    with pytest.raises(LuaError, match=re.escape(message)):
        assemble(script)


@pytest.mark.parametrize(
    ("fragments", "message"),
    [
        (
            {"a": "local function f()\n  return g()\nend\n", "b": "local function g()\n  return f()\nend\n"},
            "lib/b.lua:2: definitions use each other in a circle: f -> g -> f",
        ),
        ({"a": "local f = 1\n", "b": "local f = 2\n"}, "lib/b.lua: f is also defined in lib/a.lua"),
        ({"a": "-- why\n\nlocal function f()\n  return gone\nend\n"}, "lib/a.lua:4: gone is not defined"),
        ({"a": "local f = 1\nredis.call('PING')\n"}, "lib/a.lua:2: a fragment holds local definitions only"),
        ({"a": "local f = 1\n", "b": "local function g(f)\n  return f\nend\n"}, "lib/b.lua: the local f hides"),
    ],
)
def test_a_mistake_in_a_fragment_is_found(fragments: dict[str, str], message: str) -> None:
    with pytest.raises(LuaError, match=re.escape(message)):
        assemble("return f()\n", **fragments)
