"""Declaring steps: the decorator `zart_step`, and the class form `ZartStep` that it is sugar for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ClassVar, Generic, ParamSpec, Protocol, overload

from typing_extensions import TypeVar

from zart_redis import api, names, registry
from zart_redis.codec import resolve_hints
from zart_redis.durations import Duration, to_ms
from zart_redis.errors import InvalidInput, RemoteError
from zart_redis.registry import Call, StepDefinition, TimeoutScope, call_of, define_step
from zart_redis.retry import RetryConfig

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception, default=RemoteError)
D = TypeVar("D", bound=Exception)


class StepCall(Generic[T, E]):
    """A step with its arguments. It does nothing until it is awaited, passed to a free function or scheduled."""

    __slots__ = ("_call",)

    def __init__(self, call: Call[T, E]) -> None:
        self._call = call

    @property
    def name(self) -> str:
        """The key under which the execution records this call."""
        return self._call.name

    def named(self, name: str) -> StepCall[T, E]:
        """The same call under a name of its own.

        Raises:
            InvalidInput: it is empty, longer than 512 bytes, or no text.
        """
        call = self._call
        names.check_name(name, "the name of a step")
        return StepCall(call_of(call.definition, name, call.args, call.kwargs))

    def __zart_call__(self) -> Call[T, E]:
        return self._call

    def __await__(self) -> Generator[Any, None, T]:
        return api.require(self).__await__()

    def __repr__(self) -> str:
        return f"<StepCall {self.name!r}>"


class StepFunction(Generic[P, T, R, E]):
    """A function declared as a step. Calling it makes a `StepCall`."""

    def __init__(self, definition: StepDefinition, fn: Callable[P, R]) -> None:
        self.definition = definition
        self.fn = fn
        """The plain function, for unit tests."""
        functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """The declared name: what identifies the step, whatever the function is called."""
        return self.definition.name

    @functools.cached_property
    def _is_template(self) -> bool:
        return "{" in self.name or "}" in self.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StepCall[T, E]:
        """Raises TypeError for arguments that the function does not take, InvalidInput for a name that they make
        empty or too long."""
        step = self.definition
        what = f"step {step.name!r}"
        if self._is_template:
            name = names.render(step.name, step.parameters.named(args, kwargs, what), "the name of a step")
            # What `origin` would find out, without looking.
            origin = step.origin(name) if step.template is None else step.template.mark
            return StepCall(Call(step, name, args, kwargs, origin))
        step.parameters.check(args, kwargs, what)
        return StepCall(Call(step, step.name, args, kwargs, None))

    def __repr__(self) -> str:
        return f"<step {self.name!r}>"


class StepDecorator(Protocol[E]):
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> StepFunction[P, T, Coroutine[Any, Any, T], E]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> StepFunction[P, T, T, E]: ...


@overload
def zart_step(
    fn: Callable[P, Coroutine[Any, Any, T]], /
) -> StepFunction[P, T, Coroutine[Any, Any, T], RemoteError]: ...
@overload
def zart_step(fn: Callable[P, T], /) -> StepFunction[P, T, T, RemoteError]: ...
@overload
def zart_step(
    name: str | None = None,
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
) -> StepDecorator[RemoteError]: ...
@overload
def zart_step(
    name: str | None = None,
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: tuple[type[D], ...],
) -> StepDecorator[D | RemoteError]: ...
def zart_step(
    name: Callable[..., Any] | str | None = None,
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: tuple[type[Exception], ...] = (),
) -> Any:
    """Declare a step: an `async def`, or a plain `def`, which runs in a thread so that it never blocks the loop.

    Args:
        name: what identifies the step; the function's name by default. It may hold placeholders of the parameters,
            as "report-{index}".
        retry: "fixed(3, 1s)", "exponential(5, 2s)" or a `RetryConfig`; by default a failure is final.
        timeout: how long it may take: "30s", a number of seconds or a timedelta.
        timeout_scope: "global" for one deadline that all attempts share, "per_attempt" for a new one each time.
        raises: error types that come back as themselves; any other comes back as `RemoteError`.

    Raises:
        InvalidInput: an argument cannot be used.

    Example:
        >>> @zart_step("charge-card", retry="exponential(3, 2s)", raises=(CardDeclined,))
        ... async def charge_card(account: str, cents: int) -> Charge: ...
    """
    if callable(name):
        return zart_step()(name)

    def decorate(fn: Callable[..., Any]) -> StepFunction[..., Any, Any, Any]:
        if not callable(fn) or isinstance(fn, type):
            raise InvalidInput(f"zart_step takes a function, not {fn!r}; for a class derive from ZartStep")
        definition = _define(str(name or getattr(fn, "__name__", "")), fn, retry, timeout, timeout_scope, raises)
        names.placeholders(definition.name, definition.parameters.signature.parameters, "the name of a step")
        registry.steps.add(definition)
        return StepFunction(definition, fn)

    if name is not None:
        names.check_name(name, "the name of a step")
    return decorate


def _define(
    name: str,
    fn: Callable[..., Any],
    retry: RetryConfig | str | None,
    timeout: Duration | None,
    timeout_scope: TimeoutScope,
    raises: tuple[type[Exception], ...],
) -> StepDefinition:
    if timeout_scope not in ("global", "per_attempt"):
        raise InvalidInput(f'timeout_scope is "global" or "per_attempt", not {timeout_scope!r}')
    timeout_ms = None if timeout is None else to_ms(timeout, what="timeout")
    names.check_name(name, "the name of a step")
    return define_step(name, fn, RetryConfig.parse(retry), timeout_ms, timeout_scope, tuple(raises))


class ZartStep(Generic[T]):
    """A step as a class: its attributes are the arguments, `run` is the code.

    `name` may hold placeholders of the attributes. The policies are class attributes, named as the arguments of
    `zart_step`. A dataclass, attrs class or msgspec Struct is encoded by its fields when it is scheduled, any
    other class by the attributes of the instance.

    Example:
        >>> @dataclass
        ... class Charge(ZartStep[Receipt]):
        ...     account: str
        ...     name = "charge-{account}"
        ...     retry = "exponential(3, 2s)"
        ...     async def run(self) -> Receipt: ...
    """

    name: str
    retry: ClassVar[RetryConfig | str | None] = None
    timeout: ClassVar[Duration | None] = None
    timeout_scope: ClassVar[TimeoutScope] = "global"
    raises: ClassVar[tuple[type[Exception], ...]] = ()

    def run(self) -> Coroutine[Any, Any, T] | T:
        """The step's code; override it as `async def run(self) -> T` or `def run(self) -> T`."""
        raise NotImplementedError(f"{type(self).__name__} has no run method")

    _definition: ClassVar[StepDefinition]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._definition = _class_definition(cls)
        registry.steps.add(cls._definition)

    def named(self, name: str) -> StepCall[T, RemoteError]:
        """This step under a name of its own."""
        return StepCall(self.__zart_call__()).named(name)

    def __zart_call__(self) -> Call[T, RemoteError]:
        template = getattr(self, "name", self._definition.name)
        name = names.render(template, _Attributes(self), "the name of a step")
        return call_of(self._definition, name, (self if _has_fields(type(self)) else vars(self),))

    def __await__(self) -> Generator[Any, None, T]:
        return api.require(self).__await__()


class _Attributes(dict[str, Any]):
    """What a class step's name can be filled from: the attributes of the instance."""

    def __init__(self, step: object) -> None:
        super().__init__()
        self._step = step

    def __missing__(self, name: str) -> Any:
        return getattr(self._step, name)


def _declared_name(cls: type[ZartStep[Any]]) -> str:
    declared = getattr(cls, "name", None)
    return declared if isinstance(declared, str) else cls.__name__


def _has_fields(cls: type) -> bool:
    marks = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "__pydantic_fields__")
    return any(hasattr(cls, mark) for mark in marks)


def _class_definition(cls: type[ZartStep[Any]]) -> StepDefinition:
    """The function form of a class step: it takes the instance, or the state of one that has no declared fields."""

    def instance(state: Any) -> Any:
        if _has_fields(cls):
            return state
        step = cls.__new__(cls)
        vars(step).update(state)
        return step

    async def run_async(state: Any) -> Any:
        return await instance(state).run()

    def run_sync(state: Any) -> Any:
        return instance(state).run()

    call = run_async if registry.is_async(cls.run) else run_sync
    call.__module__, call.__qualname__ = cls.__module__, cls.__qualname__
    definition = _define(_declared_name(cls), call, cls.retry, cls.timeout, cls.timeout_scope, cls.raises)
    definition.parameters.describe(lambda: {"state": _state_type(cls), "return": _result_type(cls)})
    return definition


def _state_type(cls: type) -> Any:
    return cls if _has_fields(cls) else dict[str, Any]


def _result_type(cls: type[ZartStep[Any]]) -> Any:
    hint = resolve_hints(cls.run).get("return", Any)
    return Any if isinstance(hint, TypeVar) else hint
