"""Every command is a place to die, or to be cut off: the workflows of `places`, disturbed at each command they send.

All places take minutes (`make soak`). Here a slice of them is played, another one every hour; which one is in the name
of each test, and ZART_SLICE sets it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.crash.places.deaths import every_place, prepare
from tests.crash.places.stage import FATES, VICTIMS, Place, Victim
from tests.crash.places.workflows import WORKFLOWS, Workflow
from tests.servers import RedisProcess

pytestmark = pytest.mark.anyio

SLICES = 12
SLICE = int(os.environ.get("ZART_SLICE", time.time() // 3600)) % SLICES


@pytest.fixture(scope="module")
def server(redis_server: RedisProcess) -> Iterator[str]:
    """Of the same version as the shared one, since it is emptied before each play."""
    with RedisProcess(redis_server.binary) as server:
        prepare(server.url)
        yield server.url


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=[f"{SLICE}/{SLICES} {workflow.name}" for workflow in WORKFLOWS])
async def test_no_command_is_a_bad_place_to_die_or_to_be_cut_off(
    workflow: Workflow, victim: Victim, server: str
) -> None:
    first = WORKFLOWS.index(workflow)

    def in_slice(place: Place) -> bool:
        return (first + len(FATES) * place.number + FATES.index(place.fate)) % SLICES == SLICE

    row = await every_place(workflow, victim, server, in_slice)
    assert not row.problems, "\n".join(row.problems)
    assert row.survived == row.places
