"""The web service of the shop: starts orders, shows them, and takes in that they were shipped."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

import zart_redis as zart
from workers import Order, Shipment, fulfil_order


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with zart.DurableScheduler() as scheduler:  # one for the process; Redis is at ZART_REDIS_URL
        app.state.scheduler = scheduler
        yield


app = FastAPI(lifespan=lifespan)


def scheduler_of(request: Request) -> zart.DurableScheduler:
    scheduler: zart.DurableScheduler = request.app.state.scheduler
    return scheduler


Scheduler = Annotated[zart.DurableScheduler, Depends(scheduler_of)]


@app.put("/orders/{order_id}", status_code=202)
async def place(order_id: str, order: Order, scheduler: Scheduler) -> dict[str, str | None]:
    """Place an order. A repeated request finds the first one."""
    try:
        return await show(order_id, scheduler)
    except zart.ExecutionNotFound:
        pass
    try:
        await scheduler.start_for(fulfil_order, f"order-{order_id}", order)
    except zart.ExecutionAlreadyExists:
        pass  # placed by a request at the same time
    return await show(order_id, scheduler)


@app.get("/orders/{order_id}")
async def show(order_id: str, scheduler: Scheduler) -> dict[str, str | None]:
    record = await scheduler.status(f"order-{order_id}")
    return {"id": order_id, "status": record.status, "output": record.output}


@app.post("/orders/{order_id}/shipped")
async def shipped(order_id: str, shipment: Shipment, scheduler: Scheduler) -> dict[str, str]:
    return {"delivery": await scheduler.offer_event(f"order-{order_id}", "shipped", shipment)}


STATUS_CODES = {"execution_not_found": 404, "execution_finished": 409, "invalid_input": 422, "redis_unavailable": 503}


@app.exception_handler(zart.ZartError)
async def on_error(request: Request, error: zart.ZartError) -> JSONResponse:
    return JSONResponse({"code": error.code, "message": str(error)}, STATUS_CODES.get(error.code, 500))
