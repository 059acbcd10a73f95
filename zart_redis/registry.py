"""What has been declared in this process: steps and handlers under their names.

A declared name is the identity of a step or a handler in Redis; functions may be renamed and moved. The public
decorators and classes that fill this registry live in `steps` and `handlers`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from zart_redis import names
from zart_redis.codec import Codec, check_size, codec_for
from zart_redis.error_codec import ErrorCodec
from zart_redis.errors import InvalidInput, UnknownTask
from zart_redis.limits import LimitUse, encode_counters
from zart_redis.outcomes import E_co, Failure, T_co
from zart_redis.parameters import Parameters
from zart_redis.retry import RetryConfig

TimeoutScope = Literal["global", "per_attempt"]
Origin: TypeAlias = str | int | None
"""Identifies the declared step behind the name of a call: None if they are equal, the fingerprint of a template, or the
declared name. Fingerprints have 16 bits, so that the records of small results stay compact."""


@dataclass(frozen=True, slots=True)
class ChildStart:
    """An execution to start as a child, checked and encoded."""

    task: str
    execution_id: str | None
    """None for one that names parent, run and call."""
    queue: str
    data: bytes
    timeout_ms: int | None
    limits: str
    tags: Mapping[str, str]
    outlives: bool
    """Whether it lives on when its parent ends."""


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
    queue: str | None = None
    """The queue whose workers run it; None for any worker, in place where it is awaited."""
    child: ChildStart | None = None
    """The execution to start, if it is a child and not a function."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it never runs in place."""
        return self.queue is not None or self.child is not None

    def origin(self, name: str) -> Origin:
        """The origin that a record under this name stores."""
        if self.template is not None and self.template.can_make(name):
            return self.template.fingerprint
        return None if name == self.name else self.name

    @property
    def import_path(self) -> str:
        return import_path_of(self.fn)

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
    result_type: Any = None,
    queue: str | None = None,
) -> StepDefinition:
    """A definition from its parts; an ad-hoc step travels as a call of this."""
    parameters, errors = Parameters(fn, result_type), ErrorCodec(raises)
    template = None if is_adhoc else names.Template.of(name)
    return StepDefinition(
        name, fn, is_async(fn), parameters, raises, errors, retry, timeout_ms, timeout_scope, is_adhoc, template, queue
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
    version: int = 1
    """The version that a run is bound to when this handler is the first to claim it."""
    compatible_from: int = 1
    """The lowest version whose runs this handler can run."""
    limits: tuple[LimitUse, ...] = ()

    @functools.cached_property
    def input(self) -> Codec[Any]:
        return self.parameters.codec(self.input_parameter) if self.input_parameter else codec_for(Any)

    def encode_input(self, data: Any, max_payload: int, what: str) -> bytes:
        """Input in the form in which it is stored.

        Raises:
            InvalidInput: the handler takes none.
            SerializationError: it is not what the handler takes, or cannot be encoded.
            PayloadTooLarge: it is larger than `max_payload`.
        """
        if self.input_parameter is None and data is not None:
            raise InvalidInput(f"{what} must be None: its handler takes none")
        encoded = self.input.encode(data, what)
        if self.input_parameter is not None:
            self.input.decode(encoded, what)
        return check_size(max_payload, encoded, what)

    def encode_limits(self, data: Any) -> str:
        """The counters that a run with this decoded input begins under, as scripts take them.

        Raises:
            InvalidInput: a field that a limit counts by is missing.
        """
        return encode_counters(self.limits, data) if self.limits else ""

    @property
    def import_path(self) -> str:
        return import_path_of(self.origin)

    @property
    def output(self) -> Codec[Any]:
        return self.parameters.returns


class TaskVersions:
    """The handlers of one task, side by side: each runs another range of versions."""

    def __init__(self, handlers: Iterable[HandlerDefinition]) -> None:
        """Raises InvalidInput if the ranges of two overlap."""
        self.handlers = sorted(handlers, key=lambda handler: handler.version)
        for lower, higher in itertools.pairwise(self.handlers):
            if higher.compatible_from <= lower.version:
                raise InvalidInput(
                    f"two of the handlers are named {lower.name!r} and both run version {lower.version}: "
                    f"{lower.import_path} has version {lower.version}, and {higher.import_path} has version "
                    f"{higher.version} and runs those from {higher.compatible_from}; see compatible_from"
                )

    @property
    def newest(self) -> HandlerDefinition:
        return self.handlers[-1]

    def find(self, version: int) -> HandlerDefinition | None:
        """The handler that runs a version."""
        return next((one for one in self.handlers if one.compatible_from <= version <= one.version), None)

    @property
    def ranges(self) -> list[tuple[int, ...]]:
        """The first and the last version of each handler, and a third number if it has limits."""
        return [
            (handler.compatible_from, handler.version, *([1] if handler.limits else [])) for handler in self.handlers
        ]


D = TypeVar("D", StepDefinition, HandlerDefinition)


@dataclass(slots=True)
class Declared(Generic[D]):
    """The definitions of one kind by name. A name that is declared again means the newest definition, so that a
    notebook's cell can be run again; that two importable modules claim one is a fault, see `clashes`."""

    by_name: dict[str, D] = field(default_factory=dict)
    _by_import_path: dict[str, dict[str, D]] = field(default_factory=dict)

    def add(self, definition: D) -> None:
        self.by_name[definition.name] = definition
        self._by_import_path.setdefault(definition.name, {})[definition.import_path] = definition

    def get(self, name: str, import_path: str = "") -> D | None:
        """The definition of a name: the one with this import path if there are several, otherwise the newest."""
        return self._by_import_path.get(name, {}).get(import_path) or self.by_name.get(name)

    def get_unambiguous(self, name: str) -> D | None:
        """The definition of a name that only one function or class has declared."""
        return self.by_name[name] if len(self._by_import_path.get(name, ())) == 1 else None

    def clashes(self) -> list[str]:
        """In words, the names that more than one importable function or class has declared."""
        found = []
        for name, paths in self._by_import_path.items():
            importable = list(filter(_is_importable, paths))
            if len(importable) > 1:
                found.append(f"{name!r} ({', '.join(importable)})")
        return found


def _is_importable(path: str) -> bool:
    return "<" not in path and not path.startswith("__main__.")


def import_path_of(origin: Callable[..., Any]) -> str:
    """The import path of a function or class; for other callables, such as a partial, that of their class."""
    named = origin if hasattr(origin, "__qualname__") else type(origin)
    return f"{named.__module__}.{named.__qualname__}"


def declared_name(name: str, origin: Origin) -> str | None:
    """The declared name of the step that recorded a name; None if no known template has this fingerprint."""
    if not isinstance(origin, int):
        return origin or name
    candidates = (step for step in steps.by_name.values() if step.template and step.template.fingerprint == origin)
    return next((step.name for step in candidates if step.origin(name) == origin), None)


@dataclass(slots=True)
class DeclaredHandlers(Declared[HandlerDefinition]):
    """The handlers by name and version. `by_name` has the newest declaration of each name, whatever its version.

    A declaration replaces those of its name that have the same version, or that the same function or class has made for
    versions that it runs too.
    """

    _versions: dict[str, dict[int, HandlerDefinition]] = field(default_factory=dict)
    declarations: int = 0
    """How many there have been."""
    listeners: list[Callable[[], object]] = field(default_factory=list)
    """Called after each declaration, in its thread."""

    def add(self, definition: HandlerDefinition) -> None:
        self.declarations += 1
        Declared.add(self, definition)
        versions = self._versions.setdefault(definition.name, {})
        for version, other in list(versions.items()):
            overlaps = definition.compatible_from <= version and other.compatible_from <= definition.version
            if overlaps and other.import_path == definition.import_path:
                del versions[version]
        versions[definition.version] = definition
        for listen in list(self.listeners):
            listen()

    def versions(self) -> dict[str, TaskVersions]:
        """Raises InvalidInput if two declarations of a name run the same version."""
        return {name: self.versions_of(name) for name in self.by_name}

    def versions_of(self, name: str) -> TaskVersions:
        return TaskVersions(self._versions[name].values())

    def get_unambiguous(self, name: str) -> HandlerDefinition | None:
        """The handler of the highest version of a name, if no other function or class has declared that version."""
        versions = self._versions.get(name)
        if not versions or name not in self.by_name:
            return None
        newest = versions[max(versions)]
        paths = self._by_import_path[name].values()
        return newest if sum(one.version == newest.version for one in paths) == 1 else None

    def clashes(self) -> list[str]:
        found = []
        for name, paths in self._by_import_path.items():
            by_version: dict[int, list[str]] = {}
            for path, definition in paths.items():
                if _is_importable(path):
                    by_version.setdefault(definition.version, []).append(path)
            found += [f"{name!r} ({', '.join(both)})" for both in by_version.values() if len(both) > 1]
        return found


steps: Declared[StepDefinition] = Declared()
handlers = DeclaredHandlers()


def handler_named(name: str) -> HandlerDefinition:
    """The handler declared under `name` in this process.

    Raises:
        UnknownTask: there is none.
    """
    definition = handlers.get(name)
    if definition is None:
        raise UnknownTask(name)
    return definition
