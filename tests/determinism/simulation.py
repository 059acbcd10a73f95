"""Runs a program on the in-memory port, with outside events and interruptions that follow from a seed."""

from __future__ import annotations

import asyncio
import random
from enum import StrEnum

from tests.determinism.programs import EVENTS, WORLDS, Program, World, run_program, work
from tests.engine.memory import MemoryPort, an_execution
from zart_redis.engine.drive import run_pass
from zart_redis.engine.execution import Execution
from zart_redis.engine.observer import BodyPass, Observer, PassEnd, PassInterrupted, Raised, Returned
from zart_redis.engine.ports import ScheduleRequest

MAX_PASSES = 500
MAX_TURNS = 20_000
"""Turns of the worker's loop that one pass may take."""


class Interruption(StrEnum):
    """What ends passes, beside that the body is parked."""

    NONE = "none"
    CRASH = "crash"
    """The n-th pass ends at its n-th completion, as if its worker had died."""
    DRAIN = "drain"
    """From its n-th completion on, the n-th pass begins nothing new."""
    ANY = "any"
    """Passes crash and are drained at random."""


class Died(Exception):
    """The worker of a pass is dead."""


class Interrupter(Observer):
    """Interrupts a pass at one of the completions that are delivered to it."""

    def __init__(self, at: int | None, crash: bool) -> None:
        self._left = at
        self._crash = crash

    def resumed(self, body: BodyPass, kind: str, name: str) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0 and self._crash:
            raise Died
        if self._left < 0:
            assert isinstance(body, Execution)
            body.drain()


class Simulation:
    """One program: the same seed and kind of interruption make the same run."""

    def __init__(self, program: Program, seed: int, interruption: Interruption) -> None:
        self.program = program
        self.port = MemoryPort()
        self.world = WORLDS["x"] = World()
        self._interruption = interruption
        self._rng = random.Random(seed)
        self._offers = list(EVENTS)
        self._rng.shuffle(self._offers)

    async def run(self) -> None:
        """Run pass after pass until the program has ended."""
        for number in range(MAX_PASSES):
            match await self._pass(self._interrupter(number)):
                case Returned():
                    return
                case Raised(error):
                    raise AssertionError(f"pass {number} raised {error!r}") from error
                case PassInterrupted.PARKED:
                    self._wait_outside()
        raise AssertionError(f"the program does not end: {self.world.logs[-1]}")

    async def replay(self) -> None:
        """Run a pass in which all is recorded."""
        self.world = WORLDS["x"] = World()
        end = await self._pass(Observer())
        assert isinstance(end, Returned), end

    def _interrupter(self, number: int) -> Observer:
        rng = self._rng
        match self._interruption:
            case Interruption.NONE:
                return Observer()
            case Interruption.CRASH | Interruption.DRAIN:
                return Interrupter(number, self._interruption is Interruption.CRASH)
            case Interruption.ANY:
                return Interrupter(rng.randrange(8) if rng.random() < 0.6 else None, rng.random() < 0.5)

    async def _pass(self, observer: Observer) -> PassEnd | None:
        """One pass. Returns None if its worker died."""
        execution = an_execution(self.port, observer)
        wakes: list[int] = []  # on their way: the turns until they arrive
        self.port.on_change = lambda: wakes.append(self._rng.randrange(5))
        running = asyncio.ensure_future(run_pass(execution, lambda: run_program(self.program, self.world)))
        for _ in range(MAX_TURNS):
            if running.done():
                break
            if self._rng.random() < 0.3:
                self._happen_outside()
            if 0 in wakes:
                execution.wake()
            wakes[:] = [turns - 1 for turns in wakes if turns > 0]
            await asyncio.sleep(0)
        else:
            raise AssertionError(f"a pass does not end: {self.world.logs[-1]}")
        execution.close()
        return None if isinstance(running.exception(), Died) else running.result()

    def _wait_outside(self) -> None:
        """The body is parked: nothing moves it but what happens outside."""
        for _ in range(1_000):
            if self.port.inbox:
                return
            self._happen_outside()
        raise AssertionError(f"nothing wakes the body: {self.port.waits} {self.world.logs[-1]}")

    def _happen_outside(self) -> None:
        rng, port = self._rng, self.port
        choice = rng.randrange(4)
        if choice == 0 and self._offers:
            port.offer(self._offers.pop(), rng.randrange(100))
        elif choice == 1 and port.children:
            self._settle(port.children[rng.choice(sorted(port.children))])
        elif choice == 2:
            port.advance(rng.choice([0, 1, 3, 10]))
        else:
            port.wake()

    def _settle(self, child: ScheduleRequest) -> None:
        """Another worker has run a scheduled step."""
        name = child.name.removeprefix("work-")
        self.world.begin(name)
        self.port.settle(work(name, 0, False).__zart_call__(), name)


def play(program: Program, seed: int, interruption: Interruption) -> Simulation:
    """Run a program to its end, and check what its passes saw and did."""
    simulation = Simulation(program, seed, interruption)
    asyncio.run(simulation.run())
    problems = simulation.world.problems()
    port, world = simulation.port, simulation.world
    problems += [f"{name} was recorded twice" for name in port.recorded if port.recorded.count(name) > 1]
    if interruption in (Interruption.NONE, Interruption.DRAIN):
        problems += [f"step {name} ran twice" for name in world.begun if world.begun.count(name) > 1]
    assert not problems, "\n".join(problems)
    return simulation
