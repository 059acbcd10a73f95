"""The handlers that run while Redis, or the way to it, fails."""

import asyncio
import itertools
from collections import Counter

import zart_redis as zart
from tests.support.waiting import Gate
from zart_redis import zart_durable, zart_step

ran: Counter[str] = Counter()
"""How often the code of a step ran, by its idempotency key."""


gates: dict[str, Gate] = {}


@zart_step("faults-part-{number}")
async def part(number: int) -> int:
    ran[zart.context().idempotency_key] += 1
    await asyncio.sleep(0.005)
    return number


@zart_step("faults-gated")
async def gated(gate: str) -> str:
    await gates[gate].wait()
    return gate


@zart_durable("faults-job")
async def job(number: int) -> int:
    """Steps in place and scheduled, a sleep and an event: 16 and its number."""
    total = await part(1)
    await zart.sleep("nap", "50ms")
    total += sum(result.unwrap() for result in await zart.wait([zart.schedule(part(n)) for n in (2, 3, 4)]))
    total += await zart.wait_for_event("bonus", type=int)
    return total + await part(5) + 1


@zart_durable("faults-chain")
async def chain(length: int) -> int:
    return sum([await part(number) for number in range(length)])


@zart_durable("faults-held")
async def held(gate: str) -> str:
    return await gated(gate)


_tokens = itertools.count()


@zart_step("faults-token-{gate}")
async def token(gate: str, made_from: str = "") -> str:
    """Another one at each run, which ends with what it is made from."""
    await gates[gate].wait()
    return f"{next(_tokens)} {made_from}"


@zart_durable("faults-chain-of-tokens")
async def chain_of_tokens() -> list[str]:
    one = await token("one")
    return [one, await token("two", one)]


@zart_step("faults-late-token-{gate}", retry="fixed(1, 1ms)")
async def token_at_second_try(gate: str, made_from: str = "") -> str:
    if zart.context().current_attempt == 0:
        raise RuntimeError("once")
    return await token.fn(gate, made_from)


@zart_durable("faults-tokens-at-second-tries")
async def tokens_at_second_tries() -> list[str]:
    one = await token_at_second_try("one").named("faults-token-one")
    return [one, await token("two", one)]


@zart_durable("faults-scheduled-token")
async def scheduled_token() -> list[str]:
    one = await token("one")
    three = zart.schedule(token("three"))
    two = await token("two", one)
    (result,) = await zart.wait([three])
    return [one, two, result.unwrap()]


@zart_durable("faults-token-beside-a-fan-out")
async def token_beside_a_fan_out() -> list[str]:
    """What is scheduled has ended before the step that is recorded last, and is waited for after it."""
    three = zart.schedule(token("three"))
    await zart.capture("meanwhile", lambda: asyncio.sleep(0.3))
    one = await token("one")
    await zart.wait([three])
    return [one, await token("two", one)]


@zart_durable("faults-tokens-after-a-fan-out")
async def tokens_after_a_fan_out() -> list[str]:
    """All in one pass: what is scheduled has ended when it is waited for."""
    three = zart.schedule(token("three"))
    await zart.capture("meanwhile", lambda: asyncio.sleep(0.3))
    await zart.wait([three])
    one = await token("one")
    return [one, await token("two", one)]


@zart_durable("faults-parked")
async def parked() -> str:
    return str(await zart.wait_for_event("go"))
