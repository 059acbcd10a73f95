from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api import app, scheduler_of
from workers import charge_card, fulfil_order

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def charge(account: str, cents: int) -> str:
    return f"{account} paid {cents}"


@pytest.fixture
async def h(zart_harness: Any) -> AsyncIterator[Any]:
    async with zart_harness(fulfil_order, steps={charge_card: charge}) as h:
        app.dependency_overrides[scheduler_of] = lambda: h.scheduler
        yield h
        app.dependency_overrides.clear()


@pytest.fixture
async def client(h: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        yield client


async def test_an_order_is_shipped(h: Any, client: httpx.AsyncClient) -> None:
    order = {"account": "ann", "cents": 900}
    assert (await client.put("/orders/17", json=order)).status_code == 202
    assert (await client.put("/orders/17", json=order)).status_code == 202
    assert (await client.post("/orders/17/shipped", json={"tracking": "ZR-1"})).status_code == 200
    await h.scheduler.wait("order-17")
    assert (await client.get("/orders/17")).json() == {"id": "17", "status": "completed", "output": "sent as ZR-1"}


async def test_an_order_that_is_not_shipped_is_refunded(h: Any, client: httpx.AsyncClient) -> None:
    await client.put("/orders/18", json={"account": "ann", "cents": 900})
    await h.advance("8d")
    assert (await client.get("/orders/18")).json()["output"] == "refunded"


async def test_there_is_no_such_order(client: httpx.AsyncClient) -> None:
    response = await client.get("/orders/19")
    assert (response.status_code, response.json()["code"]) == (404, "execution_not_found")
