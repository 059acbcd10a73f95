# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return"
# pyright: reportMissingImports=false
"""DBOS: the application of its documentation, in which client and worker are one process, so it saves that hop.

PEER_DATABASE says where its system database is. Waits look for their results each 5 ms, not each second. Its fan-out
stays in the process, which is several times as fast there as a queue.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid

from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.peers import timing

POLL_SECONDS = 0.005
CHAIN, EXECUTIONS, WIDTH, EVENTS = 300, 100, 1000, 30


@DBOS.step()
async def add_one(index: int) -> int:
    return index + 1


@DBOS.workflow()
async def chain(length: int) -> int:
    result = 0
    for index in range(length):
        result = await add_one(index)
    return result


@DBOS.workflow()
async def no_op(number: int) -> int:
    return number


@DBOS.workflow()
async def fan_out(width: int) -> int:
    return sum(await asyncio.gather(*(add_one(index) for index in range(width))))


@DBOS.workflow()
async def event() -> int:
    return int(await DBOS.recv_async("go", timeout_seconds=60))


async def _run(workflow: object, argument: int) -> int:
    handle = await DBOS.start_workflow_async(workflow, argument)
    return int(await handle.get_result(polling_interval_sec=POLL_SECONDS))


async def _seconds(workflow: object, argument: int, result: int) -> float:
    began = time.perf_counter()
    if await _run(workflow, argument) != result:
        raise SystemExit("a workflow has another result")
    return time.perf_counter() - began


async def _wake(payload: int) -> float:
    """The milliseconds from the event to the completion."""
    workflow_id = str(uuid.uuid4())
    with SetWorkflowID(workflow_id):
        handle = await DBOS.start_workflow_async(event)
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    await DBOS.send_async(workflow_id, payload, "go")
    if await handle.get_result(polling_interval_sec=POLL_SECONDS) != payload:
        raise SystemExit("the event has another payload")
    return (time.perf_counter() - began) * 1000


async def main() -> None:
    await _run(no_op, 0)
    latencies = [await timing.timed(lambda number: _run(no_op, number), number) for number in range(timing.ALONE)]
    together = min(timing.TOGETHER, 500)
    began = time.perf_counter()
    await asyncio.gather(*(_run(no_op, number) for number in range(together)))
    per_second = together / (time.perf_counter() - began)
    step = await _seconds(chain, CHAIN, CHAIN) / CHAIN
    began = time.perf_counter()
    await asyncio.gather(*(_run(chain, 10) for _ in range(EXECUTIONS)))
    steps_per_second = EXECUTIONS * 10 / (time.perf_counter() - began)
    timing.tell(
        {
            **timing.percentiles(latencies),
            "per_second": per_second,
            "step": step * 1000,
            "steps_per_second": steps_per_second,
            "fan_out": await _seconds(fan_out, WIDTH, WIDTH * (WIDTH + 1) // 2) * 1000,
            "wake": timing.percentiles([await _wake(payload) for payload in range(EVENTS)])["p50"],
        }
    )


if __name__ == "__main__":
    timing.versions("dbos")
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": os.environ.get("PEER_DATABASE", f"sqlite:///{timing.FOLDER}/dbos.sqlite"),
        "log_level": "ERROR",
        "notification_listener_polling_interval_sec": POLL_SECONDS,
    }
    DBOS(config=config)
    DBOS.launch()
    asyncio.run(main())
    DBOS.destroy()
