"""Reference workflows: for each handler the client that sees it through.

A client may die anywhere and be begun again from the top, so it does nothing twice: each of its acts looks first
whether it was done.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import zart_redis as zart
from tests.fault_injection.handlers import (
    SWITCH,
    again,
    again_spent,
    cancelled,
    chain,
    compensated,
    continued,
    deadline,
    events,
    failing_parent,
    fails,
    fan_out,
    gather,
    left_alone,
    limited,
    mended,
    parent,
    plain_failure,
    races,
    retries,
    sleeps,
    stranger,
    talking,
    timeouts,
    twice,
)
from tests.fault_injection.harness import FaultHarness

Client = zart.DurableScheduler
Act = Callable[[Client, FaultHarness], Coroutine[Any, Any, None]]


async def started(client: Client, handler: Any, execution_id: str, data: Any = None, **options: Any) -> None:
    try:
        await client.status(execution_id)
    except zart.ExecutionNotFound:
        await client.start_for(handler, execution_id, data, **options)


async def offered(client: Client, execution_id: str, name: str) -> None:
    try:
        await client.offer_event(execution_id, name, f"the {name} one")
    except zart.ExecutionFinished:
        pass  # it was offered before, and all has ended


def simply(handler: Any, data: Any = None) -> Act:
    async def act(client: Client, harness: FaultHarness) -> None:
        await started(client, handler, "it", data)
        await harness.finish("it")
        await client.wait("it", "10s")

    return act


async def waited_for(client: Client, harness: FaultHarness) -> None:
    """The client waits while the worker works, and is told."""
    await started(client, chain, "it", 7)
    assert (await client.wait_for(chain, "it", "20s"))[0] == 7


async def drive_events(client: Client, harness: FaultHarness) -> None:
    await started(client, events, "it")
    await offered(client, "it", "early")
    await harness.settle()
    await offered(client, "it", "late")
    await harness.settle()
    await harness.until("1d")
    await offered(client, "it", "right")
    await offered(client, "it", "left")
    await harness.finish("it")


async def drive_cancelled(client: Client, harness: FaultHarness) -> None:
    await started(client, cancelled, "it")
    await started(client, cancelled, "unbegun", delay="1h")
    await harness.settle()
    await client.cancel("unbegun")
    await client.cancel("it")
    await harness.finish("it")


async def drive_cancelled_at_once(client: Client, harness: FaultHarness) -> None:
    """The cancel meets the work wherever it is."""
    await started(client, cancelled, "it")
    await client.cancel("it")
    await harness.settle()
    harness.racy = True


async def drive_twice(client: Client, harness: FaultHarness) -> None:
    await started(client, twice, "it", 1)
    await harness.finish("it")
    if (await client.status("it")).run == 1:
        await client.start_for(twice, "it", 2)
    await harness.finish("it")


async def drive_many(client: Client, harness: FaultHarness) -> None:
    await client.start_many(
        [(f"many-{i}", "reference-twice", i) for i in range(3) if i not in await harness.ids("many-")]
    )
    await started(client, twice, "later", 9, delay="2h")
    for name in ("many-0", "many-1", "many-2", "later"):
        await harness.finish(name)


async def drive_restart(client: Client, harness: FaultHarness) -> None:
    await started(client, cancelled, "it")
    await harness.settle()
    if (await client.status("it")).run == 1:
        await client.restart("it")
    await harness.settle()
    await client.cancel("it")


async def drive_mended(client: Client, harness: FaultHarness) -> None:
    SWITCH["mended"] = False
    await started(client, mended, "it")
    await harness.finish("it")
    SWITCH["mended"] = True
    if (await client.status("it")).status == "failed":
        await client.retry_step("it", "declined-broken")
    await harness.finish("it")


async def drive_rerun(client: Client, harness: FaultHarness) -> None:
    await started(client, chain, "it", 7)
    await harness.finish("it")
    if (await client.status("it")).run == 1:
        await client.rerun_steps("it", rerun=["work-*"], preserve=["token"])
    await harness.finish("it")
    await client.runs("it")
    await client.detail("it")


async def drive_paused(client: Client, harness: FaultHarness) -> None:
    await client.pause(task_name="reference-fan-out", step_pattern="work-*")
    await client.pause(task_name="reference-deadline", extend_deadlines=True)
    await started(client, fan_out, "it")
    await started(client, deadline, "held")
    await harness.settle()
    await harness.until("1h")
    await client.resume(task_name="reference-fan-out", step_pattern="work-*")
    await harness.settle()
    await client.resume(task_name="reference-deadline")
    await harness.finish("it")
    await harness.finish("held")


async def drive_cancelled_while_paused(client: Client, harness: FaultHarness) -> None:
    await client.pause(execution_id="it")
    await started(client, cancelled, "it")
    await harness.settle()
    await client.cancel("it")
    await client.resume(execution_id="it")
    await harness.settle()
    await harness.until("1h")


async def drive_continued(client: Client, harness: FaultHarness) -> None:
    """The event of the second run comes in the first one."""
    await started(client, continued, "it", 1)
    await harness.settle()
    if (await client.status("it")).run == 1:
        await offered(client, "it", "event-2")
        await offered(client, "it", "event-1")
    await harness.finish("it")


async def drive_drained(client: Client, harness: FaultHarness) -> None:
    """The worker is stopped gracefully in the middle, and another takes over."""
    await started(client, gather, "it")
    await started(client, chain, "other", 3)
    await harness.drain()
    await harness.settle()
    await harness.until("1h")
    await harness.drain()
    await harness.finish("it")
    await harness.finish("other")


async def drive_races(client: Client, harness: FaultHarness) -> None:
    await started(client, races, "it")
    await harness.settle()
    await harness.until("1h")
    await offered(client, "it", "answer")
    await harness.finish("it")


async def drive_stranger(client: Client, harness: FaultHarness) -> None:
    harness.unregister("reference-stranger")
    await started(client, stranger, "it")
    await harness.settle()
    harness.register("reference-stranger")
    await harness.drain()  # a worker that starts looks for work that others have left
    await harness.finish("it")


async def drive_limited(client: Client, harness: FaultHarness) -> None:
    """Four runs of one key: one at a time, and one an hour. The third is cancelled in the line."""
    for number in "1234":
        await started(client, limited, f"limited-{number}", {"account": "acme", "number": number})
    await harness.settle()
    await client.cancel("limited-3")
    await harness.until("5h")
    for number in "1234":
        await harness.finish(f"limited-{number}")
    assert await harness.ids("limited-") == {1, 2, 3, 4}


async def sent(client: Client, number: int) -> None:
    try:
        await client.send("it", "news", number, message_id=f"news-{number}", start=(talking, "other"))
    except zart.ExecutionFinished:
        pass


async def drive_talking(client: Client, harness: FaultHarness) -> None:
    """The second message and the event come together: the call that waits for the message loses."""
    await sent(client, 1)
    await harness.settle()
    await offered(client, "it", "go")
    await sent(client, 2)
    await sent(client, 3)
    await harness.until("2h")
    await harness.finish("it")
    await harness.finish("other")
    assert (await client.status("it")).output == [1, 2, 3, "nothing more"]
    assert (await client.status("other")).output == [1, 2, 3]


async def drive_compensated(client: Client, harness: FaultHarness) -> None:
    await started(client, compensated, "it", 7)
    await harness.settle()
    await client.cancel("it", reason="ill", compensate=True)
    await harness.until("5h")
    await harness.finish("it")
    await harness.finish("abandoned")
    record = await client.status("it")
    assert (record.status, record.output, record.error, record.reason) == ("cancelled", None, None, "ill")


async def drive_children(client: Client, harness: FaultHarness) -> None:
    await started(client, parent, "it")
    await started(client, failing_parent, "failing")
    await harness.settle()
    await harness.until("10h")
    for id in ("it", "failing", "outliving", "losing", "orphan"):
        await harness.finish(id)
    assert (await client.status("it")).output == [0, "timed out", "ExecutionFailed", 1, 2]
    assert {(await client.status(id)).status for id in ("losing", "orphan")} == {"cancelled"}
    assert (await client.status("outliving")).output == 5


@dataclass(frozen=True)
class Workflow:
    name: str
    act: Act


WORKFLOWS = [
    Workflow("chain, captures, errors handled", simply(chain, 7)),
    Workflow("waited for while it runs", waited_for),
    Workflow("retries in place", simply(retries)),
    Workflow("timeouts", simply(timeouts)),
    Workflow("fan-out", simply(fan_out)),
    Workflow("scheduled and not waited for", simply(left_alone)),
    Workflow("gather and task groups", simply(gather)),
    Workflow("sleeps", simply(sleeps)),
    Workflow("events", drive_events),
    Workflow("on_failure", simply(fails, 5)),
    Workflow("failure", simply(plain_failure)),
    Workflow("execution retried", simply(again)),
    Workflow("execution retries spent", simply(again_spent)),
    Workflow("execution deadline", simply(deadline)),
    Workflow("cancel", drive_cancelled),
    Workflow("cancel at once", drive_cancelled_at_once),
    Workflow("started again", drive_twice),
    Workflow("many, and delayed", drive_many),
    Workflow("restart while live", drive_restart),
    Workflow("retry_step", drive_mended),
    Workflow("rerun", drive_rerun),
    Workflow("pause and resume", drive_paused),
    Workflow("cancel while paused", drive_cancelled_while_paused),
    Workflow("continue as new", drive_continued),
    Workflow("drain", drive_drained),
    Workflow("task that no worker knows", drive_stranger),
    Workflow("limits", drive_limited),
    Workflow("messages, and executions started by others", drive_talking),
    Workflow("children", drive_children),
    Workflow("cancel, compensated", drive_compensated),
    Workflow("races, timers and cancelled branches", drive_races),
]

assert len({w.name for w in WORKFLOWS}) == len(WORKFLOWS)
