"""What `start` takes: a request, and the checked arguments of its transition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from zart_redis import names
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput
from zart_redis.layout import StartOption
from zart_redis.registry import HandlerDefinition

IfLive = Literal["raise", "return", "replace"]
IfFinished = Literal["restart", "raise", "return"]


class StartOptions(TypedDict, total=False):
    """The options of `DurableScheduler.start`."""

    queue: str | None
    delay: Duration | None
    triggered_by: str | None
    if_live: IfLive
    if_finished: IfFinished
    expires: Duration | datetime | None
    max_delay: Duration | None


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One execution for `DurableScheduler.start_many`; see `DurableScheduler.start`."""

    execution_id: str
    task_name: str
    data: Any = None
    queue: str | None = None
    delay: Duration | None = None
    triggered_by: str | None = None
    if_live: IfLive = "raise"
    if_finished: IfFinished = "restart"
    expires: Duration | datetime | None = None
    max_delay: Duration | None = None


class StartArguments(NamedTuple):
    """Those of the transition `start`."""

    execution_id: str
    task: str
    queue: str
    data: bytes
    delay_ms: int | None
    timeout_ms: int | None
    triggered_by: str
    limits: str
    options: dict[StartOption, str | int]


def start_arguments(
    request: StartRequest, handler: HandlerDefinition | None, data: bytes, limits: str, retention_ms: int
) -> StartArguments:
    """Raises InvalidInput."""
    names.check_name(request.execution_id, "an execution id")
    queue = request.queue
    if queue is None:
        queue = handler.queue if handler else "default"
    names.check_name(queue, "the name of a queue")
    names.check_text(request.triggered_by or "", "who starts it")
    return StartArguments(
        request.execution_id,
        request.task_name,
        queue,
        data,
        None if request.delay is None else to_ms(request.delay, what="delay"),
        handler.timeout_ms if handler else None,
        request.triggered_by or "",
        limits,
        _options(request, retention_ms),
    )


def _options(request: StartRequest, retention_ms: int) -> dict[StartOption, str | int]:
    """Those that are not the default."""
    _check_choice("if_live", request.if_live, get_args(IfLive))
    _check_choice("if_finished", request.if_finished, get_args(IfFinished))
    options: dict[StartOption, str | int] = {}
    if request.if_live != "raise":
        options[StartOption.IF_LIVE] = request.if_live
    if request.if_finished != "restart":
        options[StartOption.IF_FINISHED] = request.if_finished
    if request.max_delay is not None:
        if request.if_live != "replace" or request.delay is None:
            raise InvalidInput('max_delay bounds the delay of a start with delay= and if_live="replace"')
        options[StartOption.MAX_DELAY] = to_ms(request.max_delay, what="max_delay")
    if request.expires is not None:
        options[StartOption.EXPIRES] = f"{_moment(request.expires)},{retention_ms}"
    return options


def _check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidInput(f"{option} must be one of {', '.join(map(repr, choices))}, not {value!r:.100}")


def _moment(expires: Duration | datetime) -> str:
    """As the script takes it: a duration, or a time of the clock."""
    if not isinstance(expires, datetime):
        return str(to_ms(expires, what="expires"))
    if expires.tzinfo is None:
        raise InvalidInput("expires must be a duration or a datetime with a time zone, not a naive datetime")
    return f"@{round(expires.timestamp() * 1000)}"
