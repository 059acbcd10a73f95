"""The census: durable and plain come to the same, and every run of a step is noted."""

from pathlib import Path

import pytest

import zart_redis as zart
from tests.support.waiting import SOON
from workers.census import Census, Function, census, take
from zart_redis.cli.demo.ledger import Ledger

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    (root / "shop").mkdir(parents=True)
    (root / "site-packages").mkdir()
    (root / "site-packages" / "other.py").write_text("import os\n")
    (root / "alone.py").write_text("import os.path, sys\nclass A:\n    def f(self):\n        return 1\n")
    (root / "shop" / "till.py").write_text("from os import sep\nfrom . import x\nasync def g():\n    pass\n\n")
    (root / "shop" / "bad.py").write_text("def\n")
    return root


async def test_census(scheduler: zart.DurableScheduler, root: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    totals = await scheduler.start_and_wait_for(census, "c-1", Census(str(root), str(ledger.path)), SOON)
    assert totals == take(str(root))
    assert (totals.total.files, totals.total.lines, totals.total.functions, totals.total.classes) == (2, 9, 2, 1)
    assert totals.packages.keys() == {"alone", "shop"}
    assert totals.longest == [Function("alone.py: f", 2), Function("shop/till.py: g", 2)]
    assert totals.imports == {"os": 2, "sys": 1}
    assert totals.unreadable == ["shop/bad.py"]

    ledger.read()
    assert ledger.ended == {"alone.py", "shop/till.py", "shop/bad.py"}
    assert ledger.run_again() == 0


def test_ledger_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.read()
    ledger.path.write_text("begin\t1\ta.py\nend\t1\ta.py\nbegin\t2\ta")
    ledger.read()
    assert (ledger.run_again(), ledger.ended) == (0, {"a.py"})
    with ledger.path.open("a") as file:
        file.write(".py\n")
    ledger.read()
    assert (ledger.run_again(), ledger.begun) == (1, {1: {"a.py"}, 2: {"a.py"}})
