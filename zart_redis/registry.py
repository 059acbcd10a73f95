"""What has been declared in this process: steps and handlers under their names.

A declared name is the identity of a step or a handler in Redis; functions may be renamed and moved. The public
decorators and classes that fill this registry live in `steps` and `handlers`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from zart_redis import names
from zart_redis.codec import Codec, Parameters, codec_for
from zart_redis.error_codec import ErrorCodec
from zart_redis.errors import UnknownTask
from zart_redis.outcomes import E_co, Failure, T_co
from zart_redis.retry import RetryConfig

TimeoutScope = Literal["global", "per_attempt"]
Origin: TypeAlias = str | int | None
"""The declared name behind the name of a call: None if they are one, the mark of the template that can have made it, or
the declared name itself. Marks are short, so that the records of small results stay so."""


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """A declared step: what to call and under which policies."""

    name: str
    fn: Callable[..., Any]
    is_async: bool
    parameters: Parameters
    raises: tuple[type[BaseException], ...]
    errors: ErrorCodec
    retry: RetryConfig
    timeout_ms: int | None
    timeout_scope: TimeoutScope
    is_adhoc: bool = False
    """A bare callable: no process finds it by its name, so it must travel sealed."""
    template: names.Template | None = None
    """The name, if it has placeholders."""

    def origin(self, name: str) -> Origin:
        """What a record under this name says of the step that made it."""
        if self.template is not None and self.template.can_make(name):
            return self.template.mark
        return None if name == self.name else self.name

    @property
    def place(self) -> str:
        return place_of(self.fn)

    @property
    def returns(self) -> Codec[Any]:
        return self.parameters.returns

    @property
    def shared_timeout_ms(self) -> int | None:
        """The timeout that all attempts share, if there is one."""
        return self.timeout_ms if self.timeout_scope == "global" else None


def define_step(
    name: str,
    fn: Callable[..., Any],
    retry: RetryConfig,
    timeout_ms: int | None = None,
    timeout_scope: TimeoutScope = "global",
    raises: tuple[type[BaseException], ...] = (),
    is_adhoc: bool = False,
) -> StepDefinition:
    """A definition from its parts; an ad-hoc step travels as a call of this."""
    parameters, errors, template = Parameters(fn), ErrorCodec(raises), names.Template.of(name)
    return StepDefinition(
        name, fn, is_async(fn), parameters, raises, errors, retry, timeout_ms, timeout_scope, is_adhoc, template
    )


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling `fn` makes an awaitable; a callable object counts as its `__call__` does."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


class Call(msgspec.Struct, Generic[T_co, E_co], frozen=True):
    """One call of a step: its definition, its name in the execution, its arguments. `T_co` is what the step returns,
    `E_co` what it declares to raise. (A Struct since one is made for each step: a frozen dataclass takes five times as
    long.)"""

    definition: StepDefinition
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    origin: Origin
    """As `StepDefinition.origin` says of the name."""


def call_of(
    step: StepDefinition, name: str, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
) -> Call[Any, Any]:
    """A call whose name comes from anywhere."""
    return Call(step, name, args, kwargs or {}, step.origin(name))


@dataclass(frozen=True)
class HandlerDefinition:
    """A declared handler: its bodies and its policies."""

    name: str
    origin: Callable[..., Any]
    body: Callable[[Any], Awaitable[Any]]
    """Called with the decoded input, whether or not the user's function takes one."""
    parameters: Parameters
    input_parameter: str | None
    """The name of the parameter that takes the input; None if the function takes none."""
    timeout_ms: int | None
    retry: RetryConfig
    queue: str
    retention_ms: int | None
    on_failure: Callable[[Any, Failure], Awaitable[Any]] | None

    @functools.cached_property
    def input(self) -> Codec[Any]:
        return self.parameters.codec(self.input_parameter) if self.input_parameter else codec_for(Any)

    @property
    def place(self) -> str:
        return place_of(self.origin)

    @property
    def output(self) -> Codec[Any]:
        return self.parameters.returns


D = TypeVar("D", StepDefinition, HandlerDefinition)


@dataclass(slots=True)
class Declared(Generic[D]):
    """The definitions of one kind by name. A name that is declared again means the newest definition, so that a
    notebook's cell can be run again; that two importable modules claim one is a fault, see `clashes`."""

    by_name: dict[str, D] = field(default_factory=dict)
    _by_place: dict[str, dict[str, D]] = field(default_factory=dict)

    def add(self, definition: D) -> None:
        self.by_name[definition.name] = definition
        self._by_place.setdefault(definition.name, {})[definition.place] = definition

    def get(self, name: str, place: str = "") -> D | None:
        """The definition of a name: the one of this place (see `place_of`), if there are several, else the newest."""
        return self._by_place.get(name, {}).get(place) or self.by_name.get(name)

    def only(self, name: str) -> D | None:
        """The definition of a name that has been declared in one place alone: elsewhere it may mean another."""
        return self.by_name[name] if len(self._by_place.get(name, ())) == 1 else None

    def clashes(self) -> list[str]:
        """In words, the names that more than one importable function or class has declared."""
        found = []
        for name, places in self._by_place.items():
            importable = [place for place in places if "<" not in place and not place.startswith("__main__.")]
            if len(importable) > 1:
                found.append(f"{name!r} ({', '.join(importable)})")
        return found


def place_of(origin: Callable[..., Any]) -> str:
    """Where a function or class was defined; of a callable object, such as a partial, where its class was."""
    named = origin if hasattr(origin, "__qualname__") else type(origin)
    return f"{named.__module__}.{named.__qualname__}"


def declared_name(name: str, origin: Origin) -> str | None:
    """The declared name of the step that recorded a name; None if no template of this mark is known here."""
    if not isinstance(origin, int):
        return origin or name
    marked = (step for step in steps.by_name.values() if step.template and step.template.mark == origin)
    return next((step.name for step in marked if step.origin(name) == origin), None)


steps: Declared[StepDefinition] = Declared()
handlers: Declared[HandlerDefinition] = Declared()


def handler_named(name: str) -> HandlerDefinition:
    """The handler declared under `name` in this process.

    Raises:
        UnknownTask: there is none.
    """
    definition = handlers.get(name)
    if definition is None:
        raise UnknownTask(name)
    return definition
