"""Declaring handlers: the decorator `zart_durable`, and the class form `DurableExecution` that it is sugar for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, overload

from typing_extensions import TypeVar

from zart_redis import names, registry
from zart_redis.codec import Parameters
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput
from zart_redis.outcomes import Failure
from zart_redis.registry import HandlerDefinition
from zart_redis.retry import RetryConfig

In = TypeVar("In")
Out = TypeVar("Out")


class DurableHandler(Generic[In, Out]):
    """A function declared as a handler. Started by a scheduler it is durable; called directly it is that function."""

    def __init__(self, definition: HandlerDefinition, fn: Callable[..., Coroutine[Any, Any, Out]]) -> None:
        self.definition = definition
        self.fn = fn
        """The plain function, for unit tests."""
        functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """What identifies the task, whatever the function is called."""
        return self.definition.name

    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Out]:
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<handler {self.name!r}>"


class HandlerDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[[], Coroutine[Any, Any, Out]], /) -> DurableHandler[None, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In], Coroutine[Any, Any, Out]], /) -> DurableHandler[In, Out]: ...


@overload
def zart_durable(fn: Callable[[], Coroutine[Any, Any, Out]], /) -> DurableHandler[None, Out]: ...
@overload
def zart_durable(fn: Callable[[In], Coroutine[Any, Any, Out]], /) -> DurableHandler[In, Out]: ...
@overload
def zart_durable(
    name: str | None = None,
    *,
    timeout: Duration | None = None,
    on_failure: Callable[[Any, Failure], Awaitable[Any]] | None = None,
    retry: RetryConfig | str | None = None,
    queue: str = "default",
    retention: Duration | None = None,
) -> HandlerDecorator: ...
def zart_durable(
    name: Callable[..., Any] | str | None = None,
    *,
    timeout: Duration | None = None,
    on_failure: Callable[[Any, Failure], Awaitable[Any]] | None = None,
    retry: RetryConfig | str | None = None,
    queue: str = "default",
    retention: Duration | None = None,
) -> Any:
    """Declare a durable handler: `async def handler(data) -> Out` or `async def handler() -> Out`.

    Args:
        name: what identifies the task; the function's name by default.
        timeout: how long the execution may take, counted from its start.
        on_failure: called as `on_failure(data, failure)` when the execution fails; its value becomes the output. It
            is durable itself.
        retry: attempts of the whole body; recorded successes stay, failed steps run again.
        queue: where it is queued unless its starter says otherwise.
        retention: how long it can be looked at when it has finished; the worker's setting by default.

    Raises:
        InvalidInput: an argument cannot be used.
    """
    if callable(name):
        return zart_durable()(name)

    def decorate(fn: Callable[..., Any]) -> DurableHandler[Any, Any]:
        if not registry.is_async(fn):
            raise InvalidInput(f"a handler is an async def; {fn!r} is not")
        parameters = Parameters(fn)
        takes = _input_parameter(fn, list(parameters.signature.parameters.values()))
        body = fn if takes else (lambda data: fn())
        policies = (timeout, on_failure, retry, queue, retention)
        definition = _define(name or fn.__name__, fn, body, parameters, takes, *policies)
        registry.handlers.add(definition)
        return DurableHandler(definition, fn)

    if name is not None:
        names.check_name(name, "the name of a task")
    return decorate


def _input_parameter(fn: Callable[..., Any], parameters: list[inspect.Parameter]) -> str | None:
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise InvalidInput(f"a handler takes its input as one argument, or none: {fn!r} takes {len(required)}")
    return parameters[0].name if parameters else None


def _define(
    name: str,
    origin: Callable[..., Any],
    body: Callable[[Any], Awaitable[Any]],
    parameters: Parameters,
    takes: str | None,
    timeout: Duration | None,
    on_failure: Callable[[Any, Failure], Awaitable[Any]] | None,
    retry: RetryConfig | str | None,
    queue: str,
    retention: Duration | None,
) -> HandlerDefinition:
    return HandlerDefinition(
        names.check_name(name, "the name of a task"),
        origin,
        body,
        parameters,
        takes,
        None if timeout is None else to_ms(timeout, what="timeout"),
        RetryConfig.parse(retry),
        names.check_name(queue, "the name of a queue"),
        None if retention is None else to_ms(retention, what="retention"),
        on_failure,
    )


class DurableExecution(Generic[In, Out]):
    """A handler as a class: `run` is its body, and `on_failure`, where there is one, its other body.

    An instance is made, without arguments, for each pass. The policies are class attributes, named as the arguments
    of `zart_durable`; `name` is the class's name by default.

    Example:
        >>> class Checkout(DurableExecution[Order, Receipt]):
        ...     timeout = "30m"
        ...     async def run(self, data: Order) -> Receipt: ...
    """

    name: ClassVar[str]
    timeout: ClassVar[Duration | None] = None
    retry: ClassVar[RetryConfig | str | None] = None
    queue: ClassVar[str] = "default"
    retention: ClassVar[Duration | None] = None
    definition: ClassVar[HandlerDefinition]

    async def run(self, data: In) -> Out:
        """The body; override it."""
        raise NotImplementedError(f"{type(self).__name__} has no run method")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__
        cls.definition = _class_definition(cls)
        registry.handlers.add(cls.definition)


def _class_definition(cls: type[DurableExecution[Any, Any]]) -> HandlerDefinition:
    async def body(data: Any) -> Any:
        return await cls().run(data)

    async def on_failure(data: Any, failure: Failure) -> Any:
        return await cls().on_failure(data, failure)  # type: ignore[attr-defined]

    parameters = list(inspect.signature(cls.run).parameters.values())[1:]
    takes = _input_parameter(cls.run, parameters)
    if takes is None:
        raise InvalidInput(f"{cls.__qualname__}.run takes the input: write it as run(self, data)")
    failing = on_failure if hasattr(cls, "on_failure") else None
    policies = (cls.timeout, failing, cls.retry, cls.queue, cls.retention)
    return _define(cls.name, cls, body, Parameters(cls.run), takes, *policies)


Handler: TypeAlias = DurableHandler[In, Out] | type[DurableExecution[In, Out]]
"""What a worker runs and a scheduler starts, in either form."""


def definitions(handlers: Iterable[Handler[Any, Any] | str]) -> dict[str, HandlerDefinition]:
    """The definitions of these handlers by name; a text names one that has been declared.

    Raises:
        UnknownTask: no handler of this name has been declared.
        InvalidInput: something else is among them, or two have one name.
    """
    found: dict[str, HandlerDefinition] = {}
    for handler in handlers:
        definition = registry.handler_named(handler) if isinstance(handler, str) else definition_of(handler)
        if definition.name in found:
            raise InvalidInput(f"two of the handlers are named {definition.name!r}")
        found[definition.name] = definition
    return found


def definition_of(handler: Handler[Any, Any]) -> HandlerDefinition:
    """Raises InvalidInput for anything that is no handler."""
    definition = getattr(handler, "definition", None)
    if not isinstance(definition, HandlerDefinition):
        raise InvalidInput(f"{handler!r} is no handler: declare it with @zart_durable")
    return definition
