"""Views are plain functions: they use the client without `await`."""

import json
from functools import partial

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from orders.models import Order
from zart_redis.sync import DurableScheduler

scheduler = DurableScheduler()  # connects at its first call; a fork gets its own connections


@csrf_exempt
@require_POST
@transaction.atomic
def place(request: HttpRequest) -> JsonResponse:
    data = json.loads(request.body)
    order = Order.objects.create(account=data["account"], cents=data["cents"])
    transaction.on_commit(partial(scheduler.start, f"order-{order.pk}", "fulfil-order", order.pk))
    return JsonResponse({"id": order.pk}, status=202)


def show(request: HttpRequest, order_id: int) -> JsonResponse:
    return JsonResponse({"id": order_id, "state": get_object_or_404(Order, pk=order_id).state})


@csrf_exempt
@require_POST
def shipped(request: HttpRequest, order_id: int) -> JsonResponse:
    delivery = scheduler.offer_event(f"order-{order_id}", "shipped", json.loads(request.body))
    return JsonResponse({"delivery": delivery})
