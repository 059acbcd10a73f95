"""The tutorial does what it says: its commands run as they stand, and its worker is killed half way."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import block_until

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
APP = re.findall(r'^```python title="workers.py"\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^\$ (zart .+)$", TEXT, re.MULTILINE)
SECONDS = 90


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    (tmp_path / "workers.py").write_text(*APP)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ZART_")} | {"PATH": path}

    def run(command: str) -> str:
        return subprocess.check_output(command, shell=True, cwd=tmp_path, env=environment, text=True, timeout=SECONDS)

    return run


def test_an_order_survives_its_worker(shell: Callable[[str], str], tmp_path: Path) -> None:
    start, workers, status, event, wait, detail = COMMANDS

    def step(name: str) -> dict[str, Any]:
        found = json.loads(shell(f"{detail} --json"))["steps"]
        return next((one for one in found if one["name"] == name), {})

    log = tmp_path / "worker.log"
    with log.open("w") as output:
        worker = Path(sys.executable).with_name("zart-worker")
        pool = subprocess.Popen([worker], cwd=tmp_path, stdout=output, stderr=output)
    try:
        block_until(lambda: "worker started" in log.read_text(), SECONDS)
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
    finally:
        pool.terminate()
        pool.wait(SECONDS)
