"""The recipes of docs/testing.md run as they stand, each by the test runner that it is for."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
FILES = dict(re.findall(r'^```python title="(\S+)"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL))
PYTEST = ["pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
RUNNERS = {
    "test_with_anyio.py": [*PYTEST, "-p", "no:asyncio"],
    "test_with_pytest_asyncio.py": [*PYTEST, "-o", "asyncio_default_fixture_loop_scope=function"],
    "test_with_unittest.py": ["unittest", "-v"],
}


def test_each_recipe_has_its_runner() -> None:
    assert {*FILES} == {"trials.py", *RUNNERS}


@pytest.mark.parametrize("name", RUNNERS)
def test_a_recipe_runs(name: str, tmp_path: Path) -> None:
    for file in ("trials.py", name):
        (tmp_path / file).write_text(FILES[file])
    command = [sys.executable, "-m", *RUNNERS[name], name]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    output = run.stdout + run.stderr
    assert run.returncode == 0, output
    assert re.search(r"\b1 passed|Ran 1 test\b", output), output
