"""A worker or a client can fail at any command: the reference workflows, disturbed at each command they send.

All faults take minutes (`make soak`). Here a slice of them is injected, chosen by the contents of the package: the same
sources always run the same slice, and each change of them another one. ZART_SLICE sets it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import zart_redis
from tests.fault_injection.harness import KINDS, TARGETS, Fault, Target
from tests.fault_injection.runner import every_fault, prepare
from tests.fault_injection.workflows import WORKFLOWS, Workflow
from tests.support.servers import RedisProcess

pytestmark = pytest.mark.anyio

SLICES = 12


def slice_of(sources: Path) -> int:
    """The slice that belongs to these sources."""
    digest = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.suffix in (".py", ".lua")):
        digest.update(path.relative_to(sources).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(digest.digest()[:8]) % SLICES


SLICE = int(os.environ.get("ZART_SLICE", slice_of(Path(zart_redis.__file__).parent))) % SLICES


@pytest.fixture(scope="module")
def server(redis_server: RedisProcess) -> Iterator[str]:
    """Of the same version as the shared one, since it is emptied before each run."""
    with RedisProcess(redis_server.binary) as server:
        prepare(server.url)
        yield server.url


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=[f"{SLICE}/{SLICES} {workflow.name}" for workflow in WORKFLOWS])
async def test_a_fault_at_any_command_is_survived(workflow: Workflow, target: Target, server: str) -> None:
    first = WORKFLOWS.index(workflow)

    def in_slice(fault: Fault) -> bool:
        return (first + len(KINDS) * fault.number + KINDS.index(fault.kind)) % SLICES == SLICE

    row = await every_fault(workflow, target, server, in_slice)
    assert not row.problems, "\n".join([f"ZART_SLICE={SLICE} repeats this slice", *row.problems])
    assert row.survived == row.faults


def test_the_slice_depends_on_the_sources_alone(tmp_path: Path) -> None:
    def write(folder: Path, text: str) -> Path:
        folder.mkdir()
        (folder / "a.py").write_text(text)
        (folder / "a.pyc").write_text(str(folder))
        return folder

    assert slice_of(write(tmp_path / "one", "same")) == slice_of(write(tmp_path / "two", "same"))
    assert len({slice_of(write(tmp_path / str(n), str(n))) for n in range(40)}) > SLICES // 2
