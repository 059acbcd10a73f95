"""python -m unittest test_orders"""

import unittest

from workers import fulfil_order, set_state
from zart_redis.testing import Harness


class OrderTests(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.states: list[str] = []
        self.h = await self.enterAsyncContext(Harness([fulfil_order], steps={set_state: self.set_state}))

    async def set_state(self, order_id: int, state: str) -> None:
        self.states.append(state)

    async def test_an_order_that_is_not_shipped_is_refunded(self) -> None:
        await self.h.scheduler.start_for(fulfil_order, "order-1", 1)
        await self.h.advance("7d")
        self.assertEqual(await self.h.scheduler.wait_for(fulfil_order, "order-1"), "refunded")
        self.assertEqual(self.states, ["charged", "refunded"])
