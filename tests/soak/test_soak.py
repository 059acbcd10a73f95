"""The soak and the measurement of losses, small."""

import random

import pytest

from tests.conftest import SERVERS
from tests.soak.chaos import Fault, make_plan
from tests.soak.durability import Case, as_table, measure
from tests.soak.failover import Topology, soak_failover
from tests.soak.run import Setting, soak
from tests.soak.topologies import Death
from tests.soak.verdict import examples

pytestmark = pytest.mark.anyio

NEWEST = list(SERVERS.values())[-1]
ONE_OF_EACH = dict.fromkeys(set(Fault) - {Fault.POWER_CUT, Fault.REDIS_RESTART}, 1)


async def test_a_little_chaos_leaves_nothing_wrong() -> None:
    setting = Setting(
        executions=300,
        workers=2,
        producers=1,
        seconds=5,
        appendfsync="always",
        seed=random.randrange(1_000_000),
        binary=NEWEST,
        faults=ONE_OF_EACH,
    )
    report = await soak(setting, print)
    assert report.passed, [f"seed {setting.seed}", *examples(report.checks)]
    assert report.faults == ONE_OF_EACH


async def test_losses_are_measured() -> None:
    cases = (
        Case(Death.POWER_CUT, "everysec", "memory"),
        Case(Death.KILL, "always", "fsync"),
        Case(Death.FAILOVER, "everysec", "replicas:1"),
    )
    found = await measure(NEWEST, rounds=1, seconds=1, say=print, cases=cases)
    assert all(figures.given["start"] and not figures.refused for figures in found.values())
    assert not found[cases[1]].lost
    assert not found[cases[2]].lost["start"]
    assert as_table(found, "").row_count == len(cases)


@pytest.mark.parametrize("topology", Topology)
async def test_nothing_acknowledged_is_lost_when_a_replica_takes_over(topology: Topology) -> None:
    report = await soak_failover(topology, NEWEST, 1, "replicas:1", random.Random())
    assert report.passed, list(examples(report.checks))
    (stall,) = report.stalls
    if stall.others is not None:
        assert stall.others < stall.own, "the partitions of other masters stood still too"


def test_a_seed_repeats_the_plan() -> None:
    plans = [make_plan(random.Random(7), 60, ONE_OF_EACH) for _ in range(2)]
    assert plans[0] == plans[1]
    assert make_plan(random.Random(8), 60, ONE_OF_EACH) != plans[0]
