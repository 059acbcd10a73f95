"""What is ordered: an execution's shape, and what becomes of it, by its number and the seed of the run."""

from __future__ import annotations

import random
from dataclasses import dataclass

LINKS = 5


@dataclass(frozen=True, slots=True)
class Order:
    """The input of an execution: a chain of steps, and what stands between them."""

    number: int
    link_ms: int
    """How long the code of a link takes. A body of slow links is held by one worker for seconds."""
    parts: int
    """How many steps it schedules after the second link, and waits for after the third; 0 for none."""
    nap_ms: int
    """How long it sleeps after the first link; 0 for not at all."""
    event: bool
    """Whether it waits for an event after the third link."""
    flaky: bool
    """Whether the fourth link and the parts fail at their first attempt."""
    poison: bool = False
    """Whether its first link kills its process, each time."""
    grip: bool = False
    """Whether its second link lets nothing else of its process run for longer than a lease."""

    @property
    def id(self) -> str:
        return f"order-{self.number}"

    @property
    def payload(self) -> str:
        """Of its event."""
        return f"for {self.id}"

    def steps(self) -> dict[str, str | None]:
        """Every step of it, and the one whose token it is given."""
        links: dict[str, str | None] = {f"link-{n}": f"link-{n - 1}" if n > 1 else None for n in range(1, LINKS + 1)}
        return links | {f"part-{n}": "link-2" for n in range(self.parts)}


@dataclass(frozen=True, slots=True)
class Fate:
    """What its producer does with an order, in seconds after its start; None is never."""

    offer_after: float | None
    cancel_after: float | None
    awaited: bool


def make_order(seed: int, number: int) -> tuple[Order, Fate]:
    """The same one at each call."""
    rng = random.Random(f"{seed} {number}")
    event = rng.random() < 0.3
    order = Order(
        number,
        link_ms=rng.randint(200, 600) if rng.random() < 0.05 else 2,
        parts=rng.randint(2, 5) if rng.random() < 0.3 else 0,
        nap_ms=rng.randint(20, 3000) if rng.random() < 0.3 else 0,
        event=event,
        flaky=rng.random() < 0.2,
        poison=number % 2000 == 77,
        grip=number % 1500 == 33,
    )
    fate = Fate(
        offer_after=rng.uniform(0, 2) if event else None,
        cancel_after=rng.uniform(0, 2) if rng.random() < 0.1 else None,
        awaited=rng.random() < 0.2,
    )
    return order, fate
