"""Step calls: what calling a declared step returns."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Coroutine, Generator
from itertools import islice
from types import CodeType, TracebackType
from typing import Any, Generic, NoReturn

from typing_extensions import TypeVar

from zart_redis import api, names
from zart_redis.engine.scope import Scope, current
from zart_redis.errors import Cancelled, ExecutionAlreadyExists, ExecutionFailed, RemoteError
from zart_redis.registry import Call, call_of

T = TypeVar("T")
E = TypeVar("E", bound=Exception, default=RemoteError)

Place = tuple[CodeType, int, Scope | None]
"""Where a call was made: the code, the offset of the instruction, and what it ran in. A frame would keep the local
variables alive, and a line number takes longer to find."""


class StepCall(Coroutine[Any, Any, T], Generic[T, E]):
    """A step with its arguments. It does nothing until it is awaited, passed to a free function or scheduled.

    It is a coroutine to asyncio: it can be awaited once, and warns if it is never used.
    """

    __slots__ = ("__weakref__", "_call", "_coro", "_made")

    def __init__(self, call: Call[T, E], made: Place) -> None:
        self._call = call
        self._made = made
        self._coro: Coroutine[Any, Any, T] | None = None

    @property
    def name(self) -> str:
        """The key under which the execution records this call."""
        return self._call.name

    def named(self, name: str) -> StepCall[T, E]:
        """The same call under another name.

        Raises:
            InvalidInput: the name is empty, longer than 512 bytes, or not text.
        """
        return renamed(self.__zart_call__(), name, self._made)

    def __zart_call__(self) -> Call[T, E]:
        """The call, which counts as used from now on."""
        self.__class__ = StepCall  # pyright: ignore[reportAttributeAccessIssue]
        return self._call

    def __repr__(self) -> str:
        return f"<StepCall {self.name!r}>"

    # ---- as a coroutine ----

    def __await__(self) -> Generator[Any, None, T]:
        if self._coro is not None:
            raise RuntimeError(f"cannot await the call of step {self.name!r} again: make another call")
        return self._begin().__await__()

    def send(self, value: Any, /) -> Any:
        return (self._coro or self._begin()).send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        coro = self._coro or self._begin()
        return coro.throw(typ) if isinstance(typ, BaseException) else coro.throw(typ, val, tb)

    def close(self) -> None:
        (self._coro or self._begin()).close()

    def _begin(self) -> Coroutine[Any, Any, T]:
        self._coro = api.require(self)
        return self._coro


class UnusedCall(StepCall[T, E]):
    """A call that has not been used. A separate class, because a `__del__` costs more than the whole call."""

    __slots__ = ()
    __qualname__ = "StepCall"

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Warn as Python does for a coroutine. A call that a body drops because it raised or is closed is not a
        mistake."""
        code, offset, scope = self._made
        if is_finalizing() or getattr(scope, "is_put_away", False):
            return
        line = next(islice(code.co_positions(), offset // 2, None))[0] or code.co_firstlineno
        if any(listen(self._call.name, code.co_filename, line, scope) for listen in unused_listeners):
            return
        warnings.warn_explicit(
            f"the call of step {self._call.name!r} was never awaited",
            RuntimeWarning,
            code.co_filename,
            line,
            registry=_registries.setdefault(code.co_filename, {}),
        )


class ChildCall(UnusedCall[T, ExecutionFailed | Cancelled | ExecutionAlreadyExists]):
    """A child to start, which is used as the call of a step is: awaited, passed to a free function or scheduled. Its
    value is the output of the child."""

    __slots__ = ()


STEP_CALLS = (UnusedCall, ChildCall, StepCall)

unused_listeners: list[Callable[[str, str, int, Scope | None], bool]] = []
"""Called for calls that were never used, with the name of the step, the file, the line, and what made the call. A
listener that returns True reports the call itself, and no warning is shown."""


def renamed(call: Call[T, E], name: str, made: Place) -> StepCall[T, E]:
    """The same call under another name."""
    names.check_name(name, "the name of a step")
    return UnusedCall(call_of(call.definition, name, call.args, call.kwargs), made)


def place() -> Place:
    """The place from which the calling function was called."""
    frame = sys._getframe(2)
    return frame.f_code, frame.f_lasti, current.get()


_registries: dict[str, dict[str | tuple[str, type[Warning], int], int]] = {}
"""The warnings that were shown, by file: by default each is shown once for each place."""


# ---- calls that are used as values: type checkers do not see these methods, and so reject such uses ----

_BINARY = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul", "lshift", "rshift", "and", "or",
    "xor",
)  # fmt: skip
_OTHERS = (
    "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "int", "float", "complex", "index", "round", "bool",
    "format", "len", "iter", "reversed", "contains", "getitem", "setitem", "delitem", "aiter", "enter", "exit",
    "aenter", "aexit",
)  # fmt: skip


def _used_as_value(call: StepCall[Any, Any], *_: object) -> NoReturn:
    """Replaces every operator."""
    call.__zart_call__()
    raise TypeError(f"the call of step {call.name!r} is used as a value: did you forget await?")


def _equals(call: StepCall[Any, Any], other: object) -> bool:
    if not isinstance(other, StepCall):
        _used_as_value(call)
    return call is other


def _attribute(call: StepCall[Any, Any], name: str) -> Any:
    """What asyncio and debuggers ask of a coroutine. Users who ask for more have forgotten the await."""
    if name in ("_call", "name"):  # of a copy that is being made
        raise AttributeError(name)
    if name in ("__name__", "__qualname__"):
        return call.name
    if name.startswith("cr_") and call._coro is not None:
        return getattr(call._coro, name)
    raise AttributeError(f"the call of step {call.name!r} has no attribute {name!r}: did you forget await?")


for _name in (*_BINARY, *(f"r{name}" for name in _BINARY), *_OTHERS):
    setattr(StepCall, f"__{_name}__", _used_as_value)
setattr(StepCall, "__eq__", _equals)  # noqa: B010
setattr(StepCall, "__getattr__", _attribute)  # noqa: B010
