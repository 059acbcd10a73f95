"""Assembles a script from its file and the fragments that it uses.

Both name what is stored as `layout` does: `RECORD.value`, `FIELD.entry`, `KEY.records(id, scope)`. The stored text
takes the place of these names. The definitions that the script uses, directly or not, come in front of the statement
that uses them first. So names cost nothing when a script runs, and a script that returns early does not create the
functions that only the rest of it uses: Redis runs a script from its top at each call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from zart_redis import layout
from zart_redis.model import ExecutionStatus


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


class LuaError(Exception):
    """A script or a fragment cannot be loaded: the fault is in its source."""


_PLAIN: Mapping[str, type[Enum]] = {
    "RECORD": layout.Record,
    "WAIT": layout.Wait,
    "NEWS": layout.News,
    "TIMER": layout.Timer,
    "ENTRY": layout.Entry,
    "ENTRY_FIELD": layout.EntryField,
    "LANE": layout.Lane,
    "ACK": layout.Ack,
    "DELIVERED": layout.Delivered,
    "GROUP_FIELD": layout.GroupField,
    "FIELD": layout.Field,
    "STEP": layout.StepField,
    "CLAIM": layout.ClaimField,
    "START_OPTION": layout.StartOption,
    "RECURRING_FIELD": layout.RecurringField,
    "IF_USED": layout.IfUsed,
    "RULE": layout.RuleField,
    "BLAME": layout.BlameField,
    "DEATH": layout.DeathField,
    "CAUSE": layout.Cause,
    "HEARTBEAT": layout.HeartbeatField,
    "LIMIT_FIELD": layout.LimitField,
    "EMISSION": layout.Emission,
    "ITEM": layout.ItemField,
    "META": layout.Meta,
    "FEATURE": layout.Feature,
    "SIGNAL": layout.Signal,
    "FAIL_REASON": layout.FailReason,
    "TRIGGER": layout.Trigger,
    "STATUS": ExecutionStatus,
    "SIZE": layout.Size,
    "MAILBOX": layout.MailboxField,
    "MAIL": layout.MailField,
    "MAIL_KIND": layout.MailKind,
    "CHILD_OUTCOME": layout.ChildOutcome,
}
_TEMPLATES: Mapping[str, Mapping[str, layout.Key] | Mapping[str, layout.Channel]] = {
    "KEY": {member.name.lower(): member for member in layout.Key},
    "CHANNEL": {member.name.lower(): member for member in layout.Channel},
}
_CONSTANTS: Mapping[str, Mapping[str, Any]] = {
    **{name: {member.name.lower(): member.value for member in kind} for name, kind in _PLAIN.items()},
    "LAYOUT": {
        "version": layout.LAYOUT,
        "stamp": f">I{layout.Size.NUMBER.value}I{layout.Size.STAMP.value - layout.Size.NUMBER.value}",
        "number": f">I{layout.Size.NUMBER.value}",
        "time": f">I{layout.Size.STAMP.value - layout.Size.NUMBER.value}",
        "message_number": f"%0{layout.Size.MESSAGE_NUMBER.value}d",
        "group": layout.GROUP,
        "unclaimed": layout.UNCLAIMED,
        "fields": f" {' '.join(layout.Field)} ",
        "features": f" {' '.join(sorted(layout.FEATURES))} ",
        "timer_prefix": layout.TIMER_PREFIX,
        "key_separator": layout.KEY_SEPARATOR,
        "unknown_counters": layout.UNKNOWN_COUNTERS,
        "expired": layout.EXPIRED,
        "parent_ended": layout.PARENT_ENDED,
    },
}
_TABLES = {
    "x": {member.value for member in layout.Field},
    "step": {member.value for member in layout.StepField},
}
"""Variables of these names hold the fields of an execution and of a scheduled step, and have no others."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)|(?P<text>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<number>\d[\w.]*)|(?P<sign>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^#<>=(){}\[\];:,.])"""
)
_KEYWORDS = _words("""
    and break do else elseif end false for function if in local nil not or repeat return then true until while""")
_GLOBALS = _words("""
    ARGV KEYS cjson cmsgpack error ipairs math next pairs pcall redis select string struct table tonumber tostring type
    unpack""")
_STATEMENT = re.compile(r"(?!end\b|else\b|elseif\b|until\b|--)[^\s)}\]]")
"""What a statement of the main chunk begins with, in the first column."""
_CLOSING = {")": "(", "]": "[", "}": "{"}
_PREFIX = "P"
"""The variable that holds the prefix of the partition; see `scripts/lib/base.lua`."""
_OPERATORS = _KEYWORDS | {"==", "~=", "<=", ">=", "<", ">", "=", ","}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


@dataclass(slots=True)
class _Piece:
    """A script's own code, or one definition of a fragment: its source with the stored text in place, and the names
    that it declares and uses."""

    where: str
    line: int
    text: str
    declares: set[str] = field(default_factory=set)
    uses: dict[str, int] = field(default_factory=dict)
    """Name -> the line where it is first used."""

    def needs(self) -> Iterator[tuple[str, int]]:
        return ((name, line) for name, line in self.uses.items() if name not in self.declares | _GLOBALS)


class Library:
    """The definitions of all fragments.

    Args:
        fragments: file name -> source.
    """

    def __init__(self, fragments: Mapping[str, str]) -> None:
        self._definitions: dict[str, _Piece] = {}
        for where, source in fragments.items():
            for name, piece in _definitions(where, source):
                if name in self._definitions:
                    raise LuaError(f"{piece.where}: {name} is also defined in {self._definitions[name].where}")
                self._definitions[name] = piece
        for piece in self._definitions.values():
            self._check_locals(piece)

    def assemble(self, where: str, prologue: str, source: str) -> str:
        """A script with the definitions that it uses; `prologue` runs before its own code.

        Raises:
            LuaError: it names what nobody defines, or definitions use each other in a circle.
        """
        declared: set[str] = set()
        ordered: dict[str, None] = {}
        parts: list[str] = []
        for piece in (_piece(where, prologue, 0), *_statements(where, source)):
            declared |= piece.declares
            self._check_locals(piece)
            known = len(ordered)
            for name, line in piece.needs():
                if name not in declared:
                    self._visit(name, f"{piece.where}:{line}", (), ordered)
            parts += [self._definitions[name].text for name in list(ordered)[known:]]
            parts.append(piece.text)
        return "".join(parts)

    def _visit(self, name: str, user: str, path: tuple[str, ...], ordered: dict[str, None]) -> None:
        if name in ordered:
            return
        if name in path:
            raise LuaError(f"{user}: definitions use each other in a circle: {' -> '.join((*path, name))}")
        piece = self._definitions.get(name)
        if piece is None:
            raise LuaError(f"{user}: {name} is not defined")
        for used, line in piece.needs():
            self._visit(used, f"{piece.where}:{line}", (*path, name), ordered)
        ordered[name] = None

    def _check_locals(self, piece: _Piece) -> None:
        """A local of the same name would hide that a definition is used."""
        for name in piece.declares & self._definitions.keys():
            if self._definitions[name] is not piece:
                raise LuaError(f"{piece.where}: the local {name} hides a definition of {self._definitions[name].where}")


def _statements(where: str, source: str) -> Iterator[_Piece]:
    """The statements of a source, each of which begins at the beginning of a line."""
    lines = source.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if _STATEMENT.match(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield _piece(where, "".join(lines[start:end]), start + 1)


def _definitions(where: str, source: str) -> Iterator[tuple[str, _Piece]]:
    """The definitions of a fragment by name."""
    for piece in _statements(f"lib/{where}", source):
        head = re.match(r"local (?:function )?(\w+)", piece.text)
        if head is None:
            raise LuaError(f"{piece.where}:{piece.line}: a fragment holds local definitions only")
        yield head[1], piece


def _piece(where: str, source: str, first_line: int) -> _Piece:
    name = f"{where}.lua"
    tokens = _tokens(name, source, first_line)
    piece = _Piece(name, first_line, _Expansion(name, tokens).text())
    _collect_names(piece, [token for token in tokens if token.kind != "space"])
    return piece


def _tokens(where: str, source: str, line: int) -> list[_Token]:
    found, at = [], 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None or match.lastgroup is None:
            raise LuaError(f"{where}:{line}: cannot read {source[at : at + 20]!r}")
        found.append(_Token(match.lastgroup, match[0], line))
        line += match[0].count("\n")
        at = match.end()
    return found


class _Expansion:
    """Puts the stored text in the place of the names of the layout, and leaves comments and blank lines out: a changed
    comment must not change the hash of a script, or two versions would load it twice."""

    def __init__(self, where: str, tokens: list[_Token]) -> None:
        self._where = where
        self._tokens = tokens
        self._at = 0

    def text(self) -> str:
        parts = []
        while self._at < len(self._tokens):
            parts.append(self._next())
        lines = (line.rstrip() for line in "".join(parts).splitlines())
        return "".join(f"{line}\n" for line in lines if line)

    def _next(self) -> str:
        token = self._take()
        if token.kind == "space":
            return "\n" if token.text.startswith("--") else token.text
        if token.kind != "name":
            return token.text
        if token.text in _CONSTANTS:
            return self._literal(_CONSTANTS[token.text], token)
        if token.text in _TEMPLATES:
            return self._key(_TEMPLATES[token.text], token)
        if token.text in _TABLES and self._peek() == ".":
            self._check_field(token)
        return token.text

    def _literal(self, members: Mapping[str, Any], token: _Token) -> str:
        value = members[self._member(members, token)]
        return str(int(value)) if isinstance(value, int) else f"'{value}'"

    def _key(self, members: Mapping[str, Any], token: _Token) -> str:
        template = members[self._member(members, token)]
        parameters = template.parameters
        arguments = self._arguments() if parameters else []
        if len(arguments) != len(parameters):
            wanted = ", ".join(parameters)
            raise LuaError(f"{self._where}:{token.line}: {token.text}.{template.name.lower()} takes ({wanted})")
        values = dict(zip(parameters, arguments, strict=True))
        pieces = re.split(r"\{(\w+)\}", template.value)
        texts = [values[piece] if number % 2 else f"'{piece}'" for number, piece in enumerate(pieces) if piece]
        return f"({' .. '.join([_PREFIX, *texts])})"

    def _member(self, members: Mapping[str, Any], token: _Token) -> str:
        self._expect(".", token)
        name = self._take().text
        if name not in members:
            raise LuaError(f"{self._where}:{token.line}: the layout has no {token.text}.{name}")
        return name

    def _check_field(self, token: _Token) -> None:
        name = self._tokens[self._at + 1].text
        if name not in _TABLES[token.text]:
            raise LuaError(f"{self._where}:{token.line}: the layout has no field for {token.text}.{name}")

    def _arguments(self) -> list[str]:
        """The contents of the next parentheses, expanded, and split at the commas of this level."""
        opening = self._tokens[self._at - 1]
        self._expect("(", opening)
        depth, found, simple = 0, [""], [True]
        while True:
            if self._at == len(self._tokens):
                raise LuaError(f"{self._where}:{opening.line}: a parenthesis is not closed")
            text = self._tokens[self._at].text
            if text == ")" and depth == 0:
                self._at += 1
                break
            if text == "," and depth == 0:
                self._at += 1
                found.append("")
                simple.append(True)
                continue
            depth += (text in "([{") - (text in ")]}")
            simple[-1] &= depth > 0 or text not in _OPERATORS
            found[-1] += self._next()
        texts = [text.strip() for text in found]
        return [text if plain else f"({text})" for text, plain in zip(texts, simple, strict=True) if text]

    def _expect(self, sign: str, token: _Token) -> None:
        if self._peek() != sign:
            raise LuaError(f"{self._where}:{token.line}: {sign!r} is missing behind {token.text}")
        self._at += 1

    def _peek(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _take(self) -> _Token:
        if self._at >= len(self._tokens):
            raise LuaError(f"{self._where}: it ends in the middle of a name")
        token = self._tokens[self._at]
        self._at += 1
        return token


def _collect_names(piece: _Piece, tokens: list[_Token]) -> None:
    """Fill in what a piece declares and uses. Scopes are not distinguished: a name is local to a piece or it is not."""
    brackets: list[str] = []
    for number, token in enumerate(tokens):
        if token.text in _CLOSING:
            del brackets[-1:]
        elif token.text in _CLOSING.values():
            brackets.append(token.text)
        if token.kind != "name" or token.text in _KEYWORDS or token.text in _CONSTANTS:
            continue
        before = tokens[number - 1].text if number else ""
        is_member = before in (".", ":")
        is_table_field = brackets[-1:] == ["{"] and before in ("{", ",") and tokens[number + 1].text == "="
        if is_member or is_table_field:
            continue
        if _declares(tokens, number):
            piece.declares.add(token.text)
        else:
            name = _PREFIX if token.text in _TEMPLATES else token.text
            piece.uses.setdefault(name, token.line)


def _declares(tokens: list[_Token], number: int) -> bool:
    """Whether a name is in a list of locals, of parameters, or of the variables of a loop."""
    at = number - 1
    while at >= 1 and tokens[at].text == "," and tokens[at - 1].kind == "name":
        at -= 2
    if at < 0:
        return False
    head = tokens[at].text
    if head == "(":
        return at >= 1 and (tokens[at - 1].text == "function" or (at >= 2 and tokens[at - 2].text == "function"))
    return head in ("local", "for") or (head == "function" and at >= 1 and tokens[at - 1].text == "local")
