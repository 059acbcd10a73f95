"""A table of all faults, on every installed server: `python -m tests.fault_injection [WORKFLOW ...]`.

Exits with code 1 if one was not survived.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

from tests.fault_injection.harness import TARGETS
from tests.fault_injection.runner import Row, every_fault, prepare
from tests.fault_injection.workflows import WORKFLOWS
from tests.support.servers import RedisProcess, installed_servers


async def main(wanted: list[str]) -> int:
    rows: list[Row] = []
    began = time.monotonic()
    print(f"{'redis':<10} {'workflow':<34} {'target':<8} {'faults':>6} {'survived':>8} {'seconds':>7}")
    for version, binary in installed_servers().items():
        with RedisProcess(binary) as server:
            prepare(server.url)
            for workflow in WORKFLOWS:
                for target in TARGETS if not wanted or workflow.name in wanted else ():
                    rows.append(await every_fault(workflow, target, server.url))
                    _show(version, rows[-1])
    faults, survived = sum(row.faults for row in rows), sum(row.survived for row in rows)
    print(f"{faults} faults, {survived} survived, {time.monotonic() - began:.0f} seconds")
    return int(any(row.problems for row in rows))


def _show(version: str, row: Row) -> None:
    name = f"{version:<10} {row.workflow:<34} {row.target:<8}"
    print(f"{name} {row.faults:>6} {row.survived:>8} {row.seconds:>7.1f}", flush=True)
    for problem in row.problems:
        print(f"    {problem}")


if __name__ == "__main__":
    logging.getLogger("zart").setLevel(logging.CRITICAL)  # workers die on purpose here
    sys.exit(asyncio.run(main(sys.argv[1:])))
