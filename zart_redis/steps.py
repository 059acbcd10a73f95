"""Declaring steps: the decorator `zart_step`, the class form `ZartStep`, and closures as steps."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import replace
from typing import Any, ClassVar, Generic, Never, NoReturn, ParamSpec, Protocol, TypeAlias, overload

from typing_extensions import TypeVar

from zart_redis import api, names, registry
from zart_redis.calls import STEP_CALLS, StepCall, UnusedCall, place, renamed
from zart_redis.codec import check_annotation
from zart_redis.durations import Duration, to_ms
from zart_redis.engine.scope import current
from zart_redis.errors import InvalidInput, RemoteError
from zart_redis.registry import Call, StepDefinition, TimeoutScope, call_of, define_step
from zart_redis.retry import RetryConfig
from zart_redis.type_info import resolve_hints

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=Exception, default=RemoteError)
D = TypeVar("D", bound=Exception)

ErrorTypes: TypeAlias = tuple[type[BaseException], ...]


class StepFunction(Generic[P, T, R, E]):
    """A function declared as a step. Calling it returns a `StepCall`."""

    def __init__(self, definition: StepDefinition, fn: Callable[P, R]) -> None:
        self.definition = definition
        self._fn = fn
        self._what = f"step {definition.name!r}"
        self._fewest, self._most = definition.parameters.arity
        self._is_template = "{" in definition.name or "}" in definition.name
        functools.update_wrapper(self, fn)

    @property
    def name(self) -> str:
        """The declared name, which identifies the step. The function may have another name."""
        return self.definition.name

    @property
    def fn(self) -> Callable[P, R]:
        """The plain function, for unit tests."""
        return self._fn

    @fn.setter
    def fn(self, value: Never) -> None:
        raise AttributeError(
            f"the function of step {self.name!r} cannot be replaced: workers run what was declared. "
            "To replace it in a test, use Harness(..., steps={my_step: fake})"
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StepCall[T, E]:
        """Raises TypeError for arguments that the function does not take, and InvalidInput if they make the name empty
        or too long."""
        step = self.definition
        for argument in args:
            if type(argument) in STEP_CALLS:
                self._refuse(argument)
        if kwargs:
            for argument in kwargs.values():
                if type(argument) in STEP_CALLS:
                    self._refuse(argument)
        frame = sys._getframe(1)
        made = frame.f_code, frame.f_lasti, current.get()
        if self._is_template:
            name = names.render(step.name, step.parameters.named(args, kwargs, self._what), "the name of a step")
            # The same as `origin(name)`, without a search.
            origin = step.origin(name) if step.template is None else step.template.fingerprint
            return UnusedCall(Call(step, name, args, kwargs, origin), made)
        if kwargs or not self._fewest <= len(args) <= self._most:
            step.parameters.bind(args, kwargs, self._what)
        return UnusedCall(Call(step, step.name, args, kwargs, None), made)

    def _refuse(self, argument: Any) -> NoReturn:
        argument.__zart_call__()
        raise TypeError(
            f"{self._what}: an argument is the call of step {argument.name!r}, not its value: did you forget await?"
        )

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
    no_retry: ErrorTypes = (),
    queue: str | None = None,
) -> StepDecorator[RemoteError]: ...
@overload
def zart_step(
    name: str | None = None,
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: tuple[type[D], ...],
    no_retry: ErrorTypes = (),
    queue: str | None = None,
) -> StepDecorator[D | RemoteError]: ...
def zart_step(
    name: Callable[..., Any] | str | None = None,
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: tuple[type[Exception], ...] = (),
    no_retry: ErrorTypes = (),
    queue: str | None = None,
) -> Any:
    """Declare a step: an `async def`, or a plain `def`, which runs in a thread so that it never blocks the loop.

    Args:
        name: identifies the step; by default the function's name. It may contain placeholders for the parameters,
            such as "report-{index}".
        retry: "fixed(3, 1s)", "exponential(5, 2s)" or a `RetryConfig`; by default a step is not retried.
        timeout: maximum duration: "30s", a number of seconds or a timedelta.
        timeout_scope: "global" for one deadline that all attempts share, "per_attempt" for a new one each time.
        raises: error types that callers receive as they are; any other becomes a `RemoteError`.
        no_retry: error types that are not retried, in addition to those of `retry`.
        queue: the queue whose workers run it, also where it is awaited: "gpu". By default an awaited step runs in the
            worker of its body, and a scheduled one on the queue of its execution.

    Raises:
        InvalidInput: an argument is invalid.

    Example:
        >>> @zart_step("charge-card", retry="exponential(3, 2s)", raises=(CardDeclined,))
        ... async def charge_card(account: str, cents: int) -> Charge: ...
    """
    if callable(name):
        return zart_step()(name)

    def decorate(fn: Callable[..., Any]) -> StepFunction[..., Any, Any, Any]:
        if not callable(fn) or isinstance(fn, type):
            raise InvalidInput(f"zart_step takes a function, not {fn!r}; a class must derive from ZartStep")
        own_name = str(name or getattr(fn, "__name__", ""))
        definition = _define(own_name, fn, retry, timeout, timeout_scope, raises, no_retry=no_retry, queue=queue)
        names.placeholders(definition.name, "the name of a step", definition.parameters.signature.parameters)
        check_annotation(resolve_hints(fn).get("return"), f"the result of step {definition.name!r}")
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
    is_adhoc: bool = False,
    result_type: Any = None,
    no_retry: ErrorTypes = (),
    queue: str | None = None,
) -> StepDefinition:
    if timeout_scope not in ("global", "per_attempt"):
        raise InvalidInput(f'timeout_scope must be "global" or "per_attempt", not {timeout_scope!r}')
    timeout_ms = None if timeout is None else to_ms(timeout, what="timeout")
    names.check_name(name, "the name of a step")
    names.check_optional(queue, "the name of a queue")
    policy = RetryConfig.parse(retry)
    if no_retry:
        policy = replace(policy, no_retry=(*policy.no_retry, *_error_types(no_retry, "no_retry")))
    declared = _error_types(raises, "raises")
    return define_step(name, fn, policy, timeout_ms, timeout_scope, declared, is_adhoc, result_type, queue)


def _error_types(given: Any, option: str) -> tuple[type[BaseException], ...]:
    """Raises InvalidInput for a single type, or for anything that is not a tuple of exception types."""
    if isinstance(given, type) and issubclass(given, BaseException):
        raise InvalidInput(f"{option}= takes a tuple of exception types: write {option}=({given.__name__},)")
    if not isinstance(given, list | tuple | set | frozenset):
        raise InvalidInput(f"{option}= takes a tuple of exception types, as in (CardDeclined,), not {given!r:.100}")
    return tuple(given)


@overload
def run(
    name: str,
    fn: Callable[[], Awaitable[T]],
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    type: Any = None,
) -> StepCall[T, RemoteError]: ...
@overload
def run(
    name: str,
    fn: Callable[[], T],
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    type: Any = None,
) -> StepCall[T, RemoteError]: ...
@overload
def run(
    name: str,
    fn: Callable[[], Awaitable[T]],
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    raises: tuple[type[D], ...],
    type: Any = None,
) -> StepCall[T, D | RemoteError]: ...
@overload
def run(
    name: str,
    fn: Callable[[], T],
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    raises: tuple[type[D], ...],
    type: Any = None,
) -> StepCall[T, D | RemoteError]: ...
def run(
    name: str,
    fn: Callable[[], Any],
    *,
    retry: RetryConfig | str | None = None,
    timeout: Duration | None = None,
    raises: tuple[type[Exception], ...] = (),
    type: Any = None,
) -> StepCall[Any, Any]:
    """A step that runs a closure, for code that is not worth a declaration.

    The closure takes no arguments. It may be async, or a plain function, which runs in a thread and may return an
    awaitable. `zart.schedule` takes the call only where ZART_SECRET is set, since the closure has to travel to other
    workers.

    Args:
        name: the key under which the result is recorded.
        retry: as for `zart_step`.
        timeout: as for `zart_step`.
        raises: as for `zart_step`.
        type: the type of the result; by default the annotated return type of the closure.

    Raises:
        InvalidInput: an argument is invalid.
        TypeError: the closure takes arguments.

    Example:
        >>> rate = await zart.run("rate", lambda: client.rate("EUR"), retry="exponential(3, 1s)")
    """
    if not callable(fn):
        raise InvalidInput(f"zart.run takes a function, as in zart.run({name!r}, lambda: fetch(url)), not {fn!r:.100}")
    definition = _define(name, fn, retry, timeout, "global", raises, is_adhoc=True, result_type=type)
    definition.parameters.check((), {}, f"step {name!r}")
    return UnusedCall(call_of(definition, name), place())


class ZartStep(Generic[T]):
    """A step as a class: its attributes are the arguments, and `run` is the code.

    `name` may contain placeholders for the attributes; by default it is the name of the class. An instance that sets
    another `name` uses it as it is. Policies are class attributes with the names of the arguments of `zart_step`. A
    dataclass, attrs class or msgspec Struct is encoded by its fields when it is scheduled, any other class by the
    attributes of the instance.

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
    no_retry: ClassVar[ErrorTypes] = ()
    queue: ClassVar[str | None] = None

    def run(self) -> Coroutine[Any, Any, T] | T:
        """The step's code; override it as `async def run(self) -> T` or `def run(self) -> T`."""
        raise NotImplementedError(f"{type(self).__name__} has no run method")

    _definition: ClassVar[StepDefinition]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._definition = _class_definition(cls)
        registry.steps.add(cls._definition)

    def named(self, name: str) -> StepCall[T, RemoteError]:
        """This step under another name."""
        return renamed(self.__zart_call__(), name, place())

    def __zart_call__(self) -> Call[T, RemoteError]:
        declared, own = getattr(type(self), "name", None), getattr(self, "name", None)
        if isinstance(declared, str) and isinstance(own, str) and own != declared:  # data, not a template
            name = names.check_name(own, "the name of a step")
        else:
            name = names.render(self._definition.name, _Attributes(self), "the name of a step")
        return call_of(self._definition, name, (self if _has_fields(type(self)) else vars(self),))

    def __await__(self) -> Generator[Any, None, T]:
        return api.require(self).__await__()


class _Attributes(dict[str, Any]):
    """Values for the placeholders in the name of a class step: the attributes of the instance."""

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
    """The function form of a class step. It takes the instance, or its state if the class declares no fields."""

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
    policies = (cls.retry, cls.timeout, cls.timeout_scope, cls.raises)
    definition = _define(_declared_name(cls), call, *policies, no_retry=cls.no_retry, queue=cls.queue)
    names.placeholders(definition.name, "the name of a step")
    check_annotation(_result_type(cls), f"the result of step {definition.name!r}")
    definition.parameters.describe(lambda: {"state": _state_type(cls), "return": _result_type(cls)})
    return definition


def _state_type(cls: type) -> Any:
    return cls if _has_fields(cls) else dict[str, Any]


def _result_type(cls: type[ZartStep[Any]]) -> Any:
    hint = resolve_hints(cls.run).get("return", Any)
    return Any if isinstance(hint, TypeVar) else hint


def definition_of(step: object) -> StepDefinition:
    """The definition of a step, given the function or the class that declares it.

    Raises:
        InvalidInput: it is not a declared step.
    """
    name = "definition" if isinstance(step, StepFunction) else "_definition"
    definition = getattr(step, name, None)
    if not isinstance(definition, StepDefinition):
        raise InvalidInput(f"{step!r} is not a step: declare it with @zart_step")
    return definition
