"""The pytest plugin: every project that has the package installed loads it, so it must cost next to nothing."""

import subprocess
import sys
from pathlib import Path

HEAVY = ["zart_redis.testing.harness", "zart_redis.client", "zart_redis.worker", "zart_redis.store", "msgspec"]

PROJECT = f"""
import sys

HEAVY = {HEAVY}

def test_without_the_fixture():
    assert "zart_redis.testing.pytest_plugin" in sys.modules
    assert [name for name in HEAVY if name in sys.modules] == []

def test_with_the_fixture(zart_harness):
    assert [name for name in HEAVY if name not in sys.modules] == []
"""


def test_the_harness_is_imported_when_a_test_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "test_project.py").write_text(PROJECT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
