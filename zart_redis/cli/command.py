"""What most commands share: a client made from the options, closed at the end, and an exit code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Concatenate, ParamSpec

from zart_redis.cli.options import Namespace, RedisUrl
from zart_redis.cli.running import Code, as_json, run, settings_checked
from zart_redis.client.scheduler import DurableScheduler

P = ParamSpec("P")


def client_command(
    action: Callable[Concatenate[DurableScheduler, P], Coroutine[Any, Any, Code | None]],
) -> Callable[..., None]:
    """Makes a command of a coroutine function that takes a client; its other parameters are the command's own.

    The command also has the options --redis-url and --namespace. The client connects at its first use, so arguments
    are checked, and questions asked, before Redis is needed. Returning None means `Code.DONE`.
    """
    own = [*inspect.signature(action, eval_str=True).parameters.values()][1:]

    @functools.wraps(action)
    def command(*, redis_url: str | None, namespace: str | None, **arguments: Any) -> None:
        async def call() -> Code:
            async with aclosing(client):
                return await action(client, **arguments) or Code.DONE  # type: ignore[call-arg]

        as_json.set(bool(arguments.get("as_json")))
        with settings_checked():
            client = DurableScheduler(redis_url, namespace=namespace)
        run(call())

    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (("redis_url", RedisUrl), ("namespace", Namespace))
    ]
    signature = inspect.Signature([*own, *shared])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return command
