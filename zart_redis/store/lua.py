"""The scripts as Redis gets them: each file of `scripts/`, with what it uses of the fragments that it includes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    source: bytes
    sha: bytes
    """Addresses the script by its content, so that workers of several versions can share a Redis."""


def _load() -> dict[str, Script]:
    folder = files("zart_redis.store").joinpath("scripts")
    fragments = {path.name.removesuffix(".lua"): path.read_text() for path in folder.joinpath("lib").iterdir()}
    scripts = {}
    for path in folder.iterdir():
        if path.name.endswith(".lua"):
            text = path.read_text()
            first = re.match(r"--@include (.*)", text)
            parts = [fragments[name] for name in first[1].split()] if first else []
            source = _without_unused(_without_comments("\n".join([*parts, text]))).encode()
            name = path.name.removesuffix(".lua")
            scripts[name] = Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())
    return scripts


def _without_comments(text: str) -> str:
    """A comment that changes must not change the hash: two versions would load two scripts for nothing."""
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("--")) + "\n"


_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)


def _without_unused(source: str) -> str:
    """Lua makes every function of a script anew at each call, those of a fragment that it does not use, too."""
    words = re.findall(r"\w+", source)

    def used(function: re.Match[str]) -> str:
        own = re.findall(r"\w+", function[0]).count(function[1])
        return function[0] if words.count(function[1]) > own else ""

    pruned = _FUNCTION.sub(used, source)
    return pruned if pruned == source else _without_unused(pruned)


SCRIPTS = _load()
BY_SHA = {script.sha: script for script in SCRIPTS.values()}
