"""What the reference says that the code knows: commands, settings, errors, log events, exit codes.

`python -m tests.docs.reference` writes it into the pages, where a pair of comments marks the place of each part. It
also writes the files of the example applications into the pages that show them, and `llms.txt` from the navigation.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import typer
import yaml

import zart_redis
from zart_redis import errors
from zart_redis.cli import app, running, worker
from zart_redis.durations import format_ms
from zart_redis.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGE = Path(zart_redis.__file__).parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LLMS = DOCS / "llms.txt"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_PLACE = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_FILE = re.compile(r'^(```\w+ title="(docs/examples/\S+)"\n).*?^(```)$', re.MULTILINE | re.DOTALL)


def parts() -> dict[str, str]:
    """The generated parts by name."""
    return {
        "commands": "\n".join(_commands()),
        "settings": _table(("setting", "variable", "default", "takes", "what it does"), _settings()),
        "errors": _table(("error", "is a", "code", "exit code", "when"), _errors()),
        "log events": _table(("event", "level", "fields"), _log_events()),
        "exit codes": _table(("code", "name", "when"), _exit_codes()),
    }


def filled(page: str) -> str:
    """The page with its generated parts and example files up to date."""
    generated = parts()
    page = _PLACE.sub(lambda place: f"{place[1]}{generated[place[2]]}{place[3]}", page)
    return _FILE.sub(lambda fence: f"{fence[1]}{(ROOT / fence[2]).read_text()}{fence[3]}", page)


def llms() -> str:
    """The site for language models: https://llmstxt.org/."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}."]
    sections: dict[str, list[tuple[str, str]]] = {"Start": []}
    for item in config["nav"]:
        ((title, target),) = item.items()
        if isinstance(target, str):
            sections["Start"].append((title, target))
        else:
            sections[title] = [pair for page in target for pair in page.items()]
    for section, pages in sections.items():
        lines += ["", f"## {section}", ""]
        lines += [f"- [{title}]({page.removesuffix('.md')}.html): {_summary(DOCS / page)}" for title, page in pages]
    return "\n".join(lines) + "\n"


def _summary(page: Path) -> str:
    """The first sentence of a page, without links."""
    paragraphs = page.read_text().split("\n\n")
    text = next(text for text in paragraphs if not text.startswith(("#", "<!--", "|", "```")))
    return re.split(r"(?<=\.)\s", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", _one_line(text)))[0].rstrip(":")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _attribute_docs(cls: type) -> dict[str, str]:
    """Attribute -> the string below it, which Python does not keep."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))
    found = {}
    for statement, following in pairwise(body):
        match statement, following:
            case (
                (ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)])),
                ast.Expr(ast.Constant(str(text))),
            ):
                found[name] = _one_line(text)
            case _:
                pass
    return found


def _commands() -> Iterator[str]:
    zart: Any = typer.main.get_command(app.app)
    commands = {f"zart {name}": command for name, command in zart.commands.items()}
    for name, command in {**commands, "zart-worker": typer.main.get_command(worker.app)}.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        unlisted = {"help", "redis_url", "namespace"} if name.startswith("zart ") else {"help"}  # the page says it once
        options = [p for p in command.params if p.param_type_name == "option" and p.name not in unlisted]
        usage = " ".join([name, *((p.metavar or p.name.upper()) for p in arguments), "[OPTIONS]"])
        yield f"### {name}\n\n```text\n{usage}\n```\n\n{_one_line(command.help)}\n"
        rows = [[f"`{p.metavar or p.name.upper()}`", p.help] for p in arguments]
        rows += [[", ".join(f"`{opt}`" for opt in (*p.opts, *p.secondary_opts)), _option_help(p)] for p in options]
        if rows:
            yield _table(("argument or option", "what it does"), rows)


def _option_help(option: Any) -> str:
    """Most help texts name their default; those whose default is in the code do not."""
    is_plain = option.default not in (None, False, True, ()) and "[default" not in option.help
    return f"{option.help} [default: {option.default}]" if is_plain else str(option.help)


def _settings() -> Iterator[list[str]]:
    docs = _attribute_docs(Settings)
    for each in fields(Settings):
        how = each.metadata
        variable = how["variable"] or f"ZART_{each.name.upper()}"
        is_duration = how["accepts"].startswith("a duration")
        default: Any = format_ms(cast(int, each.default)) if is_duration else each.default
        shown = ", ".join(default) if isinstance(default, tuple) else str(default)
        yield [f"`{each.name}`", f"`{variable}`", f"`{shown}`" if shown else "", how["accepts"], docs[each.name]]


def _errors() -> Iterator[list[str]]:
    names = [name for name in errors.__all__ if name != "ZartError"]
    classes = [getattr(errors, name) for name in names]
    for cls in sorted(classes, key=lambda cls: [base.__name__ for base in reversed(cls.__mro__)]):
        code = next(code for kind, code in running._CODES if issubclass(cls, kind))
        bases = ", ".join(f"`{base.__name__}`" for base in cls.__bases__)
        summary = _one_line(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0])
        yield [f"`{cls.__name__}`", bases, f"`{cls.code}`", str(int(code)), summary]


def _exit_codes() -> Iterator[list[str]]:
    docs = _attribute_docs(running.Code)
    for code in running.Code:
        yield [str(int(code)), f"`{code.name}`", docs[code.name]]


def _log_events() -> list[list[str]]:
    """Every line that the library can log. A part of the text that is only known at run time is shown as `…`."""
    rows = set[tuple[str, str, str]]()
    for path in sorted(PACKAGE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                rows.update(_events_of(function))
    return [list(row) for row in sorted(rows)]


def _events_of(function: ast.AST) -> Iterator[tuple[str, str, str]]:
    chosen: dict[str, set[str]] = {}
    """Names that stand for a method, or a level, of the logger: `write = log.debug if ... else log.error`."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value):
                chosen.setdefault(name, set()).update(_levels_in(value))
            case _:
                pass
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=attr), args=[first, *_]) if attr in LEVELS:
                yield _event(first, {attr}, node)
            case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr="log"), args=[ast.Name(level), text]):
                yield _event(text, chosen[level], node)
            case ast.Call(func=ast.Name(name), args=[first, *_]) if chosen.get(name) and name == "write":
                yield _event(first, chosen[name], node)
            case _:
                pass


def _levels_in(value: ast.expr) -> set[str]:
    named = {node.attr for node in ast.walk(value) if isinstance(node, ast.Attribute)}
    return {name.lower() for name in named if name.lower() in LEVELS}


def _event(text: ast.expr, levels: set[str], call: ast.Call) -> tuple[str, str, str]:
    words = {"exception": "error"}
    shown = ", ".join(sorted(words.get(level, level) for level in levels))
    names = [keyword.arg or "execution_id, task, name" for keyword in call.keywords if keyword.arg != "exc_info"]
    return _text_of(text), shown, ", ".join(f"`{name}`" for name in ", ".join(names).split(", ") if name)


def _text_of(text: ast.expr) -> str:
    match text:
        case ast.Constant(str(value)):
            return value
        case ast.JoinedStr(values):
            return "".join(_text_of(value) for value in values)
        case _:
            return "…"


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text()))
    LLMS.write_text(llms())
