"""A census of Python source files: every file is parsed in its own step, on any free worker.

    zart start census --data '{"root": "/usr/lib/python3.11"}' --wait

The handler only fans out and adds up. `take` does the same in one process without durable execution, to compare.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import zart_redis as zart

SKIPPED = {"site-packages", "dist-packages", "__pycache__"}
"""Folders that are not the library's own."""
MOST_LISTED = 5
ATTEMPTS = 10


@dataclass
class Census:
    """What to count: all Python files below `root`. In the file `ledger`, if one is named, every run of a step leaves
    a line when it begins and one when it ends, so that somebody else can count the runs."""

    root: str
    ledger: str | None = None


@dataclass
class Function:
    name: str
    lines: int


@dataclass
class FileReport:
    """What one file holds. `imports` are top-level names of modules."""

    lines: int
    functions: int
    classes: int
    longest: Function | None
    imports: list[str]


@dataclass
class Count:
    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0

    def add(self, report: FileReport) -> None:
        self.files += 1
        self.lines += report.lines
        self.functions += report.functions
        self.classes += report.classes


@dataclass
class Totals:
    """The whole census. Packages are the folders and modules right below the root; `unreadable` files are no Python."""

    total: Count = field(default_factory=Count)
    packages: dict[str, Count] = field(default_factory=dict)
    longest: list[Function] = field(default_factory=list)
    imports: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


@zart.zart_step("find-files")
def find_files(root: str) -> list[str]:
    """Recorded, so that every replay sees the same files in the same order."""
    paths = (path.relative_to(root) for path in Path(root).rglob("*.py"))
    return sorted(str(path) for path in paths if not SKIPPED & set(path.parts))


@zart.zart_step("parse {path}")
def parse(root: str, path: str, ledger: str | None) -> FileReport:
    """A plain def: it runs in a thread, so that it does not block the worker's event loop."""
    note(ledger, "begin", path)
    try:
        return examine(Path(root, path).read_bytes())
    finally:
        note(ledger, "end", path)


def examine(source: bytes) -> FileReport:
    """Raises SyntaxError for what is no Python."""
    functions: list[Function] = []
    imports: set[str] = set()
    classes = 0
    for node in ast.walk(_tree_of(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                functions.append(Function(node.name, (node.end_lineno or node.lineno) - node.lineno + 1))
            case ast.ClassDef():
                classes += 1
            case ast.Import():
                imports.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                imports.add(module.partition(".")[0])
            case _:
                pass
    longest = max(functions, key=lambda function: (function.lines, function.name), default=None)
    return FileReport(source.count(b"\n"), len(functions), classes, longest, sorted(imports))


def _tree_of(source: bytes) -> ast.Module:
    """As `ast.parse`, which fails with SystemError at times when another thread, such as one that formats a traceback,
    builds a tree as well: some versions of Python count the depth of both in one number (gh-106905)."""
    for _ in range(ATTEMPTS):
        try:
            return ast.parse(source)
        except SystemError:
            pass
    return ast.parse(source)


def note(ledger: str | None, word: str, path: str) -> None:
    """A short write to a file opened for appending is atomic, even if other processes write."""
    if ledger is not None:
        with open(ledger, "a") as lines:
            lines.write(f"{word}\t{os.getpid()}\t{path}\n")


def add_up(reports: Iterable[tuple[str, FileReport | None]]) -> Totals:
    """The census from its files' reports; None marks a file that could not be parsed."""
    totals, imports = Totals(), Counter[str]()
    longest: list[Function] = []
    for path, report in reports:
        if report is None:
            totals.unreadable.append(path)
            continue
        totals.total.add(report)
        totals.packages.setdefault(Path(path).parts[0].removesuffix(".py"), Count()).add(report)
        imports.update(report.imports)
        if report.longest is not None:
            longest.append(Function(f"{path}: {report.longest.name}", report.longest.lines))
    totals.longest = sorted(longest, key=lambda function: (-function.lines, function.name))[:MOST_LISTED]
    totals.imports = dict(sorted(imports.items(), key=lambda item: (-item[1], item[0]))[:MOST_LISTED])
    return totals


@zart.zart_durable("census")
async def census(job: Census) -> Totals:
    """Fan out, wait, add up."""
    paths = await find_files(job.root)
    results = await zart.wait([zart.schedule(parse(job.root, path, job.ledger)) for path in paths])
    read = [result.value if isinstance(result, zart.Ok) else None for result in results]
    return add_up(zip(paths, read, strict=True))


def take(root: str, progress: Callable[[], object] = lambda: None) -> Totals:
    """The same census, plainly: one file after the other in this process. `progress` is called after each."""
    reports: list[tuple[str, FileReport | None]] = []
    for path in find_files.fn(root):
        try:
            reports.append((path, parse.fn(root, path, None)))
        except SyntaxError:
            reports.append((path, None))
        progress()
    return add_up(reports)
