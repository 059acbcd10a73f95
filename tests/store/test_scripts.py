"""The scripts: their headers say what they do, and the page describes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zart_redis
from tests.store.readme_tables import PAGE, filled
from zart_redis import layout
from zart_redis.store.lua import SCRIPTS, Script
from zart_redis.store.manifest import ManifestError, Memory, Repeat, read_manifest
from zart_redis.store.reserved import RESERVED

SOURCES = Path(zart_redis.__file__).parent / "store" / "scripts"
WRITES = re.compile(
    r"redis\.p?call\('(HSET|HSETNX|HDEL|HINCRBY|ZADD|ZREM|ZREMRANGEBYSCORE|SADD|SREM|SET|DEL|UNLINK|RPUSH|LTRIM|LPUSHX|LSET|RENAMENX"
    r"|XADD|XACK|XDEL|XCLAIM|XGROUP|XREADGROUP)'"
)
ALL = [pytest.param(SCRIPTS[name], id=name) for name in sorted(SCRIPTS)]


def own_source(script: Script) -> str:
    return (SOURCES / f"{script.name}.lua").read_text()


@pytest.mark.parametrize("script", ALL)
def test_the_header_names_the_arguments_that_the_script_unpacks(script: Script) -> None:
    source = own_source(script)
    if script.manifest.batch:
        assert script.manifest.takes == ("items...",)
        size = re.search(r"^local ITEM_SIZE = (\d+)$", source, re.MULTILINE)
        called = re.search(r"^return reply_to_items\(ITEM_SIZE, (\w+)\)$", source, re.MULTILINE)
        assert size and called, "the items are not taken one by one"  # noqa: PT018 - one shape
        parameters = re.search(rf"^local function {called[1]}\(([\w, ]+)\)$", source, re.MULTILINE)
        assert parameters
        assert len(parameters[1].split(", ")) == int(size[1])
        return
    unpacked = re.search(r"^local ([\w, ]+) = unpack\(ARGV, 2(?:, (\d+))?\)$", source, re.MULTILINE)
    assert unpacked, "the arguments are not unpacked at once"
    takes = script.manifest.takes
    rest = takes[-1].endswith("...")
    fixed = takes[:-1] if rest else takes
    assert unpacked[1].split(", ") == list(fixed)
    assert (unpacked[2] or (str(len(fixed) + 1) if not rest else "")) == str(len(fixed) + 1)
    assert ("ARGV[" in source) == rest


@pytest.mark.parametrize("script", ALL)
def test_the_header_names_every_word_that_the_script_returns(script: Script) -> None:
    words = re.findall(r"return (?:\{ )?'([\w ]+)'", own_source(script))
    assert [word for word in words if f"'{word}'" not in script.manifest.returns] == []


@pytest.mark.parametrize("script", ALL)
def test_the_header_says_whether_the_script_writes_and_emits(script: Script) -> None:
    manifest, source = script.manifest, script.source.decode()
    writes = bool(WRITES.search(source))
    assert (manifest.repeat is Repeat.READ) == (not writes)
    assert writes or not manifest.confirm
    assert manifest.repeat_reason
    assert manifest.confirm_reason
    assert (manifest.emits != "nothing") == ("'XADD'" in source or "'PUBLISH'" in source)
    assert (manifest.repeat is Repeat.NONCE) == ("nonce" in manifest.takes)
    if manifest.repeat is Repeat.FENCED:
        assert "'fenced'" in manifest.returns
    if manifest.memory is Memory.NONE:
        assert set(WRITES.findall(source)) <= {"DEL", "UNLINK"}


def test_every_command_of_the_scripts_is_known_to_write_or_to_read() -> None:
    reads = set(
        re.findall(
            r"\w+",
            "EXISTS GET HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HVALS LRANGE PUBLISH SMEMBERS TIME TYPE"
            " SSCAN XLEN XPENDING XRANGE ZCARD ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZSCAN ZSCORE",
        )
    )
    for name in SCRIPTS:
        used = set(re.findall(r"redis\.p?call\('(\w+)'", SCRIPTS[name].source.decode()))
        assert {command for command in used - reads if not WRITES.match(f"redis.call('{command}'")} == set()


KNOWS_THE_LAYOUT_BEFORE = SOURCES / "upgrade.lua"


@pytest.mark.parametrize(
    "path", sorted({*SOURCES.glob("**/*.lua")} - {KNOWS_THE_LAYOUT_BEFORE}), ids=lambda path: path.stem
)
def test_no_script_spells_out_what_the_layout_names(path: Path) -> None:
    code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("--"))
    literals = set(re.findall(r"'((?:[^'\\]|\\.)*)'", code))
    letters = {member.value for kind in (layout.Record, layout.Wait, layout.Timer, layout.Ack) for member in kind}
    names = {member.value for kind in (layout.Field, layout.StepField, layout.Meta) for member in kind}
    replies = {
        "entry",
        "status",
        "started",
        "finished",
        "needs",
        "held",
    }  # findings of `check`, and other words of replies
    assert literals & letters - {"f"} == set()
    assert literals & names - replies == set()
    assert not re.search(r"P \.\.(?! ARGV| name)", code)


def test_the_page_has_the_tables_that_layout_and_headers_give() -> None:
    page = PAGE.read_text()
    assert filled(page) == page, "run python -m tests.store.readme_tables"


def test_reserved_names_are_not_in_use() -> None:
    for name in RESERVED:
        kind, _, member = name.partition(".")
        if match := re.fullmatch(r"(\w+)(?: '(\w)')?", member):
            members = getattr(layout, kind)
            assert match[1] not in members.__members__, f"{name} is in use"
            assert match[2] not in {item.value for item in members}, f"the letter of {name} is in use"


def test_a_header_that_lacks_a_field_or_has_another_name_is_an_error() -> None:
    source = own_source(SCRIPTS["cancel"])
    for broken in (
        source.replace("-- repeat: nonce", "-- again: nonce"),
        source.replace("repeat: nonce", "repeat: perhaps"),
        source.replace("confirm: yes", "confirm: maybe"),
        source.replace("-- cancel:", "-- stop:"),
    ):
        with pytest.raises(ManifestError, match=r"cancel\.lua: "):
            read_manifest("cancel", broken)
