"""Declaring handlers: the decorator `zart_durable`, and the class form `DurableExecution`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar, Generic, Never, Protocol, TypeAlias, get_args, get_origin, overload

from typing_extensions import TypeVar

from zart_redis import names, registry
from zart_redis.codec import check_annotation
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput
from zart_redis.limits import Limit, LimitUse, limit_uses
from zart_redis.outcomes import Failure
from zart_redis.parameters import Parameters
from zart_redis.registry import HandlerDefinition, TaskVersions
from zart_redis.retry import RetryConfig
from zart_redis.type_info import may_fit, resolve_hints, type_name

MAX_VERSION = 1_000_000_000

In = TypeVar("In")
Out = TypeVar("Out")


class DurableHandler(Generic[In, Out]):
    """A function declared as a handler. Started by a scheduler it is durable; called directly it is that function."""

    def __init__(self, definition: HandlerDefinition, fn: Callable[..., Coroutine[Any, Any, Out]]) -> None:
        self.definition = definition
        self._fn = fn
        functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """The declared name, which identifies the task. The function may have another name."""
        return self.definition.name

    @property
    def fn(self) -> Callable[..., Coroutine[Any, Any, Out]]:
        """The plain function, for unit tests."""
        return self._fn

    @fn.setter
    def fn(self, value: Never) -> None:
        raise AttributeError(
            f"the function of task {self.name!r} cannot be replaced: workers run what was declared. To replace its "
            "steps in a test, use Harness(..., steps={my_step: fake})"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Out]:
        return self._fn(*args, **kwargs)

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
    version: int = 1,
    compatible_from: int = 1,
    limits: Iterable[Limit | LimitUse] = (),
) -> HandlerDecorator: ...
def zart_durable(
    name: Callable[..., Any] | str | None = None,
    *,
    timeout: Duration | None = None,
    on_failure: Callable[[Any, Failure], Awaitable[Any]] | None = None,
    retry: RetryConfig | str | None = None,
    queue: str = "default",
    retention: Duration | None = None,
    version: int = 1,
    compatible_from: int = 1,
    limits: Iterable[Limit | LimitUse] = (),
) -> Any:
    """Declare a durable handler: `async def handler(data) -> Out` or `async def handler() -> Out`.

    Args:
        name: identifies the task; by default the function's name.
        timeout: maximum duration of the execution, counted from its start.
        on_failure: called as `on_failure(data, failure)` when the execution fails; its value becomes the output. It
            is durable too.
        retry: retry policy of the whole body. Recorded successes are kept, failed steps run again.
        queue: the queue on which executions start by default.
        retention: how long a finished execution is kept; by default the worker's setting.
        version: a whole number, to be raised by a change that runs in flight cannot follow. A run keeps the version of
            the handler that first claimed it, see `context().version`.
        compatible_from: the lowest version whose runs this handler can continue. Other runs are left to other workers,
            or to another declaration of the same name.
        limits: limits of which a run holds a slot from its beginning to its end, see `Limit`. Slots are taken in this
            order.

    Raises:
        InvalidInput: an argument is invalid.
    """
    if callable(name):
        return zart_durable()(name)

    def decorate(fn: Callable[..., Any]) -> DurableHandler[Any, Any]:
        if not registry.is_async(fn):
            raise InvalidInput(f"a handler must be an async def; {fn!r} is not")
        parameters = Parameters(fn)
        takes = _input_parameter(fn, list(parameters.signature.parameters.values()))
        body = fn if takes else (lambda data: fn())
        policies = (timeout, on_failure, retry, queue, retention, version, compatible_from, limits)
        definition = _define(name or fn.__name__, fn, body, parameters, takes, *policies)
        registry.handlers.add(definition)
        return DurableHandler(definition, fn)

    if name is not None:
        names.check_name(name, "the name of a task")
    return decorate


def _input_parameter(fn: Callable[..., Any], parameters: list[inspect.Parameter]) -> str | None:
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise InvalidInput(f"a handler takes one argument, its input, or none; {fn!r} takes {len(required)}")
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
    version: int,
    compatible_from: int,
    limits: Iterable[Limit | LimitUse],
) -> HandlerDefinition:
    run: Any = origin.__dict__.get("run", origin) if isinstance(origin, type) else origin
    hints = resolve_hints(run)
    check_annotation(hints.get("return"), f"the output of task {name!r}")
    check_annotation(hints.get(takes) if takes else None, f"the input of task {name!r}")
    _check_versions(name, version, compatible_from)
    if on_failure is not None:
        _check_on_failure(name, origin, on_failure)
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
        version,
        compatible_from,
        _limit_uses(name, limits, takes),
    )


def _limit_uses(name: str, limits: Iterable[Limit | LimitUse], takes: str | None) -> tuple[LimitUse, ...]:
    uses = limit_uses(limits, f"task {name!r}")
    if takes is None and any(use.path for use in uses):
        raise InvalidInput(f"task {name!r} takes no input, and cannot have a limit by a field of it")
    return uses


def _check_versions(name: str, version: int, compatible_from: int) -> None:
    for what, value in (("version", version), ("compatible_from", compatible_from)):
        if type(value) is not int or not 1 <= value <= MAX_VERSION:
            raise InvalidInput(
                f"the {what} of task {name!r} must be a whole number from 1 to {MAX_VERSION}, not {value!r}"
            )
    if compatible_from > version:
        raise InvalidInput(f"task {name!r} has version {version}, so compatible_from cannot be {compatible_from}")


def _check_on_failure(name: str, origin: Callable[..., Any], on_failure: Callable[..., Any]) -> None:
    """Raises InvalidInput if the annotations show that its value cannot be the output."""
    if not callable(on_failure):
        raise InvalidInput(
            f"the on_failure of task {name!r} must be an async def on_failure(data, failure), not {on_failure!r:.100}"
        )
    cls: Any = origin if isinstance(origin, type) else None
    output = resolve_hints(cls.run if cls else origin).get("return", Any)
    value = resolve_hints(cls.on_failure if cls else on_failure).get("return", Any)
    if not registry.is_async(on_failure) and get_origin(value) in (Awaitable, Coroutine):
        value = get_args(value)[-1]
    if not may_fit(value, output):
        raise InvalidInput(
            f"the on_failure of task {name!r} returns {type_name(value)}, which becomes the output, but the "
            f"handler returns {type_name(output)}"
        )


class DurableExecution(Generic[In, Out]):
    """A handler as a class: `run` is the body, and `on_failure`, if defined, runs when the execution fails.

    Each pass makes an instance, without arguments. Policies are class attributes with the names of the arguments of
    `zart_durable`; `name` is by default the name of the class.

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
    version: ClassVar[int] = 1
    compatible_from: ClassVar[int] = 1
    limits: ClassVar[Iterable[Limit | LimitUse]] = ()
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
        raise InvalidInput(f"{cls.__qualname__}.run must take the input: write it as run(self, data)")
    failing = on_failure if hasattr(cls, "on_failure") else None
    policies = (
        cls.timeout, failing, cls.retry, cls.queue, cls.retention, cls.version, cls.compatible_from, cls.limits
    )  # fmt: skip
    return _define(cls.name, cls, body, Parameters(cls.run), takes, *policies)


Handler: TypeAlias = DurableHandler[In, Out] | type[DurableExecution[In, Out]]
"""A handler in either form, as workers run it and schedulers start it."""


def definitions(handlers: Iterable[Handler[Any, Any] | str]) -> dict[str, TaskVersions]:
    """The definitions of these handlers by name. A string selects all handlers that are declared under it.

    Raises:
        UnknownTask: no handler of this name has been declared.
        InvalidInput: one of them is not a handler, or two of the same name run the same version.
    """
    found: dict[str, list[HandlerDefinition]] = {}
    for handler in handlers:
        if isinstance(handler, str):
            registry.handler_named(handler)
            found.setdefault(handler, []).extend(registry.handlers.versions_of(handler).handlers)
        else:
            definition = definition_of(handler)
            found.setdefault(definition.name, []).append(definition)
    return {name: TaskVersions(declared) for name, declared in found.items()}


def definition_of(handler: Handler[Any, Any]) -> HandlerDefinition:
    """Raises InvalidInput for anything that is not a handler."""
    definition = getattr(handler, "definition", None)
    if not isinstance(definition, HandlerDefinition):
        raise InvalidInput(f"{handler!r} is not a handler: declare it with @zart_durable")
    return definition
