"""The parameters of a function: how a call's arguments are bound, encoded and decoded."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args, get_origin

import msgspec

from zart_redis.codec import Codec, codec_for
from zart_redis.errors import SerializationError
from zart_redis.type_info import resolve_hints

_encode_raw: Final = msgspec.msgpack.Encoder().encode
_RAW_MAP: Final = codec_for(dict[str, msgspec.Raw])


class Parameters:
    """The parameters of a function: binds, encodes and decodes its arguments, each by its annotation.

    Annotations are resolved at first use, when the names they mention exist. One that still cannot be
    resolved counts as ``Any``. ``result_type`` takes precedence over the annotation of what the function returns.
    """

    def __init__(self, fn: Callable[..., Any], result_type: Any = None) -> None:
        self._fn = fn
        self.result_type = result_type
        self._describe: Callable[[], dict[str, Any]] = functools.partial(resolve_hints, fn)

    def describe(self, hints: Callable[[], dict[str, Any]]) -> None:
        """Take the type hints from ``hints()``, at first use, for a function without hints."""
        self._describe = hints

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        try:
            return inspect.signature(self._fn)
        except ValueError:  # some builtins have none
            return inspect.signature(lambda *args, **kwargs: None)

    @functools.cached_property
    def returns(self) -> Codec[Any]:
        """The codec of what the function returns; of an ``async def``, what awaiting it gives."""
        return codec_for(self._hints.get("return") if self.result_type is None else self.result_type)

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> None:
        """Raises ``TypeError`` for a wrong call, as Python does."""
        fewest, most = self.arity
        if kwargs or not fewest <= len(args) <= most:
            self.bind(args, kwargs, what)

    @property
    def arity(self) -> tuple[int, int]:
        """How many arguments at least, and at most, a call by position alone needs no binding for."""
        fewest, names = self._positional
        return fewest, len(names)

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> Mapping[str, Any]:
        """The arguments by name, with defaults. Raises ``TypeError`` for a wrong call."""
        fewest, names = self._positional
        if not kwargs and fewest <= len(args) == len(names):
            return dict(zip(names, args, strict=True))
        bound = self.bind(args, kwargs, what)
        bound.apply_defaults()
        return bound.arguments

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> inspect.BoundArguments:
        """The arguments by name, without defaults. Raises ``TypeError`` for a wrong call, as Python does."""
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{what}: {error}") from None

    @functools.cached_property
    def _positional(self) -> tuple[int, tuple[str, ...]]:
        """For a call by position alone, which needs no binding: how many arguments at least, and all their names. No
        call can be that short where there are other kinds of parameters."""
        parameters = self.signature.parameters.values()
        if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters):
            return sys.maxsize, ()
        return sum(p.default is p.empty for p in parameters), tuple(self.signature.parameters)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> bytes:
        """The bytes of a call's arguments, each proved to come back the same."""
        arguments = self.bind(args, kwargs, what).arguments
        return _encode_raw(
            {
                name: msgspec.Raw(self._codecs[name].round_trip(value, f"{what}, argument {name!r}")[0])
                for name, value in arguments.items()
            }
        )

    def decode(self, data: bytes | msgspec.Raw, what: str = "arguments") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``args`` and ``kwargs``. Raises ``SerializationError`` if the function no longer takes them."""
        raw = _RAW_MAP.decode(data, what)
        unknown = raw.keys() - self._codecs.keys()
        if unknown:
            raise SerializationError(f"{what}: {sorted(unknown)} was recorded, which is no parameter now")
        bound = inspect.BoundArguments(self.signature, OrderedDict())
        for name in self.signature.parameters:
            if name in raw:
                bound.arguments[name] = self._codecs[name].decode(raw[name], f"{what}, argument {name!r}")
        try:
            self.signature.bind(*bound.args, **bound.kwargs)
        except TypeError as error:
            raise SerializationError(f"{what}: they are no longer what the function takes: {error}") from None
        return bound.args, bound.kwargs

    def codec(self, name: str) -> Codec[Any]:
        """The codec of one parameter."""
        return self._codecs[name]

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        return self._describe()

    @functools.cached_property
    def _codecs(self) -> dict[str, Codec[Any]]:
        return {
            name: codec_for(_whole_type(parameter, self._hints.get(name, Any)))
            for name, parameter in self.signature.parameters.items()
        }


def _whole_type(parameter: inspect.Parameter, hint: Any) -> Any:
    """The type of all that a parameter holds: ``*args: int`` is a tuple of ints."""
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return get_args(hint)[0] if get_origin(hint) is typing.Unpack else dict[str, hint]
    return hint
