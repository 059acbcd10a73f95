"""What begins an execution: a request, and the checked arguments of its transition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict, get_args

from zart_redis import names, registry
from zart_redis.codec import check_size, codec_for
from zart_redis.durations import Duration, to_ms
from zart_redis.engine.ports import StartArguments
from zart_redis.errors import InvalidInput
from zart_redis.layout import StartOption
from zart_redis.registry import HandlerDefinition
from zart_redis.store.decoding import write_tags

MAX_TAGS = 20

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
    tags: Mapping[str, str] | None


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
    tags: Mapping[str, str] | None = None


def declared_handler(task_name: str) -> HandlerDefinition | None:
    """The handler of a task, if this process declares exactly one of the name."""
    return registry.handlers.get_unambiguous(names.check_name(task_name, "the name of a task"))


def encode_input(handler: HandlerDefinition | None, data: Any, what: str, max_payload: int) -> bytes:
    """An execution's encoded input, checked if the handler is declared in this process."""
    if handler is not None:
        return handler.encode_input(data, max_payload, what)
    return check_size(max_payload, codec_for(Any).encode(data, what), what)


def start_arguments(
    request: StartRequest, handler: HandlerDefinition | None, max_payload: int, retention_ms: int
) -> StartArguments:
    """Raises what `DurableScheduler.start` raises for bad input."""
    names.check_name(request.execution_id, "an execution id")
    what = f"the input of task {request.task_name!r}"
    data = encode_input(handler, request.data, what, max_payload)
    limits = handler.encode_limits(handler.input.decode(data, what)) if handler and handler.limits else ""
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


def _options(request: StartRequest, retention_ms: int) -> dict[StartOption, str | int | bytes]:
    """Those that are not the default."""
    _check_choice("if_live", request.if_live, get_args(IfLive))
    _check_choice("if_finished", request.if_finished, get_args(IfFinished))
    options: dict[StartOption, str | int | bytes] = {}
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
    if request.tags:
        options[StartOption.TAGS] = write_tags(checked_tags(request.tags))
    return options


def checked_tags(tags: object) -> Mapping[str, str]:
    """Raises InvalidInput unless they are names with values of text, and not too many."""
    if not isinstance(tags, Mapping):
        raise InvalidInput(f"tags must be a mapping of names to values, not {tags!r:.100}")
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"an execution has at most {MAX_TAGS} tags, not {len(tags)}")
    for tag, value in tags.items():
        names.check_name(tag, "the name of a tag")
        names.check_text(value, f"the value of tag {tag!r}")
    return tags


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
