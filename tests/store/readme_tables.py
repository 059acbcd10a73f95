"""The tables of `zart_redis/store/README.md`, made from the layout and the headers of the scripts.

`python -m tests.store.readme_tables` writes them into the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path

import zart_redis
from zart_redis import layout
from zart_redis.store.lua import SCRIPTS
from zart_redis.store.reserved import RESERVED

PACKAGE = Path(zart_redis.__file__).parent
PAGE = PACKAGE / "store" / "README.md"
_PLACE = r"(<!-- table: {name} -->\n).*?(<!-- end -->)"


def _docs() -> dict[str, dict[str, str]]:
    """Class -> member -> its docstring, which Python does not keep."""
    found: dict[str, dict[str, str]] = {}
    modules = [ast.parse(path.read_text()) for path in (PACKAGE / "layout").glob("*.py")]
    for node in (node for module in modules for node in module.body):
        if isinstance(node, ast.ClassDef):
            members = found.setdefault(node.name, {})
            for statement, following in zip(node.body, node.body[1:], strict=False):
                match statement, following:
                    case ast.Assign(targets=[ast.Name(name)]), ast.Expr(ast.Constant(str(text))):
                        members[name] = " ".join(text.split())
    return found


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(kind: type[Enum], show: Callable[[str], str] = lambda text: f"`{text}`") -> list[list[str]]:
    docs = _docs()[kind.__name__]
    return [[show(member.value), docs.get(member.name, member.name.lower().replace("_", " "))] for member in kind]


def _keys() -> str:
    rows = [[key, *text.split(": ", 1)] for key, text in _rows(layout.Key, lambda key: f"`{_readable(key)}`")]
    return _table(("key", "type", "what"), rows)


def _readable(template: str) -> str:
    return re.sub(r"\{(\w+)\}", r"<\1>", template)


def _kinds() -> str:
    kinds = (layout.Record, layout.Wait, layout.Timer, layout.Entry, layout.Ack, layout.Delivered, layout.GroupField)
    rows = [[kind.__name__, *row] for kind in kinds for row in _rows(kind)]
    return _table(("of", "letter", "what"), rows)


def _scripts() -> str:
    rows = []
    for name in sorted(SCRIPTS):
        manifest = SCRIPTS[name].manifest
        confirm = "yes" if manifest.confirm else "no"
        rows.append([f"`{name}`", manifest.summary, f"{manifest.repeat}: {manifest.repeat_reason}", confirm])
    return _table(("script", "what it does", "sent twice", "confirmed"), rows)


def tables() -> dict[str, str]:
    """The tables by name."""
    return {
        "scripts": _scripts(),
        "keys": _keys(),
        "channels": _table(("channel", "message"), _rows(layout.Channel, lambda name: f"`{_readable(name)}`")),
        "kinds": _kinds(),
        "fields": _table(("field", "of an execution"), _rows(layout.Field)),
        "step fields": _table(("field", "of a scheduled step"), _rows(layout.StepField)),
        "reserved": _table(("name", "for"), ([f"`{name}`", what] for name, what in RESERVED.items())),
    }


def filled(page: str) -> str:
    """The page with all its tables up to date."""
    for name, table in tables().items():
        places = list(re.finditer(_PLACE.format(name=name), page, re.DOTALL))
        assert len(places) == 1, f"the page has {len(places)} places for the table {name!r}"
        page = page[: places[0].end(1)] + table + page[places[0].start(2) :]
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
