"""The scripts as Redis gets them: each file of `scripts/`, with what it uses of the fragments in `scripts/lib/`.

A script is read and assembled when it is first used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from zart_redis.store.assembler import Library
from zart_redis.store.manifest import Manifest, read_manifest


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    manifest: Manifest
    source: bytes
    sha: bytes
    """Addresses the script by its content, so that workers of several versions can share a Redis."""


@cache
def library() -> Library:
    """The fragments."""
    folder = files("zart_redis.store").joinpath("scripts", "lib")
    return Library({path.name.removesuffix(".lua"): path.read_text() for path in folder.iterdir()})


class _Scripts(Mapping[str, Script]):
    """The scripts by name, each loaded when it is first asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Script] = {}
        self.by_sha: dict[bytes, Script] = {}
        """Those that have been loaded: no other has been sent by this process."""

    def __getitem__(self, name: str) -> Script:
        script = self._loaded.get(name)
        return self._load(name) if script is None else script

    def __iter__(self) -> Iterator[str]:
        folder = files("zart_redis.store").joinpath("scripts")
        return (path.name.removesuffix(".lua") for path in folder.iterdir() if path.name.endswith(".lua"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _load(self, name: str) -> Script:
        path = files("zart_redis.store").joinpath("scripts", f"{name}.lua")
        if not path.is_file():
            raise KeyError(name)
        text = path.read_text()
        manifest = read_manifest(name, text)
        source = library().assemble(name, manifest.prologue, text).encode()
        script = Script(name, manifest, source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())
        self._loaded[name] = self.by_sha[script.sha] = script
        return script


SCRIPTS = _Scripts()
BY_SHA: Mapping[bytes, Script] = MappingProxyType(SCRIPTS.by_sha)
