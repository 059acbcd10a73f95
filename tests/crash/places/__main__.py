"""The table of all places, on every installed server: `python -m tests.crash.places [WORKFLOW ...]`.

Exit code 1 if one was not survived.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

from tests.crash.places.deaths import Row, every_place, prepare
from tests.crash.places.stage import VICTIMS
from tests.crash.places.workflows import WORKFLOWS
from tests.servers import RedisProcess, installed_servers


async def main(wanted: list[str]) -> int:
    rows: list[Row] = []
    began = time.monotonic()
    print(f"{'redis':<10} {'workflow':<34} {'who':<8} {'places':>6} {'survived':>8} {'seconds':>7}")
    for version, binary in installed_servers().items():
        with RedisProcess(binary) as server:
            prepare(server.url)
            for workflow in WORKFLOWS:
                for victim in VICTIMS if not wanted or workflow.name in wanted else ():
                    rows.append(await every_place(workflow, victim, server.url))
                    _show(version, rows[-1])
    places, survived = sum(row.places for row in rows), sum(row.survived for row in rows)
    print(f"{places} places, {survived} survived, {time.monotonic() - began:.0f} seconds")
    return int(any(row.problems for row in rows))


def _show(version: str, row: Row) -> None:
    name = f"{version:<10} {row.workflow:<34} {row.victim:<8}"
    print(f"{name} {row.places:>6} {row.survived:>8} {row.seconds:>7.1f}", flush=True)
    for problem in row.problems:
        print(f"    {problem}")


if __name__ == "__main__":
    logging.getLogger("zart").setLevel(logging.CRITICAL)  # that a worker dies is no news here
    sys.exit(asyncio.run(main(sys.argv[1:])))
