"""The header of a script, which is its contract, as the loader and the tests read it::

    -- cancel: live -> cancelled.
    --
    -- takes: id, retention, nonce
    --   retention: ms                     (details are indented)
    -- returns: 'cancelled' | 'missing'
    -- emits: the final status to those who wait for the execution
    -- repeat: nonce — why it may be sent twice
    -- confirm: yes — why `ack` must, or need not, confirm what it wrote
    -- memory: allow

An argument that ends in `...` means any number of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Repeat(StrEnum):
    """Why a script may be sent twice, as happens when a reply got lost."""

    NONCE = "nonce"
    """The command's nonce is kept, and the first reply is returned again."""
    FENCED = "fenced"
    """What was done has changed the fence or the entry that the command shows."""
    SAME = "same"
    """Doing it again does no harm."""
    READ = "read"
    """It writes nothing."""


class Memory(StrEnum):
    """What happens while Redis is out of memory. Redis checks at the first command of a script that may need some."""

    REJECT = "reject"
    """The script begins new work and fails before it has changed anything. LPUSHX on a key that does not exist triggers
    the check without effect."""
    ALLOW = "allow"
    """The script ends work, and so frees memory. A first write that never needs memory (DEL) lets the rest through."""
    OWN = "own"
    """The script takes care of it."""
    NONE = "none"
    """The script needs no memory."""


_PROLOGUES = {
    Memory.REJECT: "redis.call('LPUSHX', KEY.oom_probe, '')",
    Memory.ALLOW: "redis.call('DEL', KEY.oom_probe)",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    summary: str
    takes: tuple[str, ...]
    returns: str
    emits: str
    repeat: Repeat
    repeat_reason: str
    confirm: bool
    """Whether a write of it is only acknowledged once it is as safe as the setting `ack` demands."""
    confirm_reason: str
    memory: Memory
    records: bool
    """Whether it records the result of a step."""
    batch: bool
    """Whether it takes the arguments of many commands, and returns a reply for each."""

    @property
    def prologue(self) -> str:
        return _PROLOGUES.get(self.memory, "")


class ManifestError(Exception):
    """The header of a script is incomplete or malformed."""


def read_manifest(name: str, source: str) -> Manifest:
    """Raises ManifestError."""
    fields = _fields(name, source)
    try:
        repeat, repeat_reason = _choice(fields["repeat"])
        confirm, confirm_reason = _choice(fields["confirm"])
        return Manifest(
            summary=fields[name],
            takes=tuple(argument.strip() for argument in fields["takes"].split(",")),
            returns=fields["returns"],
            emits=fields["emits"],
            repeat=Repeat(repeat),
            repeat_reason=repeat_reason,
            confirm={"yes": True, "no": False}[confirm],
            confirm_reason=confirm_reason,
            memory=Memory(_choice(fields["memory"])[0]),
            records="records" in fields,
            batch="batch" in fields,
        )
    except (KeyError, ValueError) as error:
        raise ManifestError(f"{name}.lua: the header is incomplete or malformed: {error}") from None


def _fields(name: str, source: str) -> dict[str, str]:
    """The fields of the header. The details of `takes` are left out."""
    found: dict[str, str] = {}
    key = ""
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        if head := re.match(r"-- (\w+): (.+)", line):
            key = head[1]
            found[key] = head[2]
        elif line == "--":
            key = ""
        elif key and key != "takes":
            found[key] += f" {line[2:].strip()}"
    if next(iter(found), None) != name:
        raise ManifestError(f"{name}.lua: the header does not begin with '-- {name}: '")
    return found


def _choice(text: str) -> tuple[str, str]:
    word, _, reason = text.partition(" — ")
    return word.strip(), reason.strip()
