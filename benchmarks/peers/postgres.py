"""A Postgres in a temporary folder, where there is one to start."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = shutil.which("postgres")
OWNER = "nobody" if os.geteuid() == 0 else None
"""Postgres refuses to run as root."""


@contextmanager
def temporary_postgres() -> Iterator[str]:
    """The URL of its database; only where SERVER is found."""
    assert SERVER is not None
    programs = Path(SERVER).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="zart-bench-"))
    if OWNER:
        shutil.chown(folder, OWNER)
    data = str(folder / "data")
    try:
        _run(programs / "initdb", "-D", data, "-U", "bench", "-A", "trust")
        _run(programs / "pg_ctl", "-D", data, "-w", "-o", f"-k {folder} -c listen_addresses=", "start")
        try:
            _run(programs / "createdb", "-h", str(folder), "-U", "bench", "bench")
            yield f"postgresql://bench@/bench?host={folder}"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str | Path) -> None:
    """Its output goes nowhere: the server would keep a pipe open."""
    subprocess.run(command, user=OWNER, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
