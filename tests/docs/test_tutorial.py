"""The tutorial and the README do what they say: their commands run as they stand, with a worker beside them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import block_until

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
README = (ROOT / "README.md").read_text()
SECONDS = 90


def app_of(text: str) -> str:
    (app,) = re.findall(r'^```python title="workers.py"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    return str(app)


def commands_of(text: str) -> list[str]:
    return re.findall(r"^\$ (zart .+)$", text, re.MULTILINE)


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZART_")} | {"PATH": path}

    def run(command: str) -> str:
        return subprocess.check_output(command, shell=True, cwd=tmp_path, env=environment, text=True, timeout=SECONDS)

    return run


@contextmanager
def running_pool(folder: Path, app: str) -> Iterator[Path]:
    """A pool of one process in a folder, which shares its embedded server; yields its log."""
    (folder / "workers.py").write_text(app)
    log = folder / "worker.log"
    command = [str(Path(sys.executable).with_name("zart-worker"))]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZART_")}
    with log.open("w") as output:
        pool = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        block_until(lambda: "worker started" in log.read_text(), SECONDS)
        yield log
    finally:
        pool.terminate()
        pool.wait(SECONDS)


def test_the_first_example_of_the_readme(shell: Callable[[str], str], tmp_path: Path) -> None:
    (start,) = commands_of(README)
    with running_pool(tmp_path, app_of(README)) as log:
        assert '"ann paid 900"' in shell(start)
        assert log.read_text().count("ann paid 900") == 1


def test_an_order_survives_its_worker(shell: Callable[[str], str], tmp_path: Path) -> None:
    start, workers, status, event, wait, detail = commands_of(TUTORIAL)

    def step(name: str) -> dict[str, Any]:
        found = json.loads(shell(f"{detail} --json"))["steps"]
        return next((one for one in found if one["name"] == name), {})

    with running_pool(tmp_path, app_of(TUTORIAL)) as log:
        assert "started order-1 (run 1)" in shell(start)
        block_until(lambda: "packing bulb" in log.read_text(), SECONDS)
        (busy,) = json.loads(shell(f"{workers} --json"))["workers"]
        os.kill(busy["pid"], signal.SIGKILL)
        block_until(lambda: "event shipped" in " ".join(json.loads(shell(f"{status} --json"))["waiting_for"]), SECONDS)
        shell(event)
        assert "4 parcels sent as ZR-1" in shell(wait)
        assert step("charge-card")["attempt_count"] == 2
        packed = Counter(re.findall(r"packing (\w+)", log.read_text()))
        assert {*packed} == {"lamp", "bulb", "desk", "chair"}
        assert packed.total() == 5, "the step that the dead worker was busy with ran again, and no other"
        assert "a worker process has ended" in log.read_text()
