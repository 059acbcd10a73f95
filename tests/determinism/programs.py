"""Generated bodies: small programs of steps, waits, races and asyncio's own primitives, and the log of what they saw.

A program is data, drawn by hypothesis; `run_program` is the body that it stands for. Whatever the body sees or decides,
it writes to its log, and it names its next step after how long the log is: a replay that decides otherwise asks for
another name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from hypothesis import strategies as st

import zart_redis as zart
from zart_redis import zart_step

EVENTS = ("red", "green", "blue")

COMPOUND = ("race", "unfair", "failing", "gather", "group", "anyio", "all")

Program = Sequence[Any]
"""A kind of statement, which names a method of `Body`, and its operands: numbers and other programs."""


@dataclass
class World:
    """What the passes of one execution share, beside what is recorded."""

    logs: list[list[str]] = field(default_factory=list)
    """What the body of each pass has seen."""
    begun: list[str] = field(default_factory=list)
    """Steps whose code has begun, in any pass."""
    ended: set[str] = field(default_factory=set)
    """Steps that the body has seen the end of, in any pass."""
    cancelled: set[str] = field(default_factory=set)
    """Steps that the body has cancelled, in any pass."""
    wrong: list[str] = field(default_factory=list)

    def begin(self, name: str) -> None:
        for what, names in [("seen the end of", self.ended), ("cancelled", self.cancelled)]:
            if name in names:
                self.wrong.append(f"step {name} began again after its body had {what} it")
        self.begun.append(name)

    def problems(self) -> list[str]:
        """What is wrong now that the last pass has reached the end."""
        last = self.logs[-1]
        differing = [
            f"pass {number} saw {log}, the last one {last}"
            for number, log in enumerate(self.logs)
            if log != last[: len(log)]
        ]
        return differing + self.wrong


WORLDS: dict[str, World] = {}
"""By the id of the execution."""


@zart_step("work-{name}", raises=(ValueError,))
async def work(name: str, turns: int, fails: bool) -> str:
    WORLDS[zart.context().execution_id].begin(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    if fails:
        raise ValueError(name)
    return name


async def run_program(program: Program, world: World) -> None:
    """The body that a program stands for; each call is one pass."""
    body = Body(world)
    await body.run(program)
    body.see("end")


class Body:
    """One pass of a program. Each `do_` method runs a kind of statement."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log: list[str] = []
        world.logs.append(self.log)
        self.names = 0
        self.used: set[str] = set()
        self.lock = asyncio.Lock()

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def see(self, what: str) -> None:
        self.log.append(what)

    async def run(self, program: Program) -> None:
        kind, *operands = program
        try:
            await getattr(self, f"do_{kind}")(*operands)
        except asyncio.CancelledError:
            self.see(f"cancelled {kind}")
            raise

    async def do_step(self, turns: int, fails: bool) -> None:
        name = f"{self.name('s')}-{len(self.log)}"
        try:
            result = await zart.step(work(name, turns, fails))
            self.world.ended.add(name)
        except asyncio.CancelledError:
            self.world.cancelled.add(name)
            raise
        self.see(f"step {name} {type(result).__name__}")

    async def do_sleep(self, ms: int) -> None:
        name = self.name("z")
        await zart.sleep(name, ms / 1000)
        self.see(f"slept {name}")

    async def do_nap(self, ms: int) -> None:
        await asyncio.sleep(ms / 1000)
        self.see(f"nap {asyncio.get_running_loop().time():.3f}")

    async def do_event(self, event: str, timeout: int | None) -> None:
        if event in self.used:
            return
        self.used.add(event)
        try:
            value = await zart.wait_for_event(event, None if timeout is None else timeout / 1000)
            self.see(f"event {event} {value}")
        except zart.DeadlineExceeded:
            self.see(f"no event {event}")

    async def do_scheduled(self, count: int) -> None:
        handles = [zart.schedule(work(self.name("p"), 0, False)) for _ in range(count)]
        results = await zart.wait(handles)
        self.see(f"scheduled {[result.unwrap() for result in results]}")

    async def do_capture(self) -> None:
        self.see(f"captured {await zart.capture(self.name('c'), lambda: 7)}")

    async def do_all(self, *nodes: Program) -> None:
        for node in nodes:
            await self.run(node)

    async def do_gather(self, *nodes: Program) -> None:
        await asyncio.gather(*map(self.run, nodes))
        self.see("gathered")

    async def do_group(self, *nodes: Program) -> None:
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(self.run(node))
        self.see("group")

    async def do_failing(self, *nodes: Program) -> None:
        """A group in which one task fails when its step has ended, and the others are cancelled."""

        async def fail(node: Program) -> None:
            await self.run(node)
            raise LookupError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(nodes[0]))
                for node in nodes[1:]:
                    group.create_task(self.run(node))
        except* LookupError:
            self.see("group failed")

    async def do_anyio(self, *nodes: Program) -> None:
        async with anyio.create_task_group() as group:
            for node in nodes:
                group.start_soon(self.run, node)
        self.see("anyio group")

    async def do_race(self, *nodes: Program) -> None:
        tasks = [asyncio.ensure_future(self.run(node)) for node in nodes]
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.see(f"race {[tasks.index(task) for task in done]}")
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    async def do_unfair(self, *nodes: Program) -> None:
        """A race whose losers are not cancelled."""
        for number, ended in enumerate(asyncio.as_completed([self.run(node) for node in nodes])):
            await ended
            self.see(f"as completed {number}")

    async def do_timeout(self, ms: int, node: Program) -> None:
        try:
            async with asyncio.timeout(ms / 1000):
                await self.run(node)
            self.see("in time")
        except TimeoutError:
            self.see("late")

    async def do_move_on(self, ms: int, node: Program) -> None:
        with anyio.move_on_after(ms / 1000) as scope:
            await self.run(node)
        self.see(f"moved on {scope.cancelled_caught}")

    async def do_shield(self, node: Program) -> None:
        with anyio.CancelScope(shield=True):
            await self.run(node)

    async def do_locked(self, node: Program) -> None:
        async with self.lock:
            self.see("locked")
            await self.run(node)

    async def do_queue(self, node: Program) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue(1)

        async def produce() -> None:
            await self.run(node)
            for _ in range(3):
                await queue.put(f"item {len(self.log)}")

        task = asyncio.ensure_future(produce())
        for _ in range(3):
            self.see(await queue.get())
        await task


def programs() -> st.SearchStrategy[Program]:
    """Two or three compound programs, one after the other."""
    ms = st.sampled_from([1, 5, 10, 20, 50])
    leaves = st.one_of(
        st.tuples(st.just("step"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("step"), st.integers(0, 3), st.just(False)),
        st.tuples(st.just("sleep"), ms),
        st.tuples(st.just("nap"), ms),
        st.tuples(st.just("event"), st.sampled_from(EVENTS), st.none() | ms),
        st.tuples(st.just("scheduled"), st.integers(1, 3)),
        st.tuples(st.just("capture")),
    )

    def compound(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
        several = st.lists(inner, min_size=2, max_size=4)
        return st.one_of(
            st.tuples(st.sampled_from(COMPOUND), several).map(lambda drawn: (drawn[0], *drawn[1])),
            st.tuples(st.sampled_from(["timeout", "move_on"]), ms, inner),
            st.tuples(st.sampled_from(["shield", "queue"]), inner),
            st.tuples(st.just("locked"), leaves),
        )

    flat = compound(leaves)
    nested = compound(leaves | flat)
    return st.lists(flat | nested, min_size=2, max_size=3).map(lambda drawn: ("all", *drawn))
