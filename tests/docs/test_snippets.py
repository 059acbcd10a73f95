"""Every program of the docs runs as it stands: what is fenced as `python run`, in a process of its own. Fences with a
title are files, which the tests of their page run; other Python is a fragment, of which the names are checked."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zart_redis

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def programs() -> Iterator[tuple[str, str]]:
    """The place of each program, and its source."""
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^```python run\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 2
            yield f"{page.relative_to(ROOT)}:{line}", match[1]


@pytest.mark.parametrize("source", [pytest.param(source, id=place) for place, source in programs()])
def test_a_program_of_the_docs_runs(source: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(source)
    run = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "assert " in source


def fragments() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        ):
            yield f"{page.relative_to(ROOT)}:{number}", match[1]


@pytest.mark.parametrize("source", [pytest.param(source, id=place) for place, source in fragments()])
def test_a_fragment_uses_names_that_exist(source: str) -> None:
    code = compile(source, "fragment", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(code):
        match node:
            case ast.Attribute(value=ast.Name("zart"), attr=name):
                assert hasattr(zart_redis, name), name
            case _:
                pass


def test_every_python_fence_is_run_or_checked() -> None:
    for page in PAGES:
        for fence in re.findall(r"^```python(.*)$", page.read_text(), re.MULTILINE):
            assert fence in ("", " run") or re.fullmatch(r' title="\S+\.py"', fence), f"{page.name}: {fence}"
