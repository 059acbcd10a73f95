"""The example applications: their own tests, and each with a real worker and a Redis beside it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import block_until

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SECONDS = 90

Run = Callable[..., str]

FASTAPI = """
import time
from fastapi.testclient import TestClient
from api import app

with TestClient(app) as client:
    assert client.put("/orders/17", json={"account": "ann", "cents": 900}).status_code == 202
    assert client.post("/orders/17/shipped", json={"tracking": "ZR-1"}).status_code == 200
    while (order := client.get("/orders/17").json())["status"] != "completed":
        time.sleep(0.05)
    assert order["output"] == "sent as ZR-1"
    assert client.post("/orders/17/shipped", json={"tracking": "ZR-2"}).status_code == 409
    assert client.put("/orders/17", json={"account": "ann", "cents": 900}).json() == order
"""
DJANGO = """
import os, time
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()
from django.test import Client

client = Client()
order = client.post("/orders", {"account": "ann", "cents": 900}, content_type="application/json").json()
path = f"/orders/{order['id']}"
assert client.post(f"{path}/shipped", {"by": "van"}, content_type="application/json").status_code == 200
while client.get(path).json()["state"] != "shipped":
    time.sleep(0.05)
"""


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / request.param, tmp_path / "app"))


@pytest.fixture
def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("ZART_")}


@pytest.fixture
def run(folder: Path, environment: dict[str, str]) -> Run:
    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def worker(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    log = folder / "worker.log"
    command = [str(Path(sys.executable).with_name("zart-worker")), "--app", "workers"]
    with log.open("w") as output, subprocess.Popen(command, cwd=folder, env=environment, stderr=output) as pool:
        block_until(lambda: "worker started" in log.read_text(), SECONDS)
        yield
        pool.terminate()


@pytest.mark.parametrize("folder", ["fastapi"], indirect=True)
def test_the_tests_of_the_fastapi_shop(run: Run) -> None:
    assert "3 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("folder", ["fastapi"], indirect=True)
def test_the_fastapi_shop_with_a_worker(run: Run) -> None:
    run("-c", FASTAPI)


@pytest.mark.parametrize("folder", ["django"], indirect=True)
def test_the_tests_of_the_django_shop(run: Run) -> None:
    assert "Ran 1 test" in run("-m", "unittest", "test_orders")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("folder", ["django"], indirect=True)
def test_the_django_shop_with_a_worker(run: Run) -> None:
    run("manage.py", "migrate", "--run-syncdb", "-v", "0")
    run("-c", DJANGO)
