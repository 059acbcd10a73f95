"""Every program of the docs runs as it stands: what is fenced as `python run`, in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
