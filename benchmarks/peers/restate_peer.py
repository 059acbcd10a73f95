# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return"
# pyright: reportMissingImports=false
"""Restate: its server as it comes, the services of its documentation behind hypercorn, and its client.

Its fan-out are steps side by side in one handler, which is several times as fast there as calls of other handlers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import restate

from benchmarks.peers import timing

CHAIN, EXECUTIONS, WIDTH, EVENTS = 300, 200, 1000, 30
AT_ONCE = 100

bench = restate.Service("bench")
waiting = restate.Workflow("waiting")


async def add_one(index: int) -> int:
    return index + 1


@bench.handler()
async def chain(ctx: restate.Context, length: int) -> int:
    result = 0
    for index in range(length):
        result = await ctx.run_typed("add-one", add_one, index=index)
    return result


@bench.handler()
async def no_op(ctx: restate.Context, number: int) -> int:
    return number


@bench.handler()
async def fan_out(ctx: restate.Context, width: int) -> int:
    steps = [ctx.run_typed("add-one", add_one, index=index) for index in range(width)]
    return sum([await step for step in await restate.gather(*steps)])


@waiting.main()
async def run(ctx: restate.WorkflowContext, _: int) -> int:
    return await ctx.promise("go", type_hint=int).value()


@waiting.handler()
async def offer(ctx: restate.WorkflowSharedContext, payload: int) -> None:
    await ctx.promise("go", type_hint=int).resolve(payload)


app = restate.app([bench, waiting])


async def _chains(client: restate.RestateClient, number: int) -> float:
    """The seconds that so many chains of ten take together."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def run_one() -> None:
        async with limit:
            if await client.service_call(chain, 10) != 10:
                raise SystemExit("a chain has another result")

    began = time.perf_counter()
    await asyncio.gather(*(run_one() for _ in range(number)))
    return time.perf_counter() - began


async def _no_ops(client: restate.RestateClient, number: int) -> float:
    limit = asyncio.Semaphore(AT_ONCE)

    async def run_one(index: int) -> None:
        async with limit:
            await client.service_call(no_op, index)

    began = time.perf_counter()
    await asyncio.gather(*(run_one(index) for index in range(number)))
    return time.perf_counter() - began


async def _wake(client: restate.RestateClient, payload: int) -> float:
    """The milliseconds from the event to the completion."""
    result = asyncio.create_task(client.workflow_call(run, f"w-{payload}", 0))
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    await client.workflow_call(offer, f"w-{payload}", payload)
    if await result != payload:
        raise SystemExit("the event has another payload")
    return (time.perf_counter() - began) * 1000


async def measure(client: restate.RestateClient) -> dict[str, float]:
    async def run_one(number: int) -> int:
        return await client.service_call(no_op, number)

    await _no_ops(client, 100)
    latencies = [await timing.timed(run_one, number) for number in range(timing.ALONE)]
    began = time.perf_counter()
    await client.service_call(chain, CHAIN)
    step = (time.perf_counter() - began) / CHAIN
    began = time.perf_counter()
    if await client.service_call(fan_out, WIDTH) != WIDTH * (WIDTH + 1) // 2:
        raise SystemExit("the fan-out has another result")
    return {
        **timing.percentiles(latencies),
        "fan_out": (time.perf_counter() - began) * 1000,
        "per_second": timing.TOGETHER / await _no_ops(client, timing.TOGETHER),
        "step": step * 1000,
        "steps_per_second": EXECUTIONS * 10 / await _chains(client, EXECUTIONS),
        "wake": timing.percentiles([await _wake(client, payload) for payload in range(EVENTS)])["p50"],
    }


def _free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@asynccontextmanager
async def server(ingress: int, admin: int, node: int) -> AsyncIterator[None]:
    quiet = asyncio.subprocess.DEVNULL
    environment = {
        **os.environ,
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_DISABLE_TELEMETRY": "true",
    }
    arguments = ("--base-dir", str(timing.FOLDER / "restate"), "--node-name", "bench")
    program = shutil.which("restate-server")
    assert program is not None
    process = await asyncio.create_subprocess_exec(program, *arguments, env=environment, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _register(admin: int, service: int) -> None:
    """Tell the server of the services, as soon as both are there."""
    async with httpx.AsyncClient() as http, asyncio.timeout(timing.LONGEST):
        while True:
            try:
                body = {"uri": f"http://127.0.0.1:{service}"}
                if (await http.post(f"http://127.0.0.1:{admin}/deployments", json=body)).is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


async def main() -> None:
    ingress, admin, node, service = _free_ports(4)
    services = ("hypercorn", "--bind", f"127.0.0.1:{service}", f"{__spec__.name}:app")
    async with server(ingress, admin, node), timing.worker(*services):
        await _register(admin, service)
        async with restate.create_client(f"http://127.0.0.1:{ingress}") as client:
            timing.tell(await measure(client))


if __name__ == "__main__":
    timing.versions("restate-sdk")
    asyncio.run(main())
