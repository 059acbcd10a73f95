"""Each row of the table in docs/changing-code.md names a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "changing-code.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "| --- |" not in line][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_row_names_its_test(row: str) -> None:
    named = re.search(r"`(tests/\S+\.py)::(\w+)` \|$", row)
    assert named, "no test is named"
    tree = ast.parse((ROOT / named[1]).read_text())
    assert named[2] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
