"""What users' type checkers say: nothing of right uses, and an error on each wrong line, and there only.

A wrong line ends with the names of the checkers that must reject it, as in ``# E: mypy pyright``.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

Place = tuple[str, int]


def marked(checker: str) -> set[Place]:
    places = set()
    for path in HERE.rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            mark = re.search(r"# E: ([a-z ]+)$", line)
            if mark and checker in mark[1].split() and path != Path(__file__):
                places.add((path.relative_to(HERE).as_posix(), number))
    return places


def run(*command: str | Path) -> str:
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert outcome.returncode in (0, 1), outcome.stdout + outcome.stderr
    return outcome.stdout


def mypy() -> dict[Place, str]:
    folders = [HERE / "accepted", HERE / "rejected"]
    options = ["--strict", "--output=json", "--config-file=", "--cache-dir=.mypy_cache/typing"]
    output = run(sys.executable, "-m", "mypy", *options, *folders)
    errors = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {
        (Path(ROOT, error["file"]).relative_to(HERE).as_posix(), error["line"]): error["message"]
        for error in errors
        if error["severity"] == "error"
    }


def pyright(folder: Path) -> dict[Place, str]:
    def relative(path: Path) -> str:  # which is what pyright wants
        return os.path.relpath(path, folder.resolve())

    include = [relative(HERE / "accepted"), relative(HERE / "rejected")]
    (folder / "pyrightconfig.json").write_text(json.dumps({"include": include, "extraPaths": [relative(ROOT)]}))
    checker = Path(sys.executable).parent / "pyright"
    output = run(checker, "--outputjson", "--pythonpath", sys.executable, "--project", folder)
    errors = json.loads(output)["generalDiagnostics"]
    return {
        (Path(error["file"]).relative_to(HERE).as_posix(), error["range"]["start"]["line"] + 1): error["message"]
        for error in errors
        if error["severity"] == "error"
    }


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_exactly_the_marked_lines_are_errors(checker: str, tmp_path: Path) -> None:
    found = mypy() if checker == "mypy" else pyright(tmp_path)
    expected = marked(checker)
    assert len(expected) > 30
    assert {place: found[place] for place in found.keys() - expected} == {}, "errors in right uses"
    assert expected - found.keys() == set(), "wrong uses that are accepted"
